/**
 * The form of a rule's path, as it is written: absolute and plain, with wildcards (pattern.ts) and with
 * variables, `${name}`, which the role declares and --var binds.
 */
import { Limit } from '../abi.js';
import { isOwnProcess, splitPath, toByteString } from './locate.js';
import { checkPattern } from './pattern.js';
import {
  type PathRule,
  type Place,
  PolicyError,
  type PolicyProblem,
  pathOf,
  type ResolvedRole,
} from './policy.js';
import { nearest } from './spelling.js';

/** What is wrong with a text; the mend. */
export type Fault = Pick<PolicyProblem, 'code' | 'message'>;

const variable = /\$\{([a-z][a-z0-9_-]*)\}/g;

/** The names of the variables in a rule's path. */
export function variablesOf(text: string): string[] {
  return [...text.matchAll(variable)].map((match) => match[1] ?? '');
}

/** What keeps a path from being a rule. A variable at its beginning stands for a whole path, elsewhere for a part. */
export function checkPath(text: string): Fault | undefined {
  const path = text.replace(/^\$\{[a-z][a-z0-9_-]*\}(?=\/|$)/, '/v').replace(variable, 'v');
  const bad = (message: string): Fault => ({
    code: 'BAD_PATH',
    message: `${JSON.stringify(text)} ${message}`,
  });
  const later = (message: string): Fault => ({ ...bad(message), code: 'NOT_ENFORCED' });
  if (path.startsWith('~')) return bad('is not expanded here; write the whole path from /');
  if (path.includes('${'))
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the policy's syntax
    return bad('has a ${ that begins no variable; write ${name} with a name of a-z, 0-9, - and _');
  if (!path.startsWith('/')) return bad('is not absolute; write the whole path from /');
  if (/[\0\p{Surrogate}]/u.test(path)) return bad('holds a character that no file name can hold');
  if (path === '/') return undefined;
  const components = path.slice(1).split('/');
  if (components.some((name) => name === '' || name === '.' || name === '..'))
    return bad(`is not in its plain form; write ${plainForm(components)}`);
  if (components.length > Limit.MAX_DEPTH)
    return bad(`is ${components.length} components deep; the kernel side follows ${Limit.MAX_DEPTH}`);
  const long = components.find((name) => Buffer.byteLength(name) > Limit.MAX_NAME);
  if (long !== undefined)
    return bad(`has a component of ${Buffer.byteLength(long)} bytes; a rule can name ${Limit.MAX_NAME}`);
  const fault = checkPattern(splitPath(toByteString(path)));
  if (fault !== undefined) return bad(fault);
  if (isOwnProcess(path))
    return later(
      'is a different object for each process, which this version does not enforce; remove it, or name /proc',
    );
  return undefined;
}

function plainForm(components: readonly string[]): string {
  const plain: string[] = [];
  for (const name of components) {
    if (name === '..') plain.pop();
    else if (name !== '' && name !== '.') plain.push(name);
  }
  return `/${plain.join('/')}`;
}

/**
 * Puts the values of variables into the paths of the roles of a stack; one that several declare is bound in all.
 * @throws PolicyError for a value that is missing, that no variable is declared for, or that gives no path
 */
export function bindVariables(
  stack: readonly ResolvedRole[],
  values: ReadonlyMap<string, string>,
): ResolvedRole[] {
  const problems: PolicyProblem[] = [];
  const report = ({ name, place }: ResolvedRole, message: string): void =>
    void problems.push({ code: 'BAD_VALUE', ...placeOf(place), where: `roles.${name}.vars`, message });
  const declared = stack.flatMap(({ vars }) => vars);
  for (const name of values.keys()) {
    const [first] = stack;
    if (!first || declared.includes(name)) continue;
    const meant = nearest(name, declared);
    const [who, has] =
      stack.length === 1
        ? [`role ${first.name} declares no`, 'it has']
        : ['none of the roles declares a', 'they have'];
    const known = declared.length > 0 ? [...new Set(declared)].join(', ') : 'none';
    report(first, `${who} variable ${name}; ${meant ? `did you mean ${meant}?` : `${has} ${known}`}`);
  }
  for (const role of stack)
    for (const name of role.vars)
      if (!values.get(name))
        report(role, `the variable ${name} has no value; give it one: --var ${name}=VALUE`);
  if (problems.length > 0) throw new PolicyError(problems);

  const bound = stack.map((role) => ({ ...role, paths: bindPaths(role, values, problems) }));
  if (problems.length > 0) throw new PolicyError(problems);
  return bound;
}

function placeOf({ file, line, column }: Place): Place {
  return { file, line, column };
}

function bindPaths(
  { paths }: ResolvedRole,
  values: ReadonlyMap<string, string>,
  problems: PolicyProblem[],
): PathRule[] {
  return paths.map((rule) => {
    const names = variablesOf(rule.text);
    if (names.length === 0) return rule;
    const text = rule.text.replace(variable, (_, name: string) => values.get(name) ?? '');
    const special = names.find((name) => /[*?[]|\$\{/.test(values.get(name) ?? ''));
    const fault = special
      ? {
          code: 'BAD_PATH' as const,
          message: `the value of ${special} has a wildcard or a variable; write those in the rule`,
        }
      : checkPath(pathOf({ ...rule, text }));
    if (fault) problems.push({ ...fault, ...placeOf(rule), where: `${rule.section} ${rule.text}` });
    return { ...rule, text };
  });
}

/** Puts something into the paths of `role` that makes rules of them, for who only checks it. */
export function bindStandIns(role: ResolvedRole): ResolvedRole {
  const leading = new Set(role.paths.map((rule) => /^\$\{([^}]+)\}/.exec(pathOf(rule))?.[1]));
  const values = new Map(role.vars.map((name) => [name, leading.has(name) ? `/${name}` : name]));
  return bindVariables([role], values)[0] ?? role;
}
