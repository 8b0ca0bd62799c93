/**
 * From paths as written to the objects that they lead to on this host.
 *
 * File names are bytes, not text. Paths that come from the host, or are compared with such, are "byte
 * strings" throughout: strings with one character (U+0000..U+00FF) for each byte.
 */
import { hasWildcards } from './pattern.js';
import {
  type LocatedRole,
  type PathRule,
  PolicyError,
  type PolicyProblem,
  pathOf,
  type ResolvedRole,
  type RulePlace,
} from './policy.js';

/** The target of the symbolic link at `path`, or undefined when there is none. Both are byte strings. */
export type ReadLink = (path: string) => string | undefined;

/** As many links as the kernel follows in one path (MAXSYMLINKS); more give ELOOP. */
const maxLinks = 40;

export function toByteString(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

export function fromByteString(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

export function splitPath(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.');
}

/** /proc/self and /proc/thread-self are another process's directory for each process that looks. */
export function isOwnProcess(path: string): boolean {
  return /^\/proc\/(self|thread-self)(\/|$)/.test(path);
}

/**
 * Follows the symbolic links in the paths of `role`, so that each rule names the object its path leads
 * to. What does not exist (yet) keeps its name below what does. A rule whose path ends in a link also
 * covers the link itself: whoever may not touch `current -> v2` may not replace the link either. From the
 * first wildcard on links are not followed; a pattern matches the objects' own paths.
 * @throws PolicyError for rules that lead into /proc/self or into a loop of links
 */
export function locate(role: ResolvedRole, readLink: ReadLink): LocatedRole {
  const problems: PolicyProblem[] = [];
  const read = remember(readLink);
  const paths: LocatedRole['paths'] = [];
  const followed: { rule: PathRule; link: string }[] = [];
  for (const rule of role.paths) {
    const { path, pattern } = splitPattern(toByteString(pathOf(rule)));
    const { object, links, way, fault } = follow(path, read);
    if (!rule.section.endsWith('.deny'))
      followed.push(
        ...way
          .slice(1)
          .filter((at) => read(at) !== undefined)
          .map((link) => ({ rule, link })),
      );
    if (fault) problems.push(problemOf(rule, fault));
    // What a wildcard matches is no link's name but an object's.
    else if (pattern.length > 0) paths.push({ ...rule, places: [{ path: object, pattern }] });
    else paths.push({ ...rule, places: [...links, object].map((path) => ({ path, pattern: [] })) });
  }
  for (const { rule, link } of followed) {
    const changing = whoMayReplace(link, paths);
    if (changing)
      problems.push(
        problemOf(
          rule,
          `leads through the symbolic link ${fromByteString(link)}, which the role may replace (${changing.section}: ${changing.text}), so that it could lead anywhere; name the object itself, or keep the link elsewhere`,
        ),
      );
  }
  if (problems.length > 0) throw new PolicyError(problems);
  return { ...role, paths };
}

/**
 * The rule by which the role may put another link in the place of this one; the next start would follow that.
 * A rule's own path is not among what it may replace by a link: the kernel side keeps it from that. Who may
 * write everything gains nothing. Wildcards are not looked at.
 */
function whoMayReplace(link: string, paths: LocatedRole['paths']): PathRule | undefined {
  const above = paths
    .filter(({ section }) => section.startsWith('files.'))
    .flatMap((rule) => rule.places.map(({ path, pattern }) => ({ rule, path, pattern })))
    .filter(({ path, pattern }) => pattern.length === 0 && path !== '/' && covers(path, link))
    .sort((a, b) => b.path.length - a.path.length);
  const [nearest] = above;
  const decisive = above.filter(({ path }) => path === nearest?.path).map(({ rule }) => rule);
  if (nearest?.path === link || decisive.some(({ section }) => section === 'files.deny')) return undefined;
  return decisive.find(({ section }) => section === 'files.write');
}

function covers(path: string, below: string): boolean {
  return below === path || below.startsWith(`${path}/`);
}

/** Splits a rule's path before its first component with wildcards. */
function splitPattern(text: string): RulePlace {
  const components = splitPath(text);
  const first = components.findIndex(hasWildcards);
  const end = first < 0 ? components.length : first;
  return { path: `/${components.slice(0, end).join('/')}`, pattern: components.slice(end) };
}

function problemOf({ file, line, column, section, text }: PathRule, fault: string): PolicyProblem {
  return { code: 'BAD_PATH', file, line, column, where: section, message: `${text} ${fault}` };
}

/** Rules share most of their directories, so each is looked at once. */
function remember(readLink: ReadLink): ReadLink {
  const known = new Map<string, string | undefined>();
  return (path) => {
    if (!known.has(path)) known.set(path, readLink(path));
    return known.get(path);
  };
}

export interface Followed {
  /** Where the path leads: a path without links. */
  object: string;
  /** The links that the path's last component was, in the order in which they lead to the object. */
  links: string[];
  /** Every place on the way, `/` first: directories, links, and last the object. */
  way: string[];
  /** Why the path leads nowhere that a rule could name, and the mend. */
  fault?: string;
}

/** Follows every symbolic link in an absolute path, as the kernel would. */
export function follow(path: string, readLink: ReadLink): Followed {
  const ahead = splitPath(path).reverse();
  const followed: Followed = { object: '/', links: [], way: ['/'] };
  let at: string[] = [];
  let count = 0;
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    if (name === '..') {
      at.pop();
      continue;
    }
    const here = `/${[...at, name].join('/')}`;
    followed.way.push(here);
    if (isOwnProcess(here)) {
      followed.fault =
        'leads into /proc/self, a different object for each process; this version enforces no such rule';
      return followed;
    }
    const target = readLink(here);
    if (target === undefined) {
      at.push(name);
      continue;
    }
    if (++count > maxLinks) {
      followed.fault = `leads through more than ${maxLinks} symbolic links; mend the loop or name the object itself`;
      return followed;
    }
    if (ahead.length === 0) followed.links.push(here);
    if (target.startsWith('/')) at = [];
    ahead.push(...splitPath(target).reverse());
  }
  followed.object = `/${at.join('/')}`;
  return followed;
}
