// The command line as people use it: policies where root trusts them, and jailrun where everybody reaches it.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { distDirectory } from '../../src/launcher/addon.js';

export interface Answer {
  status: number | null;
  /** The lines of standard output. */
  lines: string[];
  stderr: string;
}

export interface Area {
  directory: string;
  /** Writes a policy and returns its path. */
  policy(name: string, text: string): string;
  /** Runs jailrun in `directory`, as root or as a user without rights. */
  run(args: string[], as?: 'root' | 'nobody'): Answer;
  remove(): void;
}

/** Makes a directory of root's; everybody may look into it. */
export function makeArea(): Area {
  const directory = mkdtempSync('/run/jailrun-test-');
  chmodSync(directory, 0o755);
  // The checkout may lie where only root can go.
  cpSync(distDirectory, join(directory, 'dist'), { recursive: true });
  const jailrun = join(directory, 'dist/jailrun');
  return {
    directory,
    policy(name, text) {
      const path = join(directory, name);
      writeFileSync(path, text, { mode: 0o644 });
      return path;
    },
    run(args, as = 'root') {
      const user = as === 'nobody' ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
      const [program = '', ...words] = [...user, jailrun, ...args];
      const { status, stdout, stderr } = spawnSync(program, words, {
        encoding: 'utf8',
        cwd: directory,
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
      });
      return { status, lines: stdout.split('\n').slice(0, -1), stderr };
    },
    remove: () => rmSync(directory, { recursive: true }),
  };
}
