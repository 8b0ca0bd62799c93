// Containers that are remembered: the front jails the second one like the first without node, takes its pod away when it
// has ended, and asks the launcher as soon as anything is another.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { type Engine, Ground, type Said, say } from './engines.js';
import { attach, jailrun, mapSize, pods, until } from './jail.js';
import {
  area,
  forgetNode,
  front,
  hasNodeRun,
  install,
  podEntries,
  starts,
  states,
  uninstall,
} from './start.js';

const disk = '/mnt/ext4/fast-containers';
const systemPolicy = '/etc/jailrun/policy.yaml';

/** Paths are the container's: the host has no /srv/secret. */
const policyText = `version: 1
roles:
  held:
    id: 840
    files: {read: [/, /srv/link/file], write: [/tmp, /dev], deny: [/srv/secret, /etc/hostname]}
    exec: any
    allow: [setuid]
  wide:
    id: 841
    files: {read: [/], deny: ["/srv/sec*"]}
    exec: any
  site:
    id: 842
    vars: [data]
    files: {read: [/usr, /lib, /lib64, /bin, /etc, "\${data}"]}
    exec: any
containers: {roles: [held, wide, site]}
`;

const held = { 'io.jailrun.role': 'held' };

const ground = new Ground(disk, front);
const rootfs = ground.root;
/** As podman gives one, below a directory with the container's name. */
const ownHostname = (id: string): object[] => {
  const source = `/run/fast-containers/${id}`;
  mkdirSync(source, { recursive: true });
  writeFileSync(`${source}/hostname`, 'box\n');
  return [{ destination: '/etc/hostname', type: 'bind', source: `${source}/hostname`, options: ['bind'] }];
};
const runc = ground.alone('runc', (id) => ({ mounts: ownHostname(id) }));
const podman = ground.podman('crun');

const script =
  'cat /srv/public; cat /srv/secret/file; echo $?; touch /etc/new; touch /tmp/new && echo made; cat /etc/hostname; cat /srv/link/file';

let count = 0;
/** Runs one, and says whether node was needed to begin it: `end` was where something was denied. */
function begins(engine: Engine, what = script, annotations = held): [Said, boolean] {
  forgetNode();
  const said = engine.run(`next-${++count}`, what, annotations);
  return [said, hasNodeRun()];
}
/** Nothing of it is denied. */
const quiet = 'cat /srv/public /srv/link/file';

/** Runs containers until no node is needed for one. */
async function settle(engine: Engine, annotations = held): Promise<void> {
  await until(() => !begins(engine, quiet, annotations)[1], 120);
}
/** What was remembered does not hold: node is started, the container is held by what is there now, then no node is. */
async function goesStale(engine: Engine, stdout = 'publicone'): Promise<void> {
  const [said, node] = begins(engine, quiet);
  assert.deepEqual([said.stdout, node], [stdout, true], said.stderr);
  await settle(engine);
  assert.equal(begins(engine, quiet)[0].stdout, stdout);
}

const templates = (): string[] => readdirSync(starts).filter((name) => name.startsWith('container:'));
before(() => {
  ground.prepare();
  for (const name of ['secret', 'one', 'two']) mkdirSync(`${rootfs}/srv/${name}`, { recursive: true });
  writeFileSync(`${rootfs}/srv/secret/file`, 'secret');
  writeFileSync(`${rootfs}/srv/public`, 'public');
  for (const name of ['one', 'two']) writeFileSync(`${rootfs}/srv/${name}/file`, name);
  symlinkSync('one', `${rootfs}/srv/link`);
  writeFileSync(systemPolicy, policyText);
  install();
});
after(() => {
  rmSync(systemPolicy);
  ground.cleanUp();
  uninstall();
});
afterEach(async () => {
  await until(() => pods().length === 0);
  assert.deepEqual([mapSize('containers'), mapSize('pods'), readdirSync(states)], [0, 0, []]);
});

