/**
 * The form of a rule's path, as it is written: absolute and plain, with wildcards (pattern.ts) and with
 * variables, `${name}`, which the role declares and --var binds.
 */
import { Limit } from '../abi.js';
import { isOwnProcess, splitPath, toByteString } from './locate.js';
import { checkPattern } from './pattern.js';
import { PolicyError, type PolicyProblem, pathOf, type ResolvedRole } from './policy.js';
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
 * Puts the values of variables into the paths of `role`.
 * @throws PolicyError for a value that is missing, that no variable is declared for, or that gives no path
 */
export function bindVariables(role: ResolvedRole, values: ReadonlyMap<string, string>): ResolvedRole {
  const problems: PolicyProblem[] = [];
  const { file, line, column } = role.place;
  const report = (message: string): void =>
    void problems.push({ code: 'BAD_VALUE', file, line, column, where: `roles.${role.name}.vars`, message });
  for (const name of values.keys()) {
    if (role.vars.includes(name)) continue;
    const meant = nearest(name, role.vars);
    const known = role.vars.length > 0 ? `it has ${role.vars.join(', ')}` : 'it has none';
    report(`role ${role.name} declares no variable ${name}; ${meant ? `did you mean ${meant}?` : known}`);
  }
  for (const name of role.vars)
    if (!values.get(name)) report(`the variable ${name} has no value; give it one: --var ${name}=VALUE`);
  if (problems.length > 0) throw new PolicyError(problems);

  const paths = role.paths.map((rule) => {
    const names = variablesOf(rule.text);
    if (names.length === 0) return rule;
    const text = rule.text.replace(variable, (_, name: string) => values.get(name) ?? '');
    const { file, line, column } = rule;
    const special = names.find((name) => /[*?[]|\$\{/.test(values.get(name) ?? ''));
    const fault = special
      ? {
          code: 'BAD_PATH' as const,
          message: `the value of ${special} has a wildcard or a variable; write those in the rule`,
        }
      : checkPath(pathOf({ ...rule, text }));
    if (fault) problems.push({ ...fault, file, line, column, where: `${rule.section} ${rule.text}` });
    return { ...rule, text };
  });
  if (problems.length > 0) throw new PolicyError(problems);
  return { ...role, paths };
}

/** Puts something into the paths of `role` that makes rules of them, for who only checks it. */
export function bindStandIns(role: ResolvedRole): ResolvedRole {
  const leading = new Set(role.paths.map((rule) => /^\$\{([^}]+)\}/.exec(pathOf(rule))?.[1]));
  return bindVariables(role, new Map(role.vars.map((name) => [name, leading.has(name) ? `/${name}` : name])));
}
