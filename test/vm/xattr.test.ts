// A file claims a role by an extended attribute, where the policy says whose files may claim which.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { Denial, Hook, Operation, Reason } from '../../src/abi.js';
import { addon } from '../../src/launcher/addon.js';
import type { PodReport } from '../../src/launcher/ps.js';
import { attach, jailrun, leave, mapSize, pods, type Said, sayBy, until, writePolicy } from './jail.js';

const area = '/run/jailrun-test/xattr';
const program = `${area}/reader`;
const [one, two] = [`${area}/one`, `${area}/two`];

const roles = (id = 830): string => `version: 1
roles:
  held:
    id: ${id}
    files: {read: [/], write: [/], deny: ["${one}"]}
    exec: any
    network: any
    allow: any
  other:
    id: 831
    files: {read: [/], write: [/], deny: ["${two}"]}
    exec: any
    network: any
    allow: any
  free:
    id: 832
    files: any
    exec: any
    network: any
    allow: any
`;
const claims = 'xattrs: {owners: [root, "1001"], roles: [held, other]}\n';

/** Runs a command with a policy of the host's. */
const runBy = (policy: string, ...words: string[]) =>
  spawnSync(jailrun, words, {
    encoding: 'utf8',
    env: { ...process.env, JAILRUN_POLICY: writePolicy('xattr', policy) },
  });
/** Has the command line do something with such a policy. */
const doBy = (policy: string, ...words: string[]): Promise<Said> =>
  sayBy(writePolicy('xattr', policy), ...words);
async function settle(policy: string): Promise<void> {
  const { status, stderr } = await doBy(policy, 'reload');
  assert.equal(status, 0, stderr);
}
const refused = async (): Promise<number> =>
  JSON.parse((await doBy(roles(), 'status', '--json')).stdout).refused;

const number = (id: number, bytes = 4): Uint8Array =>
  new Uint8Array(new BigUint64Array([BigInt(id)]).buffer, 0, bytes);
const [role, jailersRole, jailersPod] = [
  'user.jailrun.role',
  'user.bpfjailer.role_id',
  'user.bpfjailer.pod_id',
];
/** Gives a file these attributes and no others of the kind. */
function claim(path: string, attributes: Record<string, string | Uint8Array>): void {
  const fd = openSync(path, 'r');
  for (const name of [role, jailersRole, jailersPod]) addon.removeXattr(fd, name);
  for (const [name, value] of Object.entries(attributes)) addon.setXattr(fd, name, Buffer.from(value));
  closeSync(fd);
}
function makeProgram(path: string, { user = 0, mode = 0o755 } = {}): void {
  copyFileSync('/bin/cat', path);
  chownSync(path, user, user);
  chmodSync(path, mode);
}

/** What jails a program: free for nothing, a role, or the error with which it is not started. */
function jailOf(path: string, { user = 0, words = [] as string[] } = {}): string {
  const { error, stdout } = spawnSync(path, [...words, one, two], {
    encoding: 'utf8',
    ...(user > 0 && { uid: user, gid: user }),
  });
  if (error) return (error as NodeJS.ErrnoException).code ?? '';
  return { 'one,two,': 'free', 'two,': 'held', 'one,': 'other' }[stdout] ?? stdout;
}

/** What the programs told of programs that did not start. */
function refusals(): Denial[] {
  const fd = addon.objGet('/sys/fs/bpf/jailrun/maps/denials');
  const ring = new addon.Ring(fd);
  const records = ring.consume().map((record) => Denial.decode(record));
  ring.close();
  closeSync(fd);
  return records.filter(({ pod }) => pod === 0n);
}
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1').replace(/\0.*$/s, '');

/** Attributes can be read from Linux 6.8 on, and by programs of the BPF LSM alone. */
const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'latin1').split('.').map(Number);
const isReadable =
  (major > 6 || minor >= 8) && addon.readUnmounted('securityfs', 'lsm').split(',').includes('bpf');

before(() => {
  mkdirSync(area, { recursive: true });
  writeFileSync(one, 'one,', { mode: 0o644 });
  writeFileSync(two, 'two,', { mode: 0o644 });
  makeProgram(program);
  attach();
});
after(() => {
  rmSync(area, { recursive: true });
  leave();
});

if (isReadable) {
  describe('a file that claims a role', testClaims);
  describe('what files may claim', testPolicy);
  describe('the enrollment socket', testSocket);
} else {
  describe('a policy that lets files claim roles', testUnreadable);
}