for (const engine of [runc, podman])
  describe(`a container of ${engine.name} like one before`, () => {
    before(() => settle(engine));

    test('is jailed and taken away without node', async () => {
      const [{ stdout, status }, node] = begins(engine, quiet);
      await until(() => readdirSync(states).length === 0);
      assert.deepEqual([stdout, status, node, hasNodeRun()], ['publicone', 0, false, false]);
    });
    test('may do what its role permits and is denied the rest, as the launcher’s is', async () => {
      forgetNode();
      engine.start('held', `{ ${script}; } > /tmp/said 2>&1; sleep 1000`, held);
      try {
        await until(() => pods()[0]?.processes.some(({ command }) => command === 'sleep 1000') === true);
        assert.equal(hasNodeRun(), false);
        const said = readFileSync(`${rootfs}/tmp/said`, 'utf8');
        for (const file of ['/srv/secret/file', '/etc/hostname'])
          assert.ok(said.includes(`cat: ${file}: Permission denied`), said);
        assert.match(said, /touch: cannot touch '\/etc\/new': Permission denied/);
        assert.match(said, /publiccat.*\n1\n.*\nmade\n.*\none$/);
        const executed = engine.exec('held', 'cat /srv/public; cat /srv/secret/file; cat /etc/hostname');
        assert.equal(executed.stdout, 'public', executed.stderr);
        assert.match(executed.stderr, /secret\/file: Permission denied/);
        assert.match(executed.stderr, /hostname: Permission denied/);
      } finally {
        engine.stop('held');
      }
      await until(hasNodeRun, 30);
    });
    test('has the state file that the launcher would have written, and the same role', async () => {
      const header = (): unknown => {
        const [name = ''] = readdirSync(states);
        const [line = '', id = '', , , enrolled = ''] = readFileSync(join(states, name), 'utf8').split('\n');
        const text = JSON.parse(line);
        const [entry] = podEntries();
        assert.equal(`${text.name}.json`, name);
        assert.equal(text.digest, String(entry?.role));
        assert.deepEqual([JSON.parse(id).id, enrolled], [String(entry?.id), '']);
        // Podman mounts in any order.
        const sorted = text.container.mounts.sort((a: { mountPoint: string }, b: { mountPoint: string }) =>
          a.mountPoint < b.mountPoint ? -1 : 1,
        );
        const mounts = sorted.map((mount: object) => ({
          ...mount,
          id: 0,
          parent: 0,
          device: 0,
          epoch: 0,
          root: '',
        }));
        return {
          ...text,
          digest: '',
          name: '',
          command: '',
          enrolls: Object.keys(text.enrolls),
          container: {
            ...text.container,
            mounts,
            id: '',
            cgroup: '',
            cgroupId: '',
            root: Object.keys(text.container.root),
          },
        };
      };
      const look = async (id: string): Promise<[unknown, unknown, boolean]> => {
        forgetNode();
        engine.start(id, 'sleep 1000', held);
        try {
          await until(() => pods()[0]?.processes.some(({ command }) => command === 'sleep 1000') === true);
          const node = hasNodeRun();
          // What the launcher compiles for it now is what holds it.
          const reload = say(jailrun, 'reload', '--dry-run', '--json');
          const { changed, notes } = JSON.parse(reload.stdout.split('\n')[0] ?? '');
          return [header(), { changed, notes }, node];
        } finally {
          engine.stop(id);
        }
      };
      const fast = await look('as-before');
      rmSync(starts, { recursive: true });
      const slow = await look('by-the-launcher');
      assert.deepEqual([fast[2], slow[2]], [false, true]);
      assert.deepEqual(fast[0], slow[0]);
      assert.deepEqual(
        [fast[1], slow[1]],
        [
          { changed: false, notes: [] },
          { changed: false, notes: [] },
        ],
      );
      await settle(engine);
    });
  });

/** What is as it was may still be remembered. */
function isHeldAsBefore(): void {
  const [{ stdout, stderr }] = begins(runc, `${quiet}; cat /srv/secret/file`);
  assert.equal(stdout, 'publicone');
  assert.match(stderr, /secret\/file: Permission denied/);
}

