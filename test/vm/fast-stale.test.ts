// A remembered start is out of date as soon as anything has changed that decided about it: then the launcher is asked,
// and what holds is what holds now.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { detach, jailrun, root, until } from './jail.js';
import {
  about,
  area,
  asking,
  env,
  front,
  install,
  installed,
  probe,
  reads as readsIn,
  settle,
  start,
  uninstall,
} from './start.js';

const policies = '/etc/jailrun/policy.d';
const policy = `${policies}/fast.yaml`;
const [granted, denied, link] = [`${area}/granted`, `${area}/denied`, `${area}/link`];
const mountPoint = `${area}/mount`;

const policyOf = (file: string, more = ''): string => `version: 1
roles:
  fast:
    id: 870
    files: {read: ["@runtime", /dev/null, ${probe}, ${file}, ${link}/file, ${mountPoint}]}
    exec: [/bin, /usr/bin, ${probe}]${more}
`;
/** Of another policy, which is right. */
const another = 'version: 1\nroles: {more: {id: 880}}\n';
const words = asking('fast');
const reads = (files: readonly string[]): [string, boolean] => readsIn(files, words);
const questions = [granted, denied];
const held = 'od';

/** What was remembered does not hold: node is started, and then this is the answer; and then no node is. */
async function goesStale(files: string[], answer: string): Promise<void> {
  assert.deepEqual(reads(files), [answer, true]);
  await settle(words);
  assert.deepEqual(reads(files), [answer, false]);
}

before(async () => {
  install();
  for (const directory of [policies, `${area}/one`, `${area}/two`, mountPoint])
    mkdirSync(directory, { recursive: true });
  for (const file of [granted, denied, `${area}/one/file`, `${area}/two/file`]) writeFileSync(file, 'text\n');
  symlinkSync('one', link);
});
/** The policies are as they were: what one test leaves is not to fail the next. */
beforeEach(async () => {
  for (const path of [`${policies}/more.yaml`, `${policies}/forgotten.yml`, '/etc/jailrun/policy.yaml'])
    rmSync(path, { force: true });
  writeFileSync(policy, policyOf(granted));
  if (existsSync('/sys/fs/bpf/jailrun/links/jr_file_open')) await settle(words);
});
after(() => {
  uninstall();
  rmSync('/etc/jailrun', { recursive: true, force: true });
});

test('a start with a policy of one’s own is remembered, too', () => {
  assert.deepEqual(reads(questions), [held, false]);
});

