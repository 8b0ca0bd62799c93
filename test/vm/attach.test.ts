// What is attached, and by which way.
import assert from 'node:assert/strict';
import { closeSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Denial } from '../../src/abi.js';
import { addon, bpfObjectPath } from '../../src/launcher/addon.js';
import { attach, choosePrograms, detach } from '../../src/launcher/attach.js';
import { chooseWay, readFacts } from '../../src/launcher/host.js';
import { hostPlaces, pinsOf } from '../../src/launcher/kernel.js';
import { leave, run, runAfter } from './jail.js';
import { listRemembered, runAround } from './steps.js';

const pins = pinsOf(hostPlaces);
const pinDirectories = (): string[] =>
  readdirSync(hostPlaces.bpffs).filter((name) => name.startsWith('jailrun'));
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
  after(leave);
}

/** To attach takes an emulated kernel longest of all, so each of these goes on from where the one before has ended. */
function testAttaching(): void {
  before(() => void detach({ force: true }));

  test('is refused without BTF, and then no command starts', () => {
    const { status, stdout, errors } = runAfter('mount -t tmpfs none /sys/kernel/btf');
    assert.deepEqual([status, stdout, errors.map(({ code }) => code)], [125, '', ['NO_BTF']]);
    assert.match(errors[0]?.message ?? '', /CONFIG_DEBUG_INFO_BTF/);
    assert.deepEqual(pinDirectories(), []);
  });

  test('pins every program', () => {
    const kernel = attach();
    assert.equal(kernel.meta.hooks, programs.length);
    assert.deepEqual(readdirSync(`${pins}/links`).sort(), [...programs].sort());
  });

  test('ends with detaching, which leaves nothing, and a command that was about to start does not', async () => {
    const command = { words: ['--role', 'permissive', '--', 'echo', 'ran'] };
    const lastMile = listRemembered(command).find(({ text }) => text === 'exec');
    assert.ok(lastMile);
    let links: number | undefined;
    const meanwhile = (): void => {
      links = detach({ force: true })?.links;
    };
    const { status, stdout, stderr } = await runAround(lastMile, 'wait', command, { meanwhile });
    assert.deepEqual([status, stdout], [125, ''], stderr);
    assert.match(stderr, /not started/);
    assert.equal(links, programs.length);
    assert.deepEqual(pinDirectories(), []);
  });

  test('a second time finds what the first one attached', () => {
    const first = readLinkIds(attach);
    assert.deepEqual(readLinkIds(attach), first);
  });
}

/** How many of 80,000 opens that a role forbids succeed when eight processes hurry. */
function countForbiddenOpens(): number {
  const hurry = `
    use POSIX;
    for (1..8) {
      next if fork();
      for (1..10000) { my $fd = POSIX::open('/etc/shadow', O_RDONLY); if ($fd) { print '.'; POSIX::close($fd); } }
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

  test('lets no forbidden open through when eight processes hurry', () => {
    assert.equal(countForbiddenOpens(), 0);
  });
}

function testRing(): void {
  before(() => void attach());

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
