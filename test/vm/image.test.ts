// The image on a host: what Containerfile builds, which scripts/testimage.mjs has laid out, under podman with the flags
// that the README names. The guest is the host.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { detach, root, until } from './jail.js';

const image = join(root, '.cache/image');
const area = '/mnt/ext4/image';
const rootfs = `${area}/root`;
const policies = `${area}/policies`;
const installed = '/usr/local/lib/jailrun';
const systemPolicies = '/etc/jailrun/policy.d';
const socket = '/run/jailrun/enroll.sock';
const configuration = '/etc/containers/containers.conf';
const { entrypoint, command } = JSON.parse(readFileSync(join(image, 'config.json'), 'utf8'));

const say = (program: string, ...words: string[]) =>
  spawnSync(program, words, { encoding: 'utf8', timeout: 120_000, killSignal: 'SIGKILL' });

/**
 * Runs the image as `podman run` would; the words are its command. The policies' default role is for all containers that
 * have the hook, and would hold this one, too.
 */
const podmanRun = (options: string[], words: string[] = command) =>
  say(
    'podman',
    '--hooks-dir',
    '/none',
    'run',
    '--network',
    'none',
    ...options,
    '--rootfs',
    rootfs,
    ...entrypoint,
    ...words,
  );
const onHost = ['--privileged', '--pid', 'host'];
const withPolicies = ['-e', 'JAILRUN_POLICIES=/policies', '-v', `${policies}:/policies:ro`];
const log = () => say('podman', 'logs', 'jailrun').stderr;
const health = () => say('podman', 'exec', 'jailrun', ...entrypoint, 'health');
const start = async () => {
  rmSync(socket, { force: true });
  const { status, stderr } = podmanRun([
    '-d',
    '--name',
    'jailrun',
    ...onHost,
    '-e',
    'JAILRUN_HOOKS=yes',
    ...withPolicies,
  ]);
  assert.equal(status, 0, stderr);
  await until(() => existsSync(socket), 120).catch((cause) => assert.fail(`${log()} ${cause}`));
};

/** A process of the host's that asks to be jailed, and then says for each path that it reads whether it may. */
const asking = `import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("${socket}")
s.send(b'{"enroll":{"role":"site"}}\\n')
print(s.recv(4096).decode().strip(), flush=True)
for line in sys.stdin:
    try:
        open(line.strip()).close()
        print("read", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
`;
let client: ChildProcess;
let said = '';
/** What the client says next. */
const next = async (path?: string): Promise<string> => {
  said = '';
  if (path !== undefined) client.stdin?.write(`${path}\n`);
  await until(() => said.endsWith('\n'));
  return said.trim();
};

let earlier: string | undefined;
before(() => {
  detach();
  for (const directory of [
    rootfs,
    policies,
    `${area}/upper`,
    `${area}/work`,
    '/etc/containers',
    '/var/lib/containers',
  ])
    mkdirSync(directory, { recursive: true });
  const layers = `lowerdir=${image}/root,upperdir=${area}/upper,workdir=${area}/work`;
  for (const words of [
    ['-t', 'tmpfs', 'containers', '/var/lib/containers'],
    ['-t', 'overlay', 'image', '-o', layers, rootfs],
  ])
    assert.equal(say('mount', ...words).status, 0);
  earlier = existsSync(configuration) ? readFileSync(configuration, 'utf8') : undefined;
  writeFileSync(configuration, '[engine]\ncgroup_manager = "cgroupfs"\n');
  writeFileSync(
    `${policies}/site.yaml`,
    `version: 1
roles: {site: {id: 850, files: {read: [/usr, /etc/hosts]}}}
containers: {default: site}
`,
  );
});
after(() => {
  client?.kill('SIGKILL');
  say('podman', 'rm', '-f', '-t', '0', 'jailrun');
  if (earlier === undefined) rmSync(configuration);
  else writeFileSync(configuration, earlier);
  for (const path of [installed, '/usr/share/containers/oci/hooks.d/jailrun.json', systemPolicies])
    rmSync(path, { recursive: true, force: true });
  for (const name of ['jailrun', 'jailrun-runc', 'jailrun-crun'])
    rmSync(`/usr/local/bin/${name}`, { force: true });
  for (const path of [rootfs, '/var/lib/containers']) say('umount', path);
  detach();
});

