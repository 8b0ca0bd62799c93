// Ways to run containers: podman, which finds the hook in a directory of hooks, and the runtimes alone, which find it
// in the bundle.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { attach, leave, mapSize, pods, until } from './jail.js';

export interface Said {
  status: number | null;
  stdout: string;
  stderr: string;
}
export const say = (program: string, ...words: string[]): Said =>
  spawnSync(program, words, { encoding: 'utf8', timeout: 120_000, killSignal: 'SIGKILL' });

export interface Engine {
  name: string;
  /** Runs a shell script in a new container, to its end. `id` is what the runtime or the engine is told. */
  run(id: string, script: string, annotations: Record<string, string>): Said;
  /** Starts one that goes on; exec() runs a script in it. */
  start(id: string, script: string, annotations: Record<string, string>): void;
  exec(id: string, script: string): Said;
  stop(id: string): void;
}

/** What a bundle has that others have not. */
export interface Special {
  hook?: object;
  mounts?: object[];
  root?: string;
  capabilities?: string[];
}

export const hostFile = '/run/jailrun-test/of-the-host';
/** Where the hook finds the host's policy. */
export const systemPolicy = '/etc/jailrun/policy.yaml';

/** Paths are the container's: the host has no /srv/secret. */
export const policyText = `version: 1
roles:
  held:
    id: 830
    files: {read: [/], write: [/tmp, /dev, /run, /var/log/nginx, /var/lib/nginx], deny: [/srv/secret, /etc/hostname]}
    exec: any
    network: {bind: [tcp:8080], connect: [tcp:8080]}
    allow: [setuid]
  site:
    id: 831
    vars: [data]
    files: {read: [/usr, /lib, /lib64, /bin, /etc, "\${data}"]}
    exec: any
  builder:
    id: 832
    extends: [held]
    files: {write: [/build]}
  turner:
    id: 833
    files: any
    exec: any
    network: none
    allow: any
containers: {roles: [held, site, builder, turner]}
`;

export const held = { 'io.jailrun.role': 'held' };

/** What the kernel's log has of a container. */
export const logged = (container: string): string[] =>
  say('dmesg')
    .stdout.split('\n')
    .filter((line) => line.includes('jailrun[') && line.includes(`container ${container}`));

/** Has a file of tests run containers on this ground, by the policy above; each test leaves nothing of them. */
export function runContainers(ground: Ground): void {
  before(() => {
    ground.prepare();
    mkdirSync('/run/jailrun-test', { recursive: true });
    mkdirSync(`${ground.root}/srv/secret`, { recursive: true });
    writeFileSync(`${ground.root}/srv/secret/file`, 'secret');
    writeFileSync(`${ground.root}/srv/public`, 'public');
    writeFileSync(hostFile, 'host');
    writeFileSync(systemPolicy, policyText);
    attach();
  });
  after(() => {
    rmSync(systemPolicy);
    ground.cleanUp();
    leave();
  });
  afterEach(async () => {
    await until(() => pods().length === 0);
    assert.deepEqual([mapSize('containers'), mapSize('pods')], [0, 0]);
  });
}

/** What every engine's containers are asked; what is refused several would refuse for the same hook, and it takes long. */
export function testEngine(engine: Engine, { refuses }: { refuses: boolean }): void {
  describe(`a container of ${engine.name}`, () => {
    const id = `of-${engine.name.replaceAll(' ', '-')}`;

    test('does what its role permits, is denied the rest, and the log names it', () => {
      const script = `cat /srv/public; cat /srv/secret/file; echo $?; touch /etc/new; touch /tmp/new && echo made; cat /etc/hostname`;
      const { status, stdout, stderr } = engine.run(id, script, held);
      assert.equal(stdout, 'public1\nmade\n', stderr);
      assert.equal(status, 1);
      for (const file of ['/srv/secret/file', '/etc/hostname'])
        assert.ok(stderr.includes(`cat: ${file}: Permission denied`), stderr);
      const lines = logged(engine.name.startsWith('podman') ? '' : id)
        .slice(-3)
        .join('\n');
      assert.match(
        lines,
        /container \S+: cat\[\d+\] was denied read \/srv\/secret\/file.*EACCES.*policy\.yaml:5/,
      );
      assert.match(lines, /touch\[\d+\] was denied create \/etc\/new \(EACCES\)/);
      assert.match(lines, /was denied read \/etc\/hostname/);
    });

    test('holds what is executed in it later, and what moves into cgroups below its own', async () => {
      engine.start(id, 'sleep 1000 & wait', held);
      try {
        await until(() => pods()[0]?.processes.some(({ command }) => command === 'sleep 1000') === true);
        const { stdout, stderr } = engine.exec(id, 'cat /srv/public; cat /srv/secret/file');
        assert.equal(stdout, 'public');
        assert.match(stderr, /Permission denied/);
        const [pod] = pods();
        assert.ok(pod);
        const [first] = pod.processes;
        assert.ok(first);
        const cgroup = join(
          '/sys/fs/cgroup',
          readFileSync(`/proc/${first.pid}/cgroup`, 'utf8').trim().slice(3),
        );
        mkdirSync(`${cgroup}/below`);
        for (const { pid } of pod.processes) writeFileSync(`${cgroup}/below/cgroup.procs`, String(pid));
        // As a runtime does: a process that is in none gets into the cgroup, and then into the container.
        const enter = `echo $$ > ${cgroup}/below/cgroup.procs; exec nsenter -t ${first.pid} -m -r cat /srv/public /srv/secret/file`;
        const entered = say('/bin/sh', '-c', enter);
        assert.deepEqual([entered.stdout, entered.status], ['public', 1], entered.stderr);
        assert.equal(pods()[0]?.processes.length, pod.processes.length);
      } finally {
        engine.stop(id);
      }
    });

    if (!refuses) return;

    test('is not started where its role cannot be had', () => {
      for (const [annotations, why] of [
        [{ 'io.jailrun.role': 'none-such' }, /lets containers ask for held, site, builder, turner only/],
        [{ 'io.jailrun.roel': 'held' }, /io\.jailrun\.roel is no annotation/],
        [{ 'io.jailrun.role': 'site' }, /data/],
      ] as const) {
        const { status, stdout } = engine.run(id, 'echo ran', annotations);
        assert.notEqual(status, 0);
        assert.equal(stdout, '');
        assert.match(logged('').at(-1) ?? '', why);
      }
    });

    test('runs free where no policy says otherwise and it asks for nothing', () => {
      const { status, stdout } = engine.run(id, 'cat /srv/secret/file', {});
      assert.deepEqual([status, stdout], [0, 'secret']);
    });
  });
}

