// Attaching: all programs or none, whoever is killed and however many try at once. strace slows down
// the calls between which somebody is killed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Denial } from '../../src/abi.js';
import { addon, bpfObjectPath } from '../../src/launcher/addon.js';
import { attach, choosePrograms, detach } from '../../src/launcher/attach.js';
import { chooseWay, readFacts } from '../../src/launcher/host.js';
import { hostPlaces, openPins, pinsOf } from '../../src/launcher/kernel.js';
import { jailrun, run } from './jail.js';

const pins = pinsOf(hostPlaces);
const pinDirectories = (): string[] =>
  readdirSync(hostPlaces.bpffs).filter((name) => name.startsWith('jailrun'));
/** How many programs and links are pinned, wherever. */
const countPinned = (): number =>
  pinDirectories().flatMap((name) =>
    ['programs', 'links'].flatMap((kind) => readNames(`${hostPlaces.bpffs}/${name}/${kind}`)),
  ).length;
const readNames = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);
const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('close', resolve));

const { lsms, preemptible } = readFacts();
/** This kernel would skip fmod_ret programs, see chooseWay(). */
const skips = !lsms?.includes('bpf') && preemptible === true;
const way = skips ? 'fmod_ret' : chooseWay(readFacts());
const programs = choosePrograms(new addon.BpfObject(bpfObjectPath), way).map(({ name }) => name);

if (skips) {
  test('a kernel that preempts and does not list the BPF LSM is refused, with the boot parameter', () => {
    assert.throws(() => attach(), {
      code: 'NO_WAY',
      message: /Boot with bpf in the list of LSMs: lsm=.*,bpf/,
    });
    assert.deepEqual(pinDirectories(), []);
    const { status, stdout, errors } = run(['--role', 'permissive', '--', 'echo', 'ran']);
    assert.deepEqual([status, stdout, errors.map(({ code }) => code)], [125, '', ['NO_WAY']]);
  });
  test('and rightly: attached all the same, it lets some of many forbidden opens through', () => {
    attach(hostPlaces, { ...readFacts(), preemptible: false });
    assert.notEqual(countForbiddenOpens(), 0);
    detach({ force: true });
  });
} else {
  describe('attaching', testAttaching);
  describe('the attached set', testHaste);
  describe('the host’s ring', testRing);
}

function testAttaching(): void {
  before(() => void detach({ force: true }));
  after(() => void detach({ force: true }));

  test('pins every program, and detaching leaves nothing', () => {
    const kernel = attach();
    assert.equal(kernel.meta.hooks, programs.length);
    assert.deepEqual(readdirSync(`${pins}/links`).sort(), [...programs].sort());
    assert.deepEqual(detach()?.links, programs.length);
    assert.deepEqual(pinDirectories(), []);
  });

  test('a second time finds what the first one attached', () => {
    const first = readLinkIds(attach);
    assert.deepEqual(readLinkIds(attach), first);
    detach();
  });

  test('in four processes at once attaches one set of programs', async () => {
    const children = Array.from({ length: 4 }, () => spawn(jailrun, ['attach'], { stdio: 'ignore' }));
    assert.deepEqual(await Promise.all(children.map(ended)), [0, 0, 0, 0]);
    assert.deepEqual(pinDirectories(), ['jailrun']);
    assert.equal(openPins()?.meta.hooks, programs.length);
    detach();
  });

  for (const [when, slowed, pinned] of [
    ['after its first pin', 'bpf:delay_enter=5000', 1],
    ['in the midst of its pins', 'bpf:delay_enter=5000', programs.length],
    ['with everything pinned, before that is in its place', 'rename:delay_enter=60s', 2 * programs.length],
  ] as const) {
    test(`that is killed ${when} leaves nothing that counts, and the next one attaches all`, async () => {
      const [call = ''] = slowed.split(':');
      const options = `-f --seccomp-bpf -qq -o /dev/null -e trace=${call} -e inject=${slowed}`.split(' ');
      const child = spawn('strace', [...options, jailrun, 'attach'], { stdio: 'ignore', detached: true });
      // Under strace in an emulated guest this takes up to half a minute.
      while (countPinned() < pinned && child.exitCode === null) await sleep(20);
      // strace, the front and the launcher are one process group.
      process.kill(-(child.pid as number), 'SIGKILL');
      await ended(child);
      assert.match(pinDirectories().join(), /^jailrun-new-\d+$/);
      assert.equal(openPins(), undefined);
      assert.equal(attach().meta.hooks, programs.length);
      assert.deepEqual(pinDirectories(), ['jailrun']);
      detach();
    });
  }

  test('removes what a killed one pinned half way', () => {
    mkdirSync(`${hostPlaces.bpffs}/jailrun-new-1/links`, { recursive: true });
    attach();
    assert.equal(existsSync(`${hostPlaces.bpffs}/jailrun-new-1`), false);
    detach();
  });
}

/** How many of 400,000 opens that a role forbids succeed when eight processes hurry. */
function countForbiddenOpens(): number {
  const hurry = `
    use POSIX;
    for (1..8) {
      next if fork();
      for (1..50000) { my $fd = POSIX::open('/etc/shadow', O_RDONLY); if ($fd) { print '.'; POSIX::close($fd); } }
      exit;
    }
    1 while wait() > 0;`;
  const { status, stdout, stderr } = run(['--role', 'restricted', '--', 'perl', '-e', hurry]);
  assert.equal(status, 0, stderr);
  return stdout.length;
}

/** The kernel's numbers of the pinned links: a program that is attached anew has another one. */
function readLinkIds(action: () => unknown): number[] {
  action();
  return programs.map((name) => {
    const fd = addon.objGet(`${pins}/links/${name}`);
    const { id } = addon.linkInfo(fd);
    closeSync(fd);
    return id;
  });
}

function testHaste(): void {
  before(() => void attach());
  after(() => void detach({ force: true }));

  test('lets no forbidden open through when eight processes hurry', () => {
    assert.equal(countForbiddenOpens(), 0);
  });
}

function testRing(): void {
  before(() => void attach());
  after(() => void detach({ force: true }));

  test('calls its reader back when something is denied', async () => {
    const ring = new addon.Ring(addon.objGet(`${pins}/maps/denials`));
    ring.consume();
    const woken = new Promise<void>((resolve) => ring.watch(resolve));
    run(['--role', 'restricted', '--', 'cat', '/etc/shadow']);
    await woken;
    const [denial] = ring.consume().map((record) => Denial.decode(record));
    ring.close();
    assert.equal(denial && Buffer.from(denial.comm).toString('latin1').replace(/\0.*$/s, ''), 'cat');
  });
}
