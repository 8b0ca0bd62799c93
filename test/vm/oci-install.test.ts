// The hook where `oci install` puts it, under Debian's podman as it is configured; `oci verify` against the ways in
// which podman passes a hook by; and `oci wrap` in the place of crun and runc, with no hook configured anywhere.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { attach, leave, root } from './jail.js';

const area = '/mnt/ext4/oci-install';
const rootfs = `${area}/root`;
/** The checkout may be another user's, and what is executed as root for every container may not. */
const installed = '/usr/local/lib/jailrun';
const jailrun = `${installed}/jailrun`;
const hooks = '/usr/share/containers/oci/hooks.d';
const configuration = '/etc/containers/containers.conf';
const policy = '/etc/jailrun/policy.yaml';

interface Said {
  status: number | null;
  stdout: string;
  stderr: string;
}
const say = (program: string, ...words: string[]): Said =>
  spawnSync(program, words, { encoding: 'utf8', timeout: 180_000, killSignal: 'SIGKILL' });

const usePolicy = (containers: string, mode = 'enforce') =>
  writeFileSync(
    policy,
    `version: 1
roles:
  held:
    id: 840
    mode: ${mode}
    files: {read: [/usr, /lib, /lib64, /bin, /etc/passwd, /dev], write: [/tmp, /dev/null]}
    exec: [/usr/bin, /bin]
containers: ${containers}
`,
  );
/** There is no systemd to ask for cgroups. */
const configure = (more = '') =>
  writeFileSync(configuration, `[engine]\ncgroup_manager = "cgroupfs"\n${more}\n`);

const verify = (...words: string[]) => {
  const { status, stdout, stderr } = say(jailrun, 'oci', 'verify', '--engine', 'podman', '--json', ...words);
  assert.equal(stderr, '');
  const checks = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; ok: boolean; found?: string; message?: string });
  return { status, said: checks.map(({ name, ok, found, message }) => `${name} ${ok}: ${found ?? message}`) };
};

let earlier: string | undefined;
before(() => {
  for (const directory of [rootfs, `${area}/upper`, `${area}/work`, '/etc/jailrun', '/etc/containers'])
    mkdirSync(directory, { recursive: true });
  mkdirSync('/var/lib/containers', { recursive: true });
  for (const words of [
    ['-t', 'tmpfs', 'containers', '/var/lib/containers'],
    ['-t', 'overlay', 'root', '-o', `lowerdir=/,upperdir=${area}/upper,workdir=${area}/work`, rootfs],
  ])
    assert.equal(say('mount', ...words).status, 0);
  earlier = existsSync(configuration) ? readFileSync(configuration, 'utf8') : undefined;
  cpSync(join(root, 'dist'), installed, { recursive: true });
  configure();
  usePolicy('{default: held, roles: [held]}');
  attach();
});
after(() => {
  if (earlier === undefined) rmSync(configuration);
  else writeFileSync(configuration, earlier);
  for (const path of [policy, `${hooks}/jailrun.json`]) rmSync(path, { force: true });
  rmSync(installed, { recursive: true });
  for (const path of [rootfs, '/var/lib/containers']) say('umount', path);
  leave();
});

describe('oci verify', () => {
  const none =
    'No file in /usr/share/containers/oci/hooks.d registers jailrun, so containers of podman run unjailed. Say: jailrun oci install';
  const started =
    'podman: refusal false: A container with io.jailrun.role=no/such/role, which does not exist, started all the same. Say: jailrun oci install';
  const unjailed = (which = 'a container without an annotation') =>
    `podman: jail false: ${which} runs in no jail.`;

  test('finds that containers run unjailed before oci install', () => {
    const { status, said } = verify();
    assert.equal(status, 1);
    assert.equal(said[0], `podman: hook false: ${none}`);
    assert.ok(said[1]?.startsWith(unjailed()), said[1]);
    assert.equal(said[2], started);
  });
  test('finds nothing after it: a container is jailed, denied what every role denies, and refused an unknown role', () => {
    assert.equal(say(jailrun, 'oci', 'install').stdout, `Installed: ${hooks}/jailrun.json\n`);
    assert.deepEqual(verify(), {
      status: 0,
      said: [
        `podman: hook true: ${hooks}/jailrun.json`,
        'podman: jail true: a container without an annotation is jailed, and was denied what every role denies',
        'podman: refusal true: a container whose role does not exist does not start',
      ],
    });
  });
  test('finds a role that audits', () => {
    usePolicy('{default: held, roles: [held]}', 'audit');
    const { status, said } = verify();
    assert.equal(status, 1);
    assert.equal(
      said[1],
      'podman: jail false: a container without an annotation is jailed in audit mode, which denies nothing. Give its role mode: enforce.',
    );
    usePolicy('{default: held, roles: [held]}');
  });
  test('takes a role that kills for one that holds', () => {
    usePolicy('{default: held, roles: [held]}', 'enforce\n    on-denial: kill');
    const { status, said } = verify();
    assert.equal(
      said[1],
      'podman: jail true: a container without an annotation is jailed, and was killed for what every role denies',
    );
    assert.equal(status, 0);
    usePolicy('{default: held, roles: [held]}');
  });
  test('finds a hook that podman passes by in silence since its program is gone, as files and as a container tell', () => {
    const file = `${hooks}/jailrun.json`;
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, whole.replace(jailrun, '/usr/local/lib/gone'));
    const { status, said } = verify();
    assert.equal(status, 1);
    assert.match(
      said[0] ?? '',
      /^podman: hook false: .*\/usr\/local\/lib\/gone cannot be executed \(ENOENT\)/,
    );
    assert.ok(said[1]?.startsWith(unjailed()), said[1]);
    assert.equal(said[2], started);
    writeFileSync(file, whole);
  });
  test('looks where containers.conf sends podman, and oci install goes there', () => {
    configure('hooks_dir = ["/usr/share/containers/oci/hooks.d", "/etc/containers/elsewhere"]');
    assert.equal(say(jailrun, 'oci', 'uninstall').stdout, `Removed: ${hooks}/jailrun.json\n`);
    usePolicy('{default: none, roles: [held]}');
    const files = say(jailrun, 'oci', 'install', '--annotated').stdout;
    assert.equal(files, 'Installed: /etc/containers/elsewhere/jailrun.json\n');
    assert.deepEqual(verify('--role', 'held'), {
      status: 0,
      said: [
        'podman: hook true: /etc/containers/elsewhere/jailrun.json',
        'podman: jail true: a container with io.jailrun.role=held is jailed, and was denied what every role denies',
        'podman: refusal true: a container whose role does not exist does not start',
      ],
    });
    assert.equal(
      say(jailrun, 'oci', 'uninstall').stdout,
      'Removed: /etc/containers/elsewhere/jailrun.json\n',
    );
    configure();
    usePolicy('{default: held, roles: [held]}');
  });
});

