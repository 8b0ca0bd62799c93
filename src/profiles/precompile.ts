/**
 * Run by the build, `node precompile.js OUT.jsonl` in the package's root: checks the built-in policies in
 * profiles/ and writes them to OUT.jsonl, so that the launcher needs no YAML parser for them.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { encodeBuiltIn } from './builtin.js';
import { parse } from './parse.js';
import { builtInPrefix } from './policy.js';

const [out, ...rest] = process.argv.slice(2);
if (out === undefined || rest.length > 0) throw new Error('usage: node precompile.js OUT.jsonl');

const names = readdirSync('profiles').filter((name) => name.endsWith('.yaml'));
// Reports name the place of a rule, and on the user's host there is no profiles/ directory.
const policies = names
  .sort()
  .map((name) => parse(readFileSync(`profiles/${name}`), `${builtInPrefix}${name}`));
writeFileSync(out, encodeBuiltIn(policies));
