// The unit that attaches at boot, with systemd itself: it boots as the first process of namespaces of its own, as
// in a container, since the guest's first process is the guest's own script. The kernel, and so what is attached,
// is the guest's.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { detach, root, until } from './jail.js';

const units = '/etc/systemd/system';
const unit = join(root, 'deploy/systemd/jailrun.service');
const installed = '/usr/local/lib/jailrun';
const link = '/usr/local/bin/jailrun';
const cgroup = '/sys/fs/cgroup/systemd-test';
const pins = '/sys/fs/bpf/jailrun';

const offline = (...words: string[]): void => {
  execFileSync('systemctl', words, { env: { ...process.env, SYSTEMD_OFFLINE: '1' }, stdio: 'pipe' });
};

/** A unit of this name that does no more than to have been started, at boot. */
function addUnit(name: string, dependencies: string): void {
  const text = `[Unit]\nDefaultDependencies=no\n${dependencies}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=basic.target\n`;
  writeFileSync(join(units, name), text);
  offline('enable', name);
}

let manager: ChildProcess;
let first = 0;

/**
 * Boots systemd up to basic.target, without what other packages want there, which would change the guest's kernel,
 * and waits until it has nothing more to start.
 */
async function boot(): Promise<void> {
  mkdirSync(cgroup, { recursive: true });
  const script = `
    echo $$ >${cgroup}/cgroup.procs
    exec unshare --mount --pid --fork --kill-child --cgroup --uts --mount-proc sh -c '
      mount -t tmpfs -o mode=755 tmpfs /run
      mkdir -p /run/systemd/system
      for wanted in /lib/systemd/system/*.target.wants/* /etc/systemd/system/*.target.wants/*; do
        case $wanted in *journald*|*jailrun*) ;; *) ln -sf /dev/null /run/systemd/system/\${wanted##*/} ;; esac
      done
      umount /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
      exec env container=test /lib/systemd/systemd --system --unit=basic.target --show-status=no --log-target=journal
    '`;
  manager = spawn('sh', ['-c', script], { stdio: 'ignore' });
  const children = `/proc/${manager.pid}/task/${manager.pid}/children`;
  await until(() => readFileSync(children, 'utf8').trim() !== '');
  first = Number(readFileSync(children, 'utf8').trim());
  // Under emulation it reads its units for long.
  await until(() => inside('test', '-S', '/run/systemd/private').status === 0, 90);
  const { stdout, stderr } = systemctl('is-system-running', '--wait');
  assert.match(stdout, /^(running|degraded)$/m, stdout + stderr);
}

const inside = (...words: string[]) =>
  spawnSync('nsenter', ['-t', String(first), '-m', '-p', ...words], { encoding: 'utf8' });
const systemctl = (...words: string[]) => inside('systemctl', ...words);
const property = (name: string, of: string): string =>
  systemctl('show', '--value', '-p', name, of).stdout.trim();

before(() => {
  // A file before this one may have left the programs attached.
  detach();
  cpSync(join(root, 'dist'), installed, { recursive: true });
  symlinkSync('../lib/jailrun/jailrun', link);
  mkdirSync(units, { recursive: true });
  cpSync(unit, join(units, 'jailrun.service'));
  offline('enable', 'jailrun.service');
  addUnit('needs-jailrun.service', 'Requires=jailrun.service\nAfter=jailrun.service');
});

/** Ends all of it, and takes away what it attached. */
async function halt(): Promise<void> {
  process.kill(first, 'SIGKILL');
  await once(manager, 'exit');
  execFileSync('find', [cgroup, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
  detach();
}

after(() => {
  offline('disable', 'jailrun.service', 'needs-jailrun.service');
  for (const name of ['jailrun.service', 'needs-jailrun.service']) rmSync(join(units, name));
  rmSync(link);
  rmSync(installed, { recursive: true });
});

test('systemd finds no fault with the units', () => {
  const directory = join(root, 'deploy/systemd');
  const all = readdirSync(directory).map((name) => join(directory, name));
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...all], {
    encoding: 'utf8',
  });
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

describe('a host that boots', () => {
  before(boot);
  after(halt);
  const entered = (name: string): number => Number(property('ActiveEnterTimestampMonotonic', name));
  test('has the programs before basic.target, and starts what requires them', () => {
    assert.deepEqual(
      ['jailrun', 'needs-jailrun'].map((name) => property('ActiveState', `${name}.service`)),
      ['active', 'active'],
    );
    assert.ok(entered('jailrun.service') < entered('basic.target'));
    assert.ok(existsSync(pins));
    const { stdout } = inside('journalctl', '-u', 'jailrun', '-o', 'cat');
    assert.match(stdout, /^Attached: \d+ programs, through /m);
  });
  test('reloads the policies by the unit, and keeps the programs when that is stopped', () => {
    const { status, stderr } = systemctl('reload', 'jailrun');
    assert.deepEqual([status, stderr], [0, '']);
    systemctl('stop', 'jailrun');
    assert.equal(property('ActiveState', 'jailrun.service'), 'inactive');
    assert.ok(existsSync(pins));
  });
});

describe('a host on which attaching fails', () => {
  const object = join(installed, 'jailrun.bpf.o');
  before(() => rmSync(object));
  after(() => cpSync(join(root, 'dist/jailrun.bpf.o'), object));
  afterEach(halt);
  test('boots on with a failed unit that says why, and does not start what requires it', async () => {
    await boot();
    assert.deepEqual(
      ['jailrun', 'needs-jailrun'].map((name) => property('ActiveState', `${name}.service`)),
      ['failed', 'inactive'],
    );
    assert.equal(property('ActiveState', 'basic.target'), 'active');
    assert.equal(property('ExecMainStatus', 'jailrun.service'), '125');
    assert.equal(systemctl('is-system-running').stdout, 'degraded\n');
    assert.match(systemctl('--failed', '--plain').stdout, /^jailrun\.service .* failed failed /m);
    const { stdout } = inside('journalctl', '-u', 'jailrun', '-o', 'cat');
    assert.match(stdout, /^jailrun: The BPF programs .*jailrun\.bpf\.o cannot be opened/m);
  });
  test('goes no further where basic.target requires the unit', async () => {
    offline('add-requires', 'basic.target', 'jailrun.service');
    await boot();
    assert.equal(property('ActiveState', 'basic.target'), 'inactive');
    rmSync(join(units, 'basic.target.requires'), { recursive: true });
  });
});