describe('oci wrap, with no hook configured', () => {
  const script =
    'id -u; cat /etc/passwd | head -1; cat /etc/hostname /etc/shadow; mkdir /tmp/x && echo made; mkdir /srv/x';
  const held = (said: Said) => {
    const { stdout, stderr } = said;
    assert.match(stdout, /^0\nroot:x:0:0:.*\nmade\n$/, stdout + stderr);
    for (const path of ['cat: /etc/hostname', 'cat: /etc/shadow', 'mkdir: cannot create directory .*/srv/x'])
      assert.match(stderr, new RegExp(`${path}.*: Permission denied`));
  };
  const free = (said: Said) => {
    assert.match(said.stdout, /^0\nroot:x:0:0:.*\n.*\nroot:.*made\n$/s, said.stdout + said.stderr);
    assert.doesNotMatch(said.stderr, /Permission denied/);
  };
  const clear = () => {
    for (const place of ['tmp', 'srv']) rmSync(`${rootfs}/${place}/x`, { recursive: true, force: true });
  };
  /** A bundle of its own for each container, as runtimes alone get it. */
  const bundle = (id: string, runtime: string): string => {
    const path = `${area}/${id}`;
    mkdirSync(path);
    say('sh', '-c', `cd ${path} && ${runtime} spec`);
    const config = JSON.parse(readFileSync(`${path}/config.json`, 'utf8'));
    Object.assign(config.process, {
      args: ['/bin/sh', '-c', script],
      terminal: false,
      capabilities: undefined,
    });
    config.root = { path: rootfs, readonly: false };
    config.linux.cgroupsPath = `/wrapped/${id}`;
    config.linux.namespaces = config.linux.namespaces.filter(
      ({ type }: { type: string }) => type !== 'network',
    );
    writeFileSync(`${path}/config.json`, JSON.stringify(config));
    return path;
  };
  before(() => symlinkSync(jailrun, `${area}/jailrun-crun`));

  for (const runtime of ['runc', 'crun'])
    test(`jails a container of ${runtime}, which the runtime alone does not`, () => {
      clear();
      free(say(runtime, 'run', '--bundle', bundle(`${runtime}-free`, runtime), `${runtime}-free`));
      clear();
      const words = ['run', '--bundle', bundle(`${runtime}-held`, runtime), `${runtime}-held`];
      held(say(jailrun, 'oci', 'wrap', '--runtime', runtime, '--', ...words));
      assert.equal(say(jailrun, 'ps', '--json').stdout, '');
    });
  test('jails podman’s containers as its runtime, and what podman exec brings in', () => {
    clear();
    const podman = (...words: string[]) => say('podman', '--runtime', `${area}/jailrun-crun`, ...words);
    const { status, stderr } = podman(
      ...[
        'run',
        '-d',
        '--name',
        'wrapped',
        '--network',
        'none',
        '--rootfs',
        rootfs,
        '/bin/sh',
        '-c',
        'while :; do :; sleep 1; done',
      ],
    );
    assert.equal(status, 0, stderr);
    held(podman('exec', 'wrapped', '/bin/sh', '-c', script));
    const { stdout } = say(jailrun, 'ps');
    assert.match(stdout, /held/);
    assert.equal(podman('rm', '-f', '-t', '0', 'wrapped').status, 0);
    assert.equal(say(jailrun, 'ps', '--json').stdout, '');
  });
  test('starts nothing where the hook refuses the container', () => {
    usePolicy('{default: missing}');
    const words = ['run', '--bundle', bundle('refused', 'runc'), 'refused'];
    const { status, stdout } = say(jailrun, 'oci', 'wrap', '--runtime', 'runc', '--', ...words);
    assert.notEqual(status, 0);
    assert.equal(stdout, '');
    usePolicy('{default: held, roles: [held]}');
  });
});
