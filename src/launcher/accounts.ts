// This host's users and groups (passwd(5), group(5)).
import { readFileSync } from 'node:fs';

/** The numbers of users or groups, by name; `file` is /etc/passwd or /etc/group. Throws as readFileSync() does. */
export function numbersIn(file: string): Map<string, number> {
  const rows = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  return new Map(rows.flatMap(([name, , id]) => (name && id ? [[name, Number(id)]] : [])));
}

/** The number of a user that a policy names, by a name or a number; undefined where this host has none of that name. */
export function userNumber(text: string): number | undefined {
  const number = /^\d+$/.test(text) ? Number(text) : numbersIn('/etc/passwd').get(text);
  return number !== undefined && number < 2 ** 32 ? number : undefined;
}
