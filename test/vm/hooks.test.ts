// Every LSM hook that this kernel has is attached to, or on the list of those that need not be.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { addon, bpfObjectPath } from '../../src/launcher/addon.js';
import { choosePrograms } from '../../src/launcher/attach.js';
import { unattached } from './unattached.js';

const btf = execFileSync('bpftool', ['btf', 'dump', 'file', '/sys/kernel/btf/vmlinux', 'format', 'raw'], {
  encoding: 'utf8',
  maxBuffer: 1 << 30,
});
const hooks = [...btf.matchAll(/FUNC 'bpf_lsm_(\w+)'/g)].map(([, name]) => name ?? '').sort();
const attached = new Set(
  choosePrograms(new addon.BpfObject(bpfObjectPath), 'lsm').flatMap(({ hook }) => hook ?? []),
);

test('every hook of this kernel is attached to, or has a reason why not', () => {
  assert.ok(hooks.length > 200, `only ${hooks.length} hooks`);
  assert.deepEqual(
    hooks.filter((hook) => !attached.has(hook) && !unattached.has(hook)),
    [],
  );
});

test('no hook is attached to that has such a reason', () => {
  assert.deepEqual(
    [...attached].filter((hook) => unattached.has(hook)),
    [],
  );
});
