// Ways to run containers: podman, which finds the hook in a directory of hooks, and the runtimes alone, which find it
// in the bundle.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

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