function testClaims(): void {
  before(() => settle(`${roles()}${claims}`));
  afterEach(() => {
    claim(program, {});
    assert.equal(mapSize('readings'), 0);
  });

  test('runs in it, whether or not a NUL ends the name, and one that claims none is free', async () => {
    assert.equal(jailOf(program), 'free');
    for (const name of ['held', 'held\0', 'other']) {
      claim(program, { [role]: name });
      assert.equal(jailOf(program), name.replace('\0', ''));
    }
  });
  test('runs in it by its number, whatever pod Jailer meant', async () => {
    claim(program, { [jailersRole]: number(830), [jailersPod]: number(7, 8) });
    assert.equal(jailOf(program), 'held');
    claim(program, { [jailersPod]: number(7, 8) });
    assert.equal(jailOf(program), 'free');
  });
  test('runs in it by any name and by a descriptor, for every user and every thread', async () => {
    claim(program, { [role]: 'held' });
    linkSync(program, `${area}/link`);
    symlinkSync(program, `${area}/symlink`);
    for (const name of ['link', 'symlink']) assert.equal(jailOf(`${area}/${name}`), 'held');
    assert.equal(jailOf(program, { user: 1002 }), 'held');
    const words = JSON.stringify(['cat', one, two]);
    const byDescriptor = `import os\nos.execve(os.open('${program}', os.O_RDONLY), ${words}, {})`;
    const byThread = `import os, threading\nthreading.Thread(target=lambda: os.execv('${program}', ${words})).start()\nimport time; time.sleep(60)`;
    for (const script of [byDescriptor, byThread])
      assert.equal(spawnSync('python3', ['-c', script], { encoding: 'utf8' }).stdout, 'two,');
    for (const name of ['link', 'symlink']) rmSync(`${area}/${name}`);
  });
  test('runs in it as a script, before what its interpreter claims, and as an interpreter', async () => {
    const script = `${area}/script`;
    writeFileSync(script, `#!${program}\n`, { mode: 0o755 });
    const jailed = (): string | undefined =>
      /^#!.*\n(.*)$/.exec(spawnSync(script, [one, two], { encoding: 'utf8' }).stdout)?.[1];
    assert.equal(jailed(), 'one,two,');
    claim(script, { [role]: 'held' });
    assert.equal(jailed(), 'two,');
    claim(program, { [role]: 'other' });
    assert.equal(jailed(), 'two,');
    claim(script, {});
    assert.equal(jailed(), 'one,');
    rmSync(script);
  });
  test('is not started where it claims what files may not, and the report says so', async () => {
    const before = await refused();
    const bad: Record<string, string | Uint8Array>[] = [
      { [role]: 'free' },
      { [role]: 'nobody' },
      { [role]: '' },
      { [role]: 'held ' },
      { [role]: 'hel' },
      { [role]: 'held\0x' },
      { [role]: 'h'.repeat(59) },
      { [role]: 'h'.repeat(60) },
      { [role]: 'held\0'.padEnd(61, '\0') },
      { [role]: 'h'.repeat(2000) },
      { [jailersRole]: number(832) },
      { [jailersRole]: number(830, 3) },
      { [jailersRole]: number(830, 8) },
      { [jailersRole]: '' },
      { [jailersRole]: '830' },
      { [role]: 'held', [jailersRole]: number(831) },
      { [role]: 'held', [jailersRole]: number(832) },
      { [role]: 'free', [jailersRole]: number(830) },
    ];
    for (const attributes of bad) {
      claim(program, attributes);
      refusals();
      assert.equal(jailOf(program, { user: 1002 }), 'EACCES', JSON.stringify(attributes));
      const [told, ...more] = refusals();
      assert.ok(told);
      assert.deepEqual(
        [told.hook, told.operation, told.error, told.reason, told.uid, text(told.path), more.length],
        [Hook.BPRM_CHECK_SECURITY, Operation.EXEC, 13, Reason.CLAIM, 1002, program, 0],
      );
    }
    assert.equal((await refused()) - before, bad.length);
    claim(program, { [role]: 'held', [jailersRole]: number(830) });
    assert.equal(jailOf(program), 'held');
  });
  test('counts as its owner does', async () => {
    const others = `${area}/others`;
    for (const value of ['held', 'nobody']) {
      makeProgram(others, { user: 1002 });
      claim(others, { [role]: value });
      assert.equal(jailOf(others), 'free');
      chownSync(others, 1001, 1001);
      assert.equal(jailOf(others), value === 'held' ? 'held' : 'EACCES');
      rmSync(others);
    }
  });
  test('is not started by who may not read it, since nobody can tell what it claims', async () => {
    const hidden = `${area}/hidden`;
    makeProgram(hidden, { mode: 0o711 });
    refusals();
    assert.equal(jailOf(hidden, { user: 1002 }), 'EACCES');
    assert.deepEqual(
      refusals().map(({ reason, path }) => [reason, text(path)]),
      [[Reason.UNREADABLE, hidden]],
    );
    assert.equal(jailOf(hidden), 'free');
    claim(hidden, { [role]: 'held' });
    assert.equal(jailOf(hidden), 'held');
    chmodSync(hidden, 0o755);
    assert.equal(jailOf(hidden, { user: 1002 }), 'held');
    claim(hidden, {});
    chownSync(hidden, 1003, 1003);
    chmodSync(hidden, 0o711);
    assert.equal(jailOf(hidden, { user: 1002 }), 'free');
    rmSync(hidden);
  });
  test('starts in the jail of who is jailed already, whatever it claims', async () => {
    for (const value of ['held', 'nobody']) {
      claim(program, { [role]: value });
      const { stdout } = runBy(roles(), '--role', 'other', '--', program, one, two);
      assert.equal(stdout, 'one,');
      const shell = runBy(
        roles(),
        '--role',
        'other',
        '--',
        '/bin/sh',
        '-c',
        `${program} ${one} ${two}; true`,
      );
      assert.equal(shell.stdout, 'one,');
    }
  });
  test('starts in the jail of the cgroup that it is executed in, whatever it claims', async () => {
    const pod = spawn(jailrun, ['--role', 'other', '--', 'cat'], {
      stdio: ['pipe', 'ignore', 'inherit'],
      env: { ...process.env, JAILRUN_POLICY: writePolicy('xattr', roles()) },
    });
    const found = (): PodReport | undefined =>
      pods().find(({ command, processes }) => command === 'cat' && processes.length > 0);
    await until(() => found() !== undefined);
    for (const value of ['held', 'nobody']) {
      claim(program, { [role]: value });
      const script = `echo 0 > ${found()?.cgroup}/cgroup.procs; exec ${program} ${one} ${two}`;
      assert.equal(spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8' }).stdout, 'one,');
    }
    pod.stdin.end();
    await once(pod, 'close');
  });
  test('jails nobody whose execution of it fails', async () => {
    const script = `${area}/broken`;
    writeFileSync(script, '#!/nowhere\n', { mode: 0o755 });
    claim(script, { [role]: 'held' });
    const failing = `import os
try:
    os.execv('${script}', ['x'])
except FileNotFoundError:
    print(open('${one}').read(), flush=True)
os.execv('/bin/cat', ['cat', '${one}'])`;
    assert.equal(spawnSync('python3', ['-c', failing], { encoding: 'utf8' }).stdout, 'one,\none,');
    rmSync(script);
  });
  test('holds on every kind of file system that has such attributes', async () => {
    const mounts = '/mnt/ext4/xattr';
    for (const name of ['lower', 'upper', 'work', 'merged'])
      mkdirSync(`${mounts}/${name}`, { recursive: true });
    makeProgram(`${mounts}/lower/reader`);
    claim(`${mounts}/lower/reader`, { [role]: 'held' });
    const layers = ['lower', 'upper', 'work'].map((name) => `${name}dir=${mounts}/${name}`).join();
    execFileSync('mount', ['-t', 'overlay', '-o', layers, 'test', `${mounts}/merged`]);
    try {
      assert.equal(jailOf(`${mounts}/merged/reader`), 'held');
      for (const directory of [mounts, `${mounts}/merged`, '/var/lib', '/run']) {
        const path = `${directory}/xattr-reader`;
        makeProgram(path);
        assert.equal(jailOf(path), 'free', path);
        claim(path, { [role]: 'held' });
        assert.equal(jailOf(path), 'held', path);
        claim(path, { [role]: 'nobody' });
        assert.equal(jailOf(path), 'EACCES', path);
        rmSync(path);
      }
    } finally {
      execFileSync('umount', [`${mounts}/merged`]);
      rmSync(mounts, { recursive: true });
    }
  });
  test('claims nothing on FUSE, where its server says whose it is', async () => {
    const fuse = '/mnt/ext4/xattr-fuse';
    for (const name of ['lower', 'upper', 'work', 'merged'])
      mkdirSync(`${fuse}/${name}`, { recursive: true });
    makeProgram(`${fuse}/lower/reader`);
    claim(`${fuse}/lower/reader`, { [role]: 'nobody' });
    const layers = ['lower', 'upper', 'work'].map((name) => `${name}dir=${fuse}/${name}`).join();
    execFileSync('fuse-overlayfs', ['-o', layers, `${fuse}/merged`]);
    try {
      const fd = openSync(`${fuse}/merged/reader`, 'r');
      assert.equal(Buffer.from(addon.getXattr(fd, role) ?? []).toString(), 'nobody');
      closeSync(fd);
      assert.equal(jailOf(`${fuse}/lower/reader`), 'EACCES');
      assert.equal(jailOf(`${fuse}/merged/reader`), 'free');
    } finally {
      execFileSync('umount', [`${fuse}/merged`]);
      rmSync(fuse, { recursive: true });
    }
  });
  test('holds where many execute it at once', async () => {
    claim(program, { [role]: 'held' });
    const many = `for i in $(seq 8); do (for j in $(seq 10); do ${program} ${one} ${two}; done) & done; wait`;
    assert.equal(spawnSync('/bin/sh', ['-c', many], { encoding: 'utf8' }).stdout, 'two,'.repeat(80));
  });
}

function testPolicy(): void {
  afterEach(() => claim(program, {}));
  const begun = (): string[] =>
    pods()
      .map(({ role }) => role)
      .sort();

  test('begins and ends with the policy that says it, and what runs stays in its jail', async () => {
    claim(program, { [role]: 'held' });
    await settle(roles());
    assert.equal(jailOf(program), 'free');
    await settle(`${roles()}${claims}`);
    assert.deepEqual(begun(), ['held', 'other']);
    const running = spawn(program, ['-', one], { stdio: ['pipe', 'pipe', 'ignore'] });
    running.stdin.write('started');
    await once(running.stdout, 'data');
    const { stdout } = await doBy(roles(), 'reload', '--dry-run');
    assert.match(stdout, /^- enrolls files that claim it in role held$/m);
    assert.match(stdout, /^- files of user 0 may claim roles$/m);
    assert.equal(jailOf(program), 'held');
    await settle(roles());
    assert.equal(jailOf(program), 'free');
    let said = '';
    running.stdout.on('data', (part) => {
      said += part;
    });
    running.stdin.end();
    await once(running, 'close');
    assert.equal(said, '');
    assert.deepEqual(begun(), []);
  });
  test('changes with it: roles, their numbers and the owners', async () => {
    await settle(`${roles()}xattrs: {owners: [root], roles: [other]}\n`);
    claim(program, { [role]: 'held' });
    assert.equal(jailOf(program), 'EACCES');
    await settle(`${roles(840)}xattrs: {owners: [root], roles: [held]}\n`);
    assert.equal(jailOf(program), 'held');
    claim(program, { [jailersRole]: number(830) });
    assert.equal(jailOf(program), 'EACCES');
    claim(program, { [jailersRole]: number(840) });
    assert.equal(jailOf(program), 'held');
    await settle(`${roles(840)}xattrs: {owners: ["1001"], roles: [held]}\n`);
    assert.equal(jailOf(program), 'free');
  });
  test('is never nothing while it changes', async () => {
    claim(program, { [role]: 'held' });
    await settle(`${roles()}${claims}`);
    const [stop, escaped] = [`${area}/stop`, `${area}/escaped`];
    const loop = spawn('/bin/sh', [
      '-c',
      `while [ ! -e ${stop} ]; do ${program} ${one} && echo >> ${escaped}; done; true`,
    ]);
    for (const id of [840, 830, 840])
      await settle(
        `${roles(id)}xattrs: {owners: [root, "${id}"], roles: [${id === 840 ? 'held' : 'other, held'}]}\n`,
      );
    writeFileSync(stop, '');
    await once(loop, 'close');
    assert.ok(!existsSync(escaped));
    rmSync(stop);
  });
  test('gives way to what the policy says of a file itself', async () => {
    claim(program, { [role]: 'held' });
    await settle(`${roles()}${claims}executables: {${program}: other}\n`);
    assert.equal(jailOf(program), 'other');
    const script = `${area}/script`;
    writeFileSync(script, `#!${program}\n`, { mode: 0o755 });
    claim(script, { [role]: 'held' });
    assert.match(spawnSync(script, [one, two], { encoding: 'utf8' }).stdout, /\ntwo,$/);
    rmSync(script);
  });
  test('is refused to a role whose pod is unenrolled', async () => {
    await settle(`${roles()}${claims}`);
    claim(program, { [role]: 'held' });
    const pod = pods().find((one) => one.role === 'held');
    assert.equal((await doBy(roles(), 'unenroll', pod?.name ?? '')).status, 0);
    assert.equal(jailOf(program), 'EACCES');
    claim(program, { [role]: 'other' });
    assert.equal(jailOf(program), 'other');
  });
  test('is refused where it names a user that is not there', async () => {
    const { status, stderr } = await doBy(
      `${roles()}xattrs: {owners: [root, nobdy], roles: [held]}\n`,
      'reload',
    );
    assert.equal(status, 125);
    assert.match(stderr, /xattr\.yaml:21:25: xattrs\.owners: this host has no user nobdy/);
  });
}

function testSocket(): void {
  const socket = `${area}/socket`;
  let server: ChildProcess;

  before(async () => {
    await settle(`${roles()}${claims}`);
    server = spawn(jailrun, ['serve', '--socket', socket], {
      stdio: 'ignore',
      env: { ...process.env, JAILRUN_POLICY: writePolicy('xattr', roles()) },
    });
    await until(() => existsSync(socket));
  });
  after(async () => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  });
  async function ask(message: string, fields: object): Promise<string> {
    const client = connect(socket);
    client.write(`${JSON.stringify({ [message]: fields })}\n`);
    const [answer] = await once(client, 'data');
    return String(answer).trimEnd();
  }
  const file = { executable_path: program };

  test('sets, tells and removes what a file claims, as Jailer does', async () => {
    claim(program, {});
    assert.equal(await ask('SetXattr', { ...file, pod_id: 7, role_id: 830 }), '"Success"');
    assert.equal(jailOf(program), 'held');
    assert.equal(await ask('CheckXattr', file), '{"XattrInfo":{"pod_id":7,"role_id":830}}');
    assert.equal(await ask('RemoveXattr', file), '"Success"');
    assert.equal(jailOf(program), 'free');
    assert.equal(await ask('CheckXattr', file), `{"Error":"${program} claims no role."}`);
  });
  test('tells of a claim by a name, which it removes as well', async () => {
    claim(program, { [role]: 'other' });
    const pod = pods().find((one) => one.role === 'other')?.id;
    assert.equal(await ask('CheckXattr', file), `{"XattrInfo":{"pod_id":${pod},"role_id":831}}`);
    assert.match(await ask('SetXattr', { ...file, pod_id: 7, role_id: 830 }), /^\{"Error":".*another role/);
    assert.equal(jailOf(program), 'other');
    assert.equal(await ask('SetXattr', { ...file, pod_id: 7, role_id: 831 }), '"Success"');
    assert.equal(jailOf(program), 'other');
    assert.equal(await ask('RemoveXattr', file), '"Success"');
    assert.equal(jailOf(program), 'free');
  });
  test('sets nothing that would keep the file from its role', async () => {
    const others = `${area}/others`;
    makeProgram(others, { user: 1002 });
    for (const [path, id] of [
      [program, 832],
      [program, 0],
      [others, 830],
      [`${area}/none`, 830],
    ] as const) {
      const fields = { executable_path: path, pod_id: 7, role_id: id };
      assert.match(await ask('SetXattr', fields), /^\{"Error":"/);
      assert.match(await ask('CheckXattr', { executable_path: path }), /claims no role|out of reach/);
    }
    rmSync(others);
  });
}

function testUnreadable(): void {
  test('is refused by attach and reload, with its place, and enrolls nobody', async () => {
    claim(program, {});
    for (const words of [['attach'], ['reload'], ['reload', '--dry-run']]) {
      const { status, stderr } = await doBy(`${roles()}${claims}`, ...words);
      assert.equal(status, 125);
      assert.match(stderr, /xattr\.yaml:\d+:1: xattrs: on this host no program may read extended attributes/);
    }
    assert.deepEqual(pods(), []);
    assert.equal(jailOf(program), 'free');
    assert.equal((await doBy(roles(), 'reload')).status, 0);
  });
  test('hinders no run', async () => {
    const { stdout } = runBy(`${roles()}${claims}`, '--role', 'held', '--', program, one, two);
    assert.equal(stdout, 'two,');
  });
}
