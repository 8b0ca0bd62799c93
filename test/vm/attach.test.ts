// Attaching: all programs or none, whoever is killed and however many try at once.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Denial } from '../../src/abi.js';
import { addon, bpfObjectPath } from '../../src/launcher/addon.js';
import { attach, detach } from '../../src/launcher/attach.js';
import { hostPlaces, openPins, pinsOf } from '../../src/launcher/kernel.js';
import { jailrun, run } from './jail.js';

const pins = pinsOf(hostPlaces);
const programs = new addon.BpfObject(bpfObjectPath).programs().map(({ name }) => name);
const pinDirectories = (): string[] =>
  readdirSync(hostPlaces.bpffs).filter((name) => name.startsWith('jailrun'));
const ended = (child: ChildProcess): Promise<number | null> =>
  new Promise((resolve) => child.once('close', resolve));

describe('attaching', () => {
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

  test('that is killed leaves all programs or none, and the next one cleans up', async () => {
    const begin = Date.now();
    await ended(spawn(jailrun, ['attach'], { stdio: 'ignore' }));
    const whole = Date.now() - begin;
    detach();
    for (const part of [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1]) {
      const child = spawn(jailrun, ['attach'], { stdio: 'ignore', detached: true });
      await sleep(whole * part);
      // The front and the launcher, which it started in its process group.
      if (child.exitCode === null) process.kill(-(child.pid as number), 'SIGKILL');
      await ended(child);
      const kernel = openPins();
      if (kernel) assert.equal(readdirSync(`${pins}/links`).length, programs.length);
      assert.equal(attach().meta.hooks, programs.length);
      assert.deepEqual(pinDirectories(), ['jailrun']);
      detach();
    }
  });

  test('removes what a killed one pinned half way', () => {
    mkdirSync(`${hostPlaces.bpffs}/jailrun-new-1/links`, { recursive: true });
    attach();
    assert.equal(existsSync(`${hostPlaces.bpffs}/jailrun-new-1`), false);
    detach();
  });
});

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

describe('the host’s ring', () => {
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
});