describe('what was remembered is out of date when', () => {
  test('a policy is changed', async () => {
    writeFileSync(policy, policyOf(denied));
    await goesStale(questions, 'do');
    writeFileSync(policy, policyOf(granted));
    await goesStale(questions, held);
  });
  test('a reload has changed what is granted, also to a command that was started from it', async () => {
    const child = spawn(front, words, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (data) => {
      said += data;
    });
    try {
      child.stdin.write(about(questions));
      await until(() => said.length === 2);
      writeFileSync(policy, policyOf(denied));
      execFileSync(jailrun, ['reload']);
      child.stdin.write(about(questions));
      await until(() => said.length === 4);
      assert.equal(said, 'oddo');
    } finally {
      child.kill('SIGKILL');
    }
    await goesStale(questions, 'do');
  });
  test('its role is put into audit mode', async () => {
    writeFileSync(policy, policyOf(granted, '\n    mode: audit'));
    await goesStale(questions, 'oo');
  });
  test('a policy is changed and has its old times and size', async () => {
    const { atime, mtime } = statSync(policy);
    writeFileSync(policy, policyOf(granted).replace(granted, `${area}/denied `));
    utimesSync(policy, atime, mtime);
    await goesStale(questions, 'do');
  });
  test('a policy is added, which may be wrong, or removed', async () => {
    writeFileSync(`${policies}/more.yaml`, another);
    await goesStale(questions, held);
    writeFileSync(`${policies}/more.yaml`, 'version: 1\nroles: {fast: {id: 1}}\n');
    const { status, node } = start(words);
    assert.deepEqual([status, node], [125, true]);
    rmSync(`${policies}/more.yaml`);
    await goesStale(questions, held);
    writeFileSync('/etc/jailrun/policy.yaml', another);
    await goesStale(questions, held);
    rmSync('/etc/jailrun/policy.yaml');
    await goesStale(questions, held);
  });
  test('a policy with a name that is not read appears', () => {
    writeFileSync(`${policies}/forgotten.yml`, '');
    const { status, node } = start(words);
    rmSync(`${policies}/forgotten.yml`);
    assert.deepEqual([status, node], [125, true]);
    assert.deepEqual(reads(questions), [held, false]);
  });
  for (const path of [policy, policies, '/etc/jailrun'])
    test(`others may write ${path}`, () => {
      const { mode, uid } = statSync(path);
      for (const [change, undo] of [
        [() => chmodSync(path, mode | 0o002), () => chmodSync(path, mode)],
        [() => chownSync(path, 65534, 0), () => chownSync(path, uid, 0)],
      ] as const) {
        change();
        const { status, node } = start(words);
        undo();
        assert.deepEqual([status, node], [125, true]);
      }
      assert.deepEqual(reads(questions), [held, false]);
    });
  test('a symbolic link that a rule leads through is changed, and the other object is granted then', async () => {
    const files = [`${area}/one/file`, `${area}/two/file`];
    assert.deepEqual(reads(files), ['od', false]);
    symlinkSync('two', `${link}-new`);
    renameSync(`${link}-new`, link);
    await goesStale(files, 'do');
    unlinkSync(link);
    symlinkSync('one', link);
    await goesStale(files, 'od');
  });
  test('a symbolic link takes the place of what a rule names', async () => {
    renameSync(granted, `${granted}-moved`);
    assert.deepEqual(reads([`${granted}-moved`]), ['d', false]);
    symlinkSync(`${granted}-moved`, granted);
    await goesStale([`${granted}-moved`], 'o');
    unlinkSync(granted);
    renameSync(`${granted}-moved`, granted);
    await goesStale(questions, held);
  });
  test('something is mounted or unmounted', async () => {
    execFileSync('mount', ['-t', 'tmpfs', 'none', mountPoint]);
    writeFileSync(`${mountPoint}/file`, '');
    await goesStale([`${mountPoint}/file`], 'o');
    execFileSync('umount', [mountPoint]);
    await goesStale(questions, held);
  });
  test('another file system has the number and the place of one that is gone', async () => {
    const mount = (): number => {
      execFileSync('mount', ['-t', 'tmpfs', 'none', mountPoint]);
      writeFileSync(`${mountPoint}/file`, '');
      return statSync(mountPoint).dev;
    };
    const device = mount();
    await goesStale([`${mountPoint}/file`], 'o');
    execFileSync('umount', [mountPoint]);
    // The kernel frees a number a moment after the mount is gone.
    const same = await sameAgain(device, mount);
    assert.ok(same, 'no file system got the number');
    await goesStale([`${mountPoint}/file`], 'o');
    execFileSync('umount', [mountPoint]);
    await goesStale(questions, held);
  });
  test('the launcher or the roles that come with it are replaced', async () => {
    for (const name of ['launcher-main.js', 'roles.jsonl']) {
      cpSync(`${installed}/${name}`, `${installed}/new`);
      renameSync(`${installed}/new`, `${installed}/${name}`);
      assert.deepEqual(reads(questions), [held, true]);
      await settle(words);
    }
  });
  test('another installation has written it', async () => {
    await until(() => {
      spawnSync(jailrun, words, { input: '' });
      return reads(questions)[1];
    });
    await settle(words);
  });
  test('another build of the programs is attached', async () => {
    const newer = `${area}/newer`;
    cpSync(join(root, 'dist'), newer, { recursive: true });
    appendFileSync(`${newer}/jailrun.bpf.o`, '\n');
    execFileSync(`${newer}/jailrun`, ['attach']);
    await goesStale(questions, held);
  });
  // To attach takes an emulated kernel longest of all, so what this one breaks the next one mends.
  test('one of the programs is no longer pinned, and nothing is started', () => {
    unlinkSync('/sys/fs/bpf/jailrun/links/jr_file_open');
    const { status, stdout, stderr, node } = start(['--json', ...words], { input: about(questions) });
    assert.deepEqual([status, stdout, node], [125, '', true]);
    assert.match(stderr, /"code":"PINS_INCOMPLETE"/);
    assert.equal(start(words).node, true);
  });
  test('the programs are detached: the launcher attaches them', async () => {
    detach();
    await goesStale(questions, held);
  });
});

/** Mounts until the file system has this number. */
async function sameAgain(device: number, mount: () => number): Promise<boolean> {
  for (let i = 0; i < 20; i++) {
    if (mount() === device) return true;
    execFileSync('umount', [mountPoint]);
    await sleep(100);
  }
  return false;
}
