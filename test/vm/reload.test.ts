// Policies that change while commands run in their roles.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPins } from '../../src/launcher/kernel.js';
import { compileStack, findStack } from '../../src/launcher/role.js';
import type { CompiledRole } from '../../src/profiles/compile.js';
import { attach, jailrun, leave, root, say, until, writePolicy } from './jail.js';

const area = '/run/jailrun-test/reload';
const flip = join(root, 'build/flip');

/** `a` and `b` are granted by one of the policies each, `both` by both and `none` by neither. */
const policyOf = (granted: string, more = ''): string => `version: 1
roles:
  changing:
    id: 800
    files: ${granted}
    exec: any${more}
`;
const first = policyOf(`{read: ["@runtime", /bin, /usr, ${flip}, ${area}/both, ${area}/a]}`);
const second = policyOf(`{read: [/], deny: [${area}/none, ${area}/a]}`);
const policy = writePolicy('reload', first);
const change = (text: string): void => writeFileSync(policy, text);

/** `npm test -- test/vm/reload.test.ts --reloads 1000` is the large form: fifty pods, which have a turn each time. */
const reloads = process.env.JAILRUN_RELOADS;
const storm = reloads
  ? { pods: 50, reloads: Number(reloads), rest: 1, milliseconds: 50 }
  : { pods: 3, reloads: 1000, rest: 10, milliseconds: 1 };

const words = ['--policy', policy, '--role', 'changing', '--'];

/** Runs `jailrun reload` and splits what it prints into lines. */
async function reloadBy(...options: string[]): Promise<{ status: number; lines: string[]; stderr: string }> {
  const { status, stdout, stderr } = await say('reload', ...options);
  return { status, lines: stdout.trimEnd().split('\n'), stderr };
}

