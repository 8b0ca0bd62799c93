// Attaching: all programs or none, whoever is killed and however many try at once. strace slows down
// the calls between which somebody is killed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { addon, bpfObjectPath } from '../../src/launcher/addon.js';
import { attach, choosePrograms, detach } from '../../src/launcher/attach.js';
import { chooseWay, readFacts } from '../../src/launcher/host.js';
import { hostPlaces, openPins } from '../../src/launcher/kernel.js';
import { jailrun } from './jail.js';

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

const programs = choosePrograms(new addon.BpfObject(bpfObjectPath), chooseWay(readFacts())).map(
  ({ name }) => name,
);

before(() => void detach({ force: true }));
after(() => void detach({ force: true }));

describe('attaching', () => {
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
});
