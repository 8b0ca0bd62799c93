// Pins as attach() leaves them, in a bpffs of the test's own and with nothing attached: the maps are the
// real ones, and what stands for the links decides nothing.
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Limit, Meta } from '../../src/abi.js';
import { addon, bpfObjectPath, UpdateFlag } from '../../src/launcher/addon.js';
import { type Places, pinsOf } from '../../src/launcher/kernel.js';

export interface TestPlaces extends Places {
  remove(): void;
}

/** Makes an empty bpffs and a directory for the lock. */
export function makePlaces(): TestPlaces {
  const directory = mkdtempSync(join(tmpdir(), 'jailrun-test-'));
  const places = { bpffs: join(directory, 'bpffs'), run: join(directory, 'run') };
  mkdirSync(places.bpffs);
  execFileSync('mount', ['-t', 'bpf', 'bpf', places.bpffs]);
  return {
    ...places,
    remove() {
      execFileSync('umount', [places.bpffs]);
      rmSync(directory, { recursive: true });
    },
  };
}

export const meta: Meta = {
  layout: Limit.LAYOUT,
  hooks: 2,
  build: new Uint8Array(16),
  fmodRet: 0,
  runDevice: 0,
  runInode: 0n,
};

/** Pins the maps, and two programs' names. */
export function pinMaps(places: Places, written: Meta = meta): void {
  const pins = pinsOf(places);
  for (const kind of ['maps', 'programs', 'links']) mkdirSync(join(pins, kind), { recursive: true });
  const object = new addon.BpfObject(bpfObjectPath);
  for (const { name } of object.programs()) object.setAutoload(name, false);
  object.load();
  for (const name of object.maps()) {
    const fd = object.mapFd(name);
    addon.objPin(fd, join(pins, 'maps', name));
    if (name === 'meta') {
      addon.mapUpdate(fd, new Uint8Array(4), Meta.encode(written), UpdateFlag.ANY);
      for (const program of ['jr_bpf', 'jr_file_open']) {
        addon.objPin(fd, join(pins, 'programs', program));
        addon.objPin(fd, join(pins, 'links', program));
      }
    }
    closeSync(fd);
  }
  object.close();
}