/** A shell in the role that reads the file named on each line of its input and prints "yes" or "no". */
class Reader {
  readonly #shell: ChildProcess;
  #output = '';
  #errors = '';
  constructor(options: string[] = []) {
    const script = 'while read -r path; do if read -r x <"$path"; then echo yes; else echo no; fi; done';
    this.#shell = spawn(jailrun, [...options, ...words, '/bin/sh', '-c', script], { stdio: 'pipe' });
    this.#shell.stdout?.setEncoding('utf8').on('data', (text) => {
      this.#output += text;
    });
    this.#shell.stderr?.setEncoding('utf8').on('data', (text) => {
      this.#errors += text;
    });
  }
  async reads(name: string): Promise<string> {
    this.#output = '';
    this.#shell.stdin?.write(`${area}/${name}\n`);
    await until(() => this.#output.endsWith('\n'));
    return this.#output.trim();
  }
  /** Ends it and returns what jailrun reported. */
  async end(): Promise<string> {
    this.#shell.stdin?.end();
    await once(this.#shell, 'close');
    return this.#errors;
  }
}

before(() => {
  attach();
  mkdirSync(area, { recursive: true });
  for (const name of ['a', 'b', 'both', 'none']) writeFileSync(`${area}/${name}`, 'text\n');
});
after(() => {
  rmSync(area, { recursive: true, force: true });
  leave();
});

describe('a reload', () => {
  test('changes what a running command may do, its children too, and reports by the policy that decided', async () => {
    change(first);
    const reader = new Reader();
    assert.deepEqual([await reader.reads('a'), await reader.reads('b')], ['yes', 'no']);
    change(second);
    assert.equal((await reloadBy()).status, 0);
    assert.deepEqual([await reader.reads('a'), await reader.reads('b')], ['no', 'yes']);
    const report = await reader.end();
    assert.match(report, /denied read \S+\/b \(EACCES\): role changing does not grant it/);
    assert.match(
      report,
      /denied read \S+\/a \(EACCES\) by files\.deny \S+\/a \(\/run\/jailrun-test\/reload\.yaml:5\)/,
    );
  });
  test('says what changed, and what would', async () => {
    change(first);
    const reader = new Reader();
    await reader.reads('both');
    change(second);
    const lines = [
      `  - files.read ${area}/both`,
      `  - files.read ${area}/a`,
      '  + files.read /',
      `  + files.deny ${area}/none`,
      `  + files.deny ${area}/a`,
    ];
    const dry = await reloadBy('--dry-run');
    for (const line of lines) assert.ok(dry.lines.includes(line), dry.lines.join('\n'));
    assert.equal(dry.lines.at(-1), '1 pods would change; 0 stay as they are.');
    assert.equal(await reader.reads('b'), 'no');
    const [report] = (await reloadBy('--json')).lines.map((line) => JSON.parse(line));
    assert.deepEqual(
      { ...report, pod: '', podId: '', added: report.added.length, removed: report.removed.includes('x') },
      {
        version: 1,
        type: 'reload',
        pod: '',
        podId: '',
        role: 'changing',
        changed: true,
        added: 3,
        removed: false,
        notes: [],
      },
    );
    assert.deepEqual((await reloadBy()).lines, ['0 pods changed; 1 stay as they are.']);
    await reader.end();
  });
  test('of a policy with a fault changes nothing and says why', async () => {
    change(first);
    const reader = new Reader();
    await reader.reads('both');
    for (const [text, why] of [
      [second.replace('deny', 'denied'), /reload\.yaml:5:\d+: .*denied/],
      [second.replace('changing', 'other'), /No policy defines a role changing/],
      [policyOf('any', '\n    vars: [site]'), /site/],
    ] as const) {
      change(text);
      const { status, stderr } = await reloadBy();
      assert.equal(status, 125);
      assert.match(stderr, /Nothing has changed/);
      assert.match(stderr, why);
      assert.deepEqual([await reader.reads('a'), await reader.reads('b')], ['yes', 'no']);
    }
    await reader.end();
  });
  test('begins and ends audit mode', async () => {
    change(first);
    const reader = new Reader();
    assert.equal(await reader.reads('b'), 'no');
    change(policyOf(first.split('files: ')[1]?.split('\n')[0] ?? '', '\n    mode: audit'));
    assert.equal((await reloadBy()).status, 0);
    assert.equal(await reader.reads('b'), 'yes');
    change(first);
    assert.equal((await reloadBy()).status, 0);
    assert.equal(await reader.reads('b'), 'no');
    assert.match(await reader.end(), /would be denied read \S+\/b/);
  });
  test('leaves pods under --audit in it', async () => {
    change(first);
    const reader = new Reader(['--audit']);
    assert.equal(await reader.reads('b'), 'yes');
    change(second);
    assert.equal((await reloadBy()).status, 0);
    assert.equal(await reader.reads('none'), 'yes');
    await reader.end();
  });
  test('of nothing is nothing', async () => {
    assert.deepEqual((await reloadBy()).lines, ['0 pods changed; 0 stay as they are.']);
  });
  test('has no instant at which neither policy decides', async (context) => {
    change(first);
    const probes: ChildProcess[] = [];
    const results: Promise<string>[] = [];
    for (let i = 0; i < storm.pods; i++) {
      const probe = spawn(jailrun, [...words, flip, `${area}/both`, `${area}/none`], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      let output = '';
      probe.stdout.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
      probes.push(probe);
      results.push(once(probe, 'close').then(() => output));
      // One after the other: all at once they would keep each other from starting.
      await until(() => readdirSync('/run/jailrun/pods').length > i);
    }
    const kernel = openPins();
    assert.ok(kernel);
    const roles: CompiledRole[] = [];
    for (const text of [second, first]) {
      change(text);
      roles.push(compileStack(await findStack({ role: ['changing'] }, { policy }, ''), kernel));
    }
    await until(() => kernel.listPods().length === storm.pods);
    for (const probe of probes) probe.stdin?.end();
    // Among fifty processes that never rest a reload would have its turn every second or so.
    setPriority(constants.priority.PRIORITY_HIGHEST);
    const begin = Date.now();
    for (let i = 0; i < storm.reloads; i++) {
      const role = roles[i % 2] as CompiledRole;
      kernel.changeRoles(kernel.listPods().map(({ id, flags }) => ({ id, role, flags })));
      // The probes have a turn.
      if (i % storm.rest === 0) await sleep(storm.milliseconds);
    }
    const seconds = (Date.now() - begin) / 1000;
    setPriority(0);
    for (const probe of probes) probe.kill('SIGTERM');
    let all = 0;
    for (const result of results) {
      const [, tried, wrong] = /^(\d+) tried, (\d+) wrong$/m.exec(await result) ?? [];
      assert.ok(Number(tried) > 100, `${tried} tried`);
      assert.equal(wrong, '0');
      all += Number(tried);
    }
    context.diagnostic(
      `${storm.reloads} reloads of ${storm.pods} pods in ${seconds.toFixed(1)} s, in which these forked ${all / 2} times`,
    );
  });
  test('keeps no more roles in the kernel than are of use', () => {
    const map = spawnSync('bpftool', ['-j', 'map', 'dump', 'pinned', '/sys/fs/bpf/jailrun/maps/roles'], {
      encoding: 'utf8',
    });
    assert.ok(JSON.parse(map.stdout).length <= 64);
    assert.deepEqual(readFileSync(policy, 'utf8'), first);
  });
});