describe('the launcher is asked again', () => {
  before(() => settle(runc));

  test('when a policy has changed', async () => {
    writeFileSync(systemPolicy, policyText.replace('deny: [/srv/secret,', 'deny: [/srv/public,'));
    const [{ stdout, stderr }, node] = begins(runc, 'cat /srv/secret/file; cat /srv/public');
    assert.deepEqual([stdout, node], ['secret', true], stderr);
    writeFileSync(systemPolicy, policyText);
    isHeldAsBefore();
  });
  test('when a link in the root directory has changed, and where it leads now is granted', async () => {
    symlinkSync('two', `${rootfs}/srv/new`);
    renameSync(`${rootfs}/srv/new`, `${rootfs}/srv/link`);
    await goesStale(runc, 'publictwo');
    rmSync(`${rootfs}/srv/link`);
    symlinkSync('one', `${rootfs}/srv/link`);
    isHeldAsBefore();
  });
  test('when a link has come where none was', () => {
    renameSync(`${rootfs}/srv/secret`, `${rootfs}/srv/moved`);
    symlinkSync('moved', `${rootfs}/srv/secret`);
    const [{ stdout, stderr }, node] = begins(runc, 'cat /srv/moved/file');
    assert.deepEqual([stdout, node], ['', true]);
    assert.match(stderr, /Permission denied/);
    rmSync(`${rootfs}/srv/secret`);
    renameSync(`${rootfs}/srv/moved`, `${rootfs}/srv/secret`);
    isHeldAsBefore();
  });
  test('for a container with a mount more', () => {
    const mounts = [...ownHostname('more'), { destination: '/mnt', type: 'tmpfs', source: 'none' }];
    forgetNode();
    const { stdout } = say(
      'runc',
      'run',
      '--bundle',
      ground.bundle('runc', 'more', quiet, held, { mounts }),
      'more',
    );
    assert.deepEqual([stdout, hasNodeRun()], ['publicone', true]);
    assert.equal(begins(runc, quiet)[1], false);
  });
  test('for what annotations say that only it knows, and it refuses what is wrong', () => {
    // Not remembered, either.
    for (const [annotations, status] of [
      [{ 'io.jailrun.role': 'site', 'io.jailrun.var.data': '/srv' }, 0],
      [{ ...held, 'io.jailrun.roel': 'held' }, 1],
      [{ ...held, 'run.oci.handler': 'wasm' }, 1],
      [{ 'io.jailrun.role': 'none-such' }, 1],
      [{ 'io.jailrun.role': '' }, 1],
    ] as [Record<string, string>, number][])
      for (let times = status === 0 ? 2 : 1; times > 0; times--) {
        const [said, node] = begins(runc, 'cat /srv/public', annotations as typeof held);
        assert.deepEqual(
          [said.status, said.stdout, node],
          [status, status ? '' : 'public', true],
          said.stderr,
        );
      }
    assert.equal(begins(runc, quiet)[1], false);
  });
  test('for a container whose cgroup holds the hook, which it refuses', () => {
    const path = ground.bundle('runc', 'crowded', 'echo ran', held);
    const config = JSON.parse(readFileSync(`${path}/config.json`, 'utf8'));
    config.linux.cgroupsPath = '/crowded';
    writeFileSync(`${path}/config.json`, JSON.stringify(config));
    const enter =
      'mkdir -p /sys/fs/cgroup/crowded; echo $$ > /sys/fs/cgroup/crowded/cgroup.procs; exec runc "$@"';
    forgetNode();
    const { status, stdout } = say('/bin/sh', '-c', enter, 'sh', 'run', '--bundle', path, 'crowded');
    assert.deepEqual([status === 0, stdout, hasNodeRun()], [false, '', true]);
    rmSync(path, { recursive: true });
  });
  test('for a template that is damaged or cut off', () => {
    assert.equal(begins(runc, quiet)[1], false);
    const good = new Map(templates().map((name) => [name, readFileSync(join(starts, name))]));
    assert.ok(good.size > 0);
    const damage = [
      (bytes: Buffer) => bytes.subarray(0, bytes.length - 4),
      (bytes: Buffer) => bytes.subarray(0, 40),
      (bytes: Buffer) => Buffer.concat([bytes, new Uint8Array(4)]),
      ...[0, 30, 90, 900].map((at) => (bytes: Buffer) => {
        const copy = Buffer.from(bytes);
        copy[at] = (copy[at] ?? 0) ^ 1;
        return copy;
      }),
    ];
    for (const [i, spoil] of damage.entries()) {
      for (const [name, bytes] of good) writeFileSync(join(starts, name), spoil(bytes));
      const [{ stdout }, node] = begins(runc, quiet);
      assert.deepEqual([stdout, node], ['publicone', true], `damage ${i}`);
      for (const [name, bytes] of good) writeFileSync(join(starts, name), bytes, { mode: 0o600 });
    }
    assert.equal(begins(runc, quiet)[1], false);
  });
  test('for what a runtime would not say', () => {
    const good = { id: 'odd', status: 'created', pid: 1, bundle: `${disk}/none`, annotations: held };
    const texts = [
      '',
      '{',
      '[]',
      '{"id":"odd"',
      JSON.stringify({ ...good, id: '' }),
      JSON.stringify({ ...good, id: '../..' }),
      JSON.stringify({ ...good, id: 'x'.repeat(5000) }),
      JSON.stringify({ ...good, pid: -1 }),
      JSON.stringify({ ...good, pid: 2 ** 40 }),
      JSON.stringify({ ...good, bundle: 'here' }),
      JSON.stringify({ ...good, annotations: null }),
      JSON.stringify({ ...good, more: '['.repeat(1000) }),
      `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
      JSON.stringify(good).replace('"odd"', '"odd","id":"even"'),
      `${JSON.stringify(good)}\0`,
    ];
    for (const input of texts) {
      forgetNode();
      const { status } = spawnSync(front, ['oci-hook'], { input, encoding: 'utf8' });
      assert.deepEqual([status, hasNodeRun()], [125, true], input.slice(0, 80));
    }
  });
  test('and gets all of what the runtime has said', () => {
    const annotations = { 'io.jailrun.roel': 'x', filler: 'y'.repeat(300_000) };
    const input = JSON.stringify({ id: 'long', status: 'created', pid: 1, bundle: '/', annotations });
    const { stderr } = spawnSync(front, ['oci-hook'], { input, encoding: 'utf8' });
    assert.match(stderr, /io\.jailrun\.roel is no annotation/);
  });
  test('when the programs are others', async () => {
    attach();
    appendFileSync(join(area, 'dist/launcher-main.js'), '\n');
    await goesStale(runc);
  });
});

describe('a container that is not to be jailed', () => {
  const none = {} as typeof held;
  before(() => settle(runc, none));

  test('needs no node, and one that asks for a role is jailed', () => {
    const [{ stdout }, node] = begins(runc, 'cat /srv/secret/file', none);
    assert.deepEqual([stdout, node], ['secret', false]);
    assert.equal(begins(runc, 'cat /srv/secret/file')[0].stdout, '');
  });
  test('is jailed as soon as a policy says so', () => {
    writeFileSync(systemPolicy, policyText.replace('{roles:', '{default: held, roles:'));
    try {
      const [{ stdout, stderr }, node] = begins(runc, 'cat /srv/secret/file', none);
      assert.deepEqual([stdout, node], ['', true]);
      assert.match(stderr, /secret\/file: Permission denied/);
    } finally {
      writeFileSync(systemPolicy, policyText);
    }
  });
  test('needs node where a runtime would run it by itself', () => {
    assert.equal(begins(runc, quiet, { 'run.oci.handler': 'wasm' } as unknown as typeof held)[1], true);
  });
});

test('containers of two images in turn need no node', async () => {
  const root = `${disk}/other/root`;
  for (const name of ['root', 'upper/srv', 'work']) mkdirSync(`${disk}/other/${name}`, { recursive: true });
  const layers = `lowerdir=/,upperdir=${disk}/other/upper,workdir=${disk}/other/work`;
  assert.equal(say('mount', '-t', 'overlay', 'other', '-o', layers, root).status, 0);
  writeFileSync(`${root}/srv/public`, 'other');
  const other = ground.alone('runc', (id) => ({ mounts: ownHostname(id), root }));
  try {
    const read = 'cat /srv/public';
    for (const engine of [runc, other]) await until(() => !begins(engine, read)[1], 120);
    for (const [engine, text] of [
      [runc, 'public'],
      [other, 'other'],
      [runc, 'public'],
    ] as const) {
      const [{ stdout, stderr }, node] = begins(engine, read);
      assert.deepEqual([stdout, node], [text, false], stderr);
    }
  } finally {
    say('umount', '-l', root);
  }
});

describe('many remembered containers', () => {
  before(() => settle(runc));

  test('at once leave nothing, and need no node', async () => {
    forgetNode();
    const all = Array.from({ length: 6 }, (_, i) => `at-once-${i}`);
    for (const id of all) runc.start(id, 'sleep 1000', held);
    try {
      const begun = (): string[] =>
        pods().flatMap(({ processes }) => processes.map(({ command }) => command));
      await until(() => begun().filter((command) => command === 'sleep 1000').length === all.length);
      assert.equal(hasNodeRun(), false);
    } finally {
      for (const id of all) runc.stop(id);
    }
    await until(() => readdirSync(states).length === 0);
    assert.deepEqual(
      [hasNodeRun(), all.some((id) => existsSync(`/sys/fs/cgroup/alone/${id}`))],
      [false, false],
    );
  });
  test('one after the other leave nothing, and no more roles than stay idle', () => {
    const starts = Number(process.env.JAILRUN_STARTS ?? 40);
    for (let i = 0; i < starts; i++) assert.equal(begins(runc, 'exit 7')[0].status, 7);
    assert.deepEqual([mapSize('containers'), mapSize('pods'), readdirSync(states)], [0, 0, []]);
    assert.ok(mapSize('roles') <= 66, String(mapSize('roles')));
    assert.deepEqual([mapSize('role_rules') <= 66, mapSize('role_globs') <= 66], [true, true]);
  });
});