test('without the host’s processes in sight the image installs nothing and says what it needs', () => {
  const { status, stderr } = podmanRun(['--rm', '--privileged']);
  assert.equal(status, 1);
  assert.match(stderr, /^jailrun-host: the host's process 1 is not in sight.* --pid host --privileged$/m);
  assert.ok(!existsSync(installed));
});

describe('the image on a host', () => {
  before(start);

  test('attaches the programs, says so when asked for its health, and answers in the host’s namespaces', () => {
    const { status, stderr } = health();
    assert.deepEqual([status, stderr], [0, '']);
    const { attached } = JSON.parse(say(`${installed}/jailrun`, 'status', '--json').stdout);
    assert.ok(attached.current);
    const server = readdirSync('/proc').find(
      (pid) =>
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'latin1').endsWith('launcher.cjs\0serve\0'),
    );
    assert.equal(readlinkSync(`/proc/${server}/exe`), `${installed}/lib/ld-linux-x86-64.so.2`);
    assert.equal(readlinkSync(`/proc/${server}/ns/mnt`), readlinkSync('/proc/self/ns/mnt'));
  });
  test('brings its policies and jails by the host’s paths who asks', async () => {
    assert.deepEqual(readdirSync(systemPolicies), ['image-site.yaml']);
    client = spawn('python3', ['-c', asking], { stdio: ['pipe', 'pipe', 'inherit'] });
    client.stdout?.setEncoding('utf8').on('data', (text) => {
      said += text;
    });
    assert.match(await next(), /"type":"enrolled".*"role":"site"/);
    assert.deepEqual([await next('/etc/hosts'), await next('/etc/passwd')], ['read', '13']);
  });
  test('registers the hook that it installed, and podman’s containers are held', () => {
    const { status, stdout } = say('/usr/local/bin/jailrun', 'oci', 'verify', '--engine', 'podman');
    assert.deepEqual([status, stdout.match(/^ok/gm)?.length], [0, 3], stdout);
    const hook = readFileSync('/usr/share/containers/oci/hooks.d/jailrun.json', 'utf8');
    assert.equal(JSON.parse(hook).hook.path, `${installed}/jailrun`);
  });
  test('leaves everything in force when it ends, and finds it there when it starts again', async () => {
    assert.equal(say('podman', 'stop', '-t', '20', 'jailrun').status, 0);
    // Not 137: it was not killed.
    assert.equal(say('podman', 'inspect', '--format', '{{.State.ExitCode}}', 'jailrun').stdout, '143\n');
    assert.equal(say('podman', 'rm', 'jailrun').status, 0);
    assert.deepEqual([await next('/etc/hosts'), await next('/etc/passwd')], ['read', '13']);
    await start();
    assert.match(say('podman', 'logs', 'jailrun').stdout, /^Already attached: /m);
    assert.equal(health().status, 0);
    assert.deepEqual([await next('/etc/hosts'), await next('/etc/passwd')], ['read', '13']);
  });
  test('fails its health where somebody has detached the programs', () => {
    detach();
    const { status, stderr } = health();
    assert.equal(status, 1);
    assert.match(stderr, /has not the programs of the jailrun that is installed there/);
  });
  test('takes no policies that are wrong, and leaves those that are there', () => {
    say('podman', 'rm', '-f', '-t', '0', 'jailrun');
    writeFileSync(`${policies}/wrong.yaml`, 'version: 1\nroles: {x: {id: 851, fils: any}}\n');
    const { status, stderr } = podmanRun(['--rm', ...onHost, ...withPolicies]);
    assert.equal(status, 1);
    assert.match(stderr, /image-wrong\.yaml:2:.*fils/);
    assert.match(stderr, /the policies were left as they were/);
    assert.deepEqual(
      readdirSync(systemPolicies).filter((name) => !name.startsWith('.')),
      ['image-site.yaml'],
    );
  });
});