const shell = (script: string): string[] => ['/bin/sh', '-c', script];

/** Where containers have their root directory, which lies over the host's, and podman its hooks. */
export class Ground {
  readonly root: string;
  readonly hooks: string;

  /** `program` is the hook. */
  constructor(
    readonly area: string,
    private readonly program: string,
  ) {
    this.root = `${area}/root`;
    this.hooks = `${area}/hooks.d`;
  }

  prepare(): void {
    const { area, root, hooks } = this;
    for (const directory of [root, `${area}/upper`, `${area}/work`, hooks, '/etc/jailrun'])
      mkdirSync(directory, { recursive: true });
    mkdirSync('/var/lib/containers', { recursive: true });
    for (const words of [
      ['-t', 'tmpfs', 'containers', '/var/lib/containers'],
      ['-t', 'overlay', 'root', '-o', `lowerdir=/,upperdir=${area}/upper,workdir=${area}/work`, root],
    ])
      assert.equal(say('mount', ...words).status, 0);
    writeFileSync(`${hooks}/jailrun.json`, JSON.stringify(this.hookFile()));
  }

  cleanUp(): void {
    say('umount', '-l', this.root);
    say('umount', '-l', '/var/lib/containers');
  }

  /** What podman reads of a hook. */
  hookFile(path = this.program, timeout = 60) {
    return {
      version: '1.0.0',
      hook: { path, args: ['jailrun', 'oci-hook'], timeout },
      when: { always: true },
      stages: ['createRuntime', 'poststop'],
    };
  }

  /** The options by which podman runs containers here. */
  podmanWords(runtime: string): string[] {
    return ['--runtime', runtime, '--cgroup-manager=cgroupfs', '--hooks-dir', this.hooks];
  }

  podman(runtime: string): Engine {
    const words = this.podmanWords(runtime);
    const options = (id: string, annotations: Record<string, string>) => [
      ...['--name', id, '--network', 'none', '--hostname', 'box'],
      ...Object.entries(annotations).flatMap(([key, value]) => ['--annotation', `${key}=${value}`]),
      ...['--rootfs', this.root],
    ];
    return {
      name: `podman over ${runtime}`,
      run: (id, script, annotations) =>
        say('podman', ...words, 'run', '--rm', ...options(id, annotations), ...shell(script)),
      start(id, script, annotations) {
        const command = [...options(id, annotations), ...shell(script)];
        const { status, stderr } = say('podman', ...words, 'run', '-d', ...command);
        assert.equal(status, 0, stderr);
      },
      exec: (id, script) => say('podman', 'exec', id, ...shell(script)),
      stop: (id) => void say('podman', ...words, 'rm', '-f', '-t', '0', id),
    };
  }

  /** The hook is in the bundle, as `oci wrap` puts it there. */
  alone(runtime: string, specialOf: (id: string) => Special = () => ({})): Engine {
    const bundle = (id: string, script: string, annotations: Record<string, string>): string =>
      this.bundle(runtime, id, script, annotations, specialOf(id));
    return {
      name: `${runtime} alone`,
      run: (id, script, annotations) => say(runtime, 'run', '--bundle', bundle(id, script, annotations), id),
      start(id, script, annotations) {
        const words = ['run', '--bundle', bundle(id, script, annotations), id];
        spawn(runtime, words, { stdio: 'ignore' }).unref();
      },
      exec: (id, script) => say(runtime, 'exec', id, ...shell(script)),
      stop: (id) => void say(runtime, 'delete', '--force', id),
    };
  }

  /** Makes a bundle for a shell script, and returns its path. */
  bundle(
    runtime: string,
    id: string,
    script: string,
    annotations: Record<string, string>,
    { hook = this.hookFile().hook, mounts = [], root = this.root, capabilities }: Special = {},
  ): string {
    const path = `${this.area}/bundle-${id}`;
    mkdirSync(path, { recursive: true });
    spawnSync(runtime, ['spec'], { cwd: path });
    const config = JSON.parse(readFileSync(`${path}/config.json`, 'utf8'));
    Object.assign(config.process, { args: shell(script), terminal: false });
    const sets = ['bounding', 'effective', 'permitted'];
    config.process.capabilities = capabilities && Object.fromEntries(sets.map((set) => [set, capabilities]));
    config.mounts.push(...mounts);
    config.root = { path: root, readonly: false };
    config.annotations = annotations;
    config.linux.cgroupsPath = `/alone/${id}`;
    config.linux.namespaces = config.linux.namespaces.filter(
      ({ type }: { type: string }) => type !== 'network',
    );
    config.hooks = { createRuntime: [hook], poststop: [hook] };
    writeFileSync(`${path}/config.json`, JSON.stringify(config));
    return path;
  }
}
