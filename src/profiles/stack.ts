/**
 * Several roles that hold together: an operation is granted where every one of them grants it, so their order
 * decides nothing but whom a report names. A single role is a stack of one.
 *
 * A stack is compiled into one role of the kernel's. Its rules are numbered through, a role's paths first, then
 * its addresses, then its abstract names; behind the last rule each role of a stack has a number by which it
 * decides although none of its rules does.
 */
import { Scope } from '../abi.js';
import type { LocatedRole, Place, ResolvedRole, Section } from './policy.js';
import { powerMask } from './powers.js';

/** How many roles may hold together. */
export const maxStack = 8;

/** A role of a stack with the numbers of its rules: each is that of the first of its kind. */
export interface Member {
  role: LocatedRole;
  paths: number;
  addresses: number;
  abstracts: number;
  /** What stands for none of its rules: 0 in a stack of one. */
  none: number;
}

export function numberStack(stack: readonly LocatedRole[]): Member[] {
  let next = 1;
  const take = (rules: readonly unknown[]): number => {
    const first = next;
    next += rules.length;
    return first;
  };
  const members = stack.map((role) => ({
    role,
    paths: take(role.paths),
    addresses: take(role.addresses),
    abstracts: take(role.abstracts),
  }));
  return members.map((member, i) => ({ ...member, none: stack.length === 1 ? 0 : next + i }));
}

/** What pods, reports and errors call the stack. No role's name has a plus sign. */
export function stackName(stack: readonly Pick<ResolvedRole, 'name'>[]): string {
  return stack.map(({ name }) => name).join('+');
}

/** The same with what it is, for errors about all of it. */
export function stackTitle(stack: readonly Pick<ResolvedRole, 'name'>[]): string {
  return `${stack.length === 1 ? 'role' : 'the stack'} ${stackName(stack)}`;
}

/** What a section says of which every role says one of these: NONE outweighs RULES, and that ANY. */
export function meet(scopes: readonly Scope[]): Scope {
  const order = [Scope.NONE, Scope.RULES, Scope.ANY];
  return order.find((scope) => scopes.includes(scope)) ?? Scope.NONE;
}

/** The powers that a role has, those included that its sections imply. */
export function powersOf({ allow, files, network, addresses }: ResolvedRole | LocatedRole): bigint {
  const bind = network === Scope.ANY || addresses.some(({ section }) => section === 'network.bind');
  return powerMask(allow, { files: files !== Scope.NONE, bind });
}

/** A role of a compiled stack, as reports and explanations need it: a plain JSON value. */
export interface CompiledMember {
  name: string;
  id: number;
  /** Where the role is defined. */
  definition: Pick<Place, 'file' | 'line'>;
  scopes: Record<Exclude<Section, 'allow'>, Scope>;
  /** struct jr_role's powers, in hexadecimal. */
  powers: string;
  jit: boolean;
  /** How many of the stack's rules are the role's. */
  rules: number;
}

export function describeMember(role: LocatedRole): CompiledMember {
  const { name, id, place, files, exec, network, jit, paths, addresses, abstracts } = role;
  return {
    name,
    id,
    definition: { file: place.file, line: place.line },
    scopes: { files, exec, network },
    powers: powersOf(role).toString(16),
    jit,
    rules: paths.length + addresses.length + abstracts.length,
  };
}

/**
 * Which role of a stack decided, by its place there. 0 comes from where no rule was asked or none was found: the
 * section's word for the stack decided then, which is that of the first role that has it.
 */
export function deciderOf(
  members: readonly Pick<CompiledMember, 'rules' | 'scopes'>[],
  section: Exclude<Section, 'allow'>,
  number: number,
): number {
  if (number === 0) {
    const scopes = members.map((member) => member.scopes[section]);
    return Math.max(0, scopes.indexOf(meet(scopes)));
  }
  let left = number - 1;
  for (const [place, { rules }] of members.entries()) {
    if (left < rules) return place;
    left -= rules;
  }
  return left;
}
