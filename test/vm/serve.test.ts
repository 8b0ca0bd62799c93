// The enrollment socket: who asks is jailed when the answer comes, and nobody gets what the policy does not grant.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { attach, jailrun, leave, pods, until, writePolicy } from './jail.js';

const area = '/run/jailrun-test/serve';
const socket = '/run/jailrun/enroll.sock';
const jailersSocket = '/run/bpfjailer/enrollment.sock';
const secret = '/run/jailrun-test/serve-secret';

const policy = writePolicy(
  'serve',
  `version: 1
roles:
  held:
    id: 820
    files: {read: [/], write: [/], deny: [${secret}]}
    exec: any
    network: any
    allow: any
  shared:
    id: 821
    extends: [held]
    enroll: {users: ["1001"], groups: [games]}
  open:
    id: 822
    files: any
    exec: any
    network: any
    allow: any
    enroll: {users: ["1001"]}
`,
);

/** Runs Python with a client's `ask(request)` at hand, and returns what it prints, a line each. */
function python(script: string, at = socket): string[] {
  const prelude = `
import json, os, socket, sys, threading, time
def ask(request):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(${JSON.stringify(at)})
    client.send(json.dumps(request).encode() + b"\\n")
    return client.makefile().readline().strip()
def reads():
    try:
        open(${JSON.stringify(secret)}).close()
        return True
    except PermissionError:
        return False
def become(user, groups=()):
    os.setgroups(list(groups)); os.setgid(user); os.setuid(user)
`;
  const { stdout, stderr } = spawnSync('python3', ['-c', prelude + script], { encoding: 'utf8' });
  assert.equal(stderr, '');
  return stdout.trimEnd().split('\n');
}

/** A client that is let go of may not have written all. */
const closed = (client: Socket): Promise<void> =>
  new Promise((done) => client.on('error', () => {}).on('close', () => done()));

/** Sends bytes and returns the answer; empty where the connection ends without one. */
async function send(bytes: string | Buffer): Promise<string> {
  const client = connect(socket);
  let answer = '';
  client.on('data', (data) => {
    answer += data;
  });
  client.write(bytes);
  await closed(client);
  return answer.trimEnd();
}

const words = ['serve', '--jailer', '--policy', policy];
let server: ChildProcess;
async function startServer(): Promise<void> {
  server = spawn(jailrun, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  server.stderr?.setEncoding('utf8').on('data', (text) => {
    said += text;
  });
  await until(() => said.includes(jailersSocket));
}

before(async () => {
  mkdirSync(area, { recursive: true });
  writeFileSync(secret, '', { mode: 0o644 });
  attach();
  await startServer();
});
after(async () => {
  server.kill('SIGKILL');
  await once(server, 'exit');
  rmSync(area, { recursive: true });
  leave();
});

describe('who asks', () => {
  test('is jailed before the next system call, in every thread, as Jailer’s client asks', () => {
    const script = `
late, stop, escaped = threading.Event(), threading.Event(), []
def look():
    while not stop.is_set():
        was_late = late.is_set()
        if reads() and was_late:
            escaped.append(1)
threads = [threading.Thread(target=look) for _ in range(4)]
for thread in threads: thread.start()
print(reads())
print(ask({"Enroll": {"pod_id": 7, "role_id": 820}}))
late.set()
print(reads())
time.sleep(0.5)
stop.set()
for thread in threads: thread.join()
print(len(escaped))
print(ask({"Query": {"pid": os.getpid()}}))
`;
    assert.deepEqual(python(script, jailersSocket), [
      'True',
      '"Success"',
      'False',
      '0',
      '{"ProcessInfo":{"pod_id":7,"role_id":820}}',
    ]);
  });
  test('by a role’s name gets our answer', () => {
    const [answer = ''] = python('print(ask({"enroll": {"role": "held"}}))');
    assert.match(answer, /^\{"version":1,"type":"enrolled","pod":"python3-\w+",.*"role":"held","threads":1,/);
  });
  test('can have two roles, and both hold', () => {
    assert.deepEqual(python('ask({"enroll": {"role": ["restricted", "held"]}})\nprint(reads())'), ['False']);
  });
  test('can add a role to what holds it, at once and in every thread, and its parent keeps what it has', () => {
    const script = `
ask({"enroll": {"role": "open"}})
if os.fork() == 0:
    print(reads())
    print(json.loads(ask({"enroll": {"role": "held"}}))["role"])
    print(reads(), flush=True)
    os._exit(0)
os.wait()
print(reads())
late, stop, escaped = threading.Event(), threading.Event(), []
def look_once():
    was_late = late.is_set()
    if reads() and was_late:
        escaped.append(1)
def look():
    while not stop.is_set(): look_once()
def make():
    while not stop.is_set():
        thread = threading.Thread(target=look_once)
        thread.start()
        thread.join()
threads = [threading.Thread(target=what) for what in (look, look, make, make)]
for thread in threads: thread.start()
print(ask({"Enroll": {"pod_id": 9, "role_id": 820}}))
late.set()
time.sleep(0.5)
stop.set()
for thread in threads: thread.join()
print(len(escaped), reads())
print(ask({"Query": {"pid": os.getpid()}}))`;
    assert.deepEqual(python(script), [
      ...['True', 'open+held', 'False', 'True', '"Success"', '0 False'],
      '{"ProcessInfo":{"pod_id":9,"role_id":822}}',
    ]);
  });
  test('loses nothing of what holds it by another role', () => {
    const script = `
ask({"enroll": {"role": "held"}})
print(json.loads(ask({"enroll": {"role": "open"}}))["role"])
print(reads())
print(ask({"enroll": {"role": "held"}}))`;
    const [role, reads, twice = ''] = python(script);
    assert.deepEqual([role, reads], ['held+open', 'False']);
    assert.match(twice, /Role held is named twice/);
  });
  test('is not freed', () => {
    const script = `
ask({"enroll": {"role": "held"}})
print(ask({"RemoveExecutable": {"executable_path": "/bin/sh"}}))
print(reads())
print(ask({"Query": {"pid": 1}}))`;
    const [freed = '', reads, other = ''] = python(script);
    assert.match(other, /^\{"Error":"Only root may ask/);
    assert.match(freed, /^\{"Error":"What is jailed can ask for nothing/);
    assert.equal(reads, 'False');
  });
});

describe('a user', () => {
  test('gets a role that names it, or a group of its', () => {
    for (const who of ['become(1001)', 'become(1002, [60])'])
      assert.deepEqual(
        python(`${who}\nprint(ask({"Enroll": {"pod_id": 1, "role_id": 821}}))\nprint(reads())`),
        ['"Success"', 'False'],
      );
  });
  test('gets no other role, and no other user gets that one', () => {
    const refused = /^\{"Error":"User \d+ may not be enrolled in role/;
    const [other = ''] = python('become(1001)\nprint(ask({"Enroll": {"pod_id": 1, "role_id": 820}}))');
    assert.match(other, refused);
    const [otherUser = '', reads] = python(
      'become(1002)\nprint(ask({"Enroll": {"pod_id": 1, "role_id": 821}}))\nprint(reads())',
    );
    assert.match(otherUser, refused);
    assert.equal(reads, 'True');
  });
  test('is not jailed while it acts for another one, too, as a set-id program does', () => {
    const [answer = '', reads] = python(
      'os.setresuid(1002, 1001, 1001)\nprint(ask({"Enroll": {"pod_id": 1, "role_id": 821}}))\nprint(reads())',
    );
    assert.match(answer, /^\{"Error":"Process \d+ acts for more users than 1001/);
    assert.equal(reads, 'True');
  });
  test('enrolls no files and cgroups, sets no claims, and asks about no others', () => {
    const script = `
become(1001)
print(ask({"EnrollExecutable": {"executable_path": "/bin/true", "pod_id": 1, "role_id": 1}}))
print(ask({"EnrollCgroup": {"cgroup_path": "/sys/fs/cgroup", "pod_id": 1, "role_id": 1}}))
print(ask({"SetXattr": {"executable_path": "/bin/true", "pod_id": 1, "role_id": 1}}))
print(ask({"CheckXattr": {"executable_path": "/bin/true"}}))
print(ask({"RemoveXattr": {"executable_path": "/bin/true"}}))
print(ask({"Query": {"pid": 1}}))`;
    for (const answer of python(script)) assert.match(answer, /^\{"Error":"Only root may/);
  });
});

describe('root', () => {
  test('enrolls a file and lets go of it', () => {
    const program = `${area}/program`;
    spawnSync('cp', ['/bin/cat', program]);
    const script = `
import subprocess
def runs(): return subprocess.run([${JSON.stringify(program)}, ${JSON.stringify(secret)}], stderr=subprocess.DEVNULL).returncode == 0
path = {"executable_path": ${JSON.stringify(program)}}
print(runs())
print(ask({"EnrollExecutable": {**path, "pod_id": 1, "role_id": 820}}))
print(runs())
print(ask({"RemoveExecutable": path}))
print(runs())
print(ask({"RemoveExecutable": path}))`;
    assert.deepEqual(python(script), [
      'True',
      '"Success"',
      'False',
      '"Success"',
      'True',
      `{"Error":"Nothing enrolls ${program}."}`,
    ]);
  });
  test('enrolls a cgroup', () => {
    const cgroup = '/sys/fs/cgroup/serve-test';
    mkdirSync(cgroup);
    const script = `
path = {"cgroup_path": ${JSON.stringify(cgroup)}}
print(ask({"EnrollCgroup": {**path, "pod_id": 1, "role_id": 820}}))
print(reads())
open(${JSON.stringify(`${cgroup}/cgroup.procs`)}, "w").write("0")
print(reads())`;
    assert.deepEqual(python(script), ['"Success"', 'True', 'False']);
    assert.deepEqual(python(`print(ask({"RemoveCgroup": {"cgroup_path": ${JSON.stringify(cgroup)}}}))`), [
      '"Success"',
    ]);
    spawnSync('rmdir', [cgroup]);
  });
  test('sets no claim that files may not make, and is told of none where there is none', () => {
    const path = '{"executable_path": "/bin/true"';
    const script = `
print(ask({"SetXattr": ${path}, "pod_id": 1, "role_id": 820}}))
print(ask({"CheckXattr": ${path}}}))
print(ask({"RemoveXattr": ${path}}}))
print(ask({"CheckXattr": {"executable_path": "/bin"}}))`;
    const [set = '', checked, removed, directory] = python(script);
    assert.match(set, /^\{"Error":"Files of user 0 may not claim the role with the id 820/);
    assert.deepEqual(
      [checked, removed, directory],
      ['{"Error":"/bin/true claims no role."}', '"Success"', '{"Error":"/bin is not a file."}'],
    );
  });
});

describe('the server', () => {
  test('answers what is no request with an error, and enrolls nobody for it', async () => {
    const before = pods().length;
    for (const line of ['', '{}', 'null', '[]', '{"enroll":1}'])
      assert.match(await send(`${line}\n`), /"code":"USAGE"/, line);
    for (const line of ['{"Enroll":{"pod_id":1}}', '{"Enroll":{},"Query":{}}'])
      assert.match(await send(`${line}\n`), /^\{"Error":"/, line);
    assert.match(await send('{"enroll":{"role":"held","rol":1}}\n'), /"code":"USAGE".*no field rol/);
    assert.match(await send('{"Enroll":{"pod_id":1,"role_id":9999}}\n'), /^\{"Error":"No policy defines/);
    assert.equal(pods().length, before);
  });
  test('survives random requests', async () => {
    const before = pods().length;
    const value = fc.oneof(
      fc.string(),
      fc.integer(),
      fc.constantFrom<unknown>(null, true, [], {}, 'held\0', '__proto__'),
    );
    const field = fc.constantFrom(
      'pod_id',
      'role_id',
      'pid',
      'role',
      'var',
      'executable_path',
      'cgroup_path',
      '__proto__',
    );
    const name = fc.constantFrom(
      'Enroll',
      'Query',
      'enroll',
      'query',
      'RemoveCgroup',
      'SetXattr',
      'CheckXattr',
      'constructor',
      '__proto__',
      'x',
    );
    const request = fc.oneof(
      fc.tuple(name, fc.dictionary(field, value)).map(([key, fields]) => JSON.stringify({ [key]: fields })),
      fc.json(),
      fc.string(),
    );
    for (const line of fc.sample(request, { numRuns: 300, seed: 5 })) {
      const answer = await send(`${line.replaceAll('\n', ' ')}\n`);
      assert.doesNotThrow(() => JSON.parse(answer), `${line} -> ${answer}`);
      assert.doesNotMatch(answer, /Success|enrolled/);
    }
    assert.equal(pods().length, before);
  });
  test('lets go of who sends too much, and keeps nothing of it', async () => {
    const much = Buffer.alloc(4 << 20, 'x');
    const answers = await Promise.all(Array.from({ length: 16 }, () => send(much)));
    for (const answer of answers) assert.match(answer, /^(\{"Error":"the request is too long"\})?$/);
    const launcher = spawnSync('pgrep', ['-P', String(server.pid)], { encoding: 'utf8' }).stdout.trim();
    const resident = /VmRSS:\s*(\d+) kB/.exec(readFileSync(`/proc/${launcher}/status`, 'utf8'))?.[1];
    assert.ok(Number(resident) < 200_000, `${resident} kB`);
  });
  test('lets go of silent clients, and serves others then', async () => {
    await Promise.all(Array.from({ length: 64 }, () => closed(connect(socket))));
    assert.match(await send('{"Query":{"pid":1}}\n'), /is not jailed/);
  });
  test('is refused a socket that another one serves, and takes over one that nobody does', async () => {
    const { status, stderr } = spawnSync(jailrun, words, { encoding: 'utf8' });
    assert.equal(status, 125);
    assert.match(stderr, /Another process serves/);
    server.kill('SIGKILL');
    await once(server, 'exit');
    assert.ok(existsSync(socket));
    await startServer();
    assert.match(await send('{"Query":{"pid":1}}\n'), /is not jailed/);
  });
  test('serves where it is told to', async () => {
    const path = `${area}/other.sock`;
    const other = spawn(jailrun, ['serve', '--socket', path], { stdio: 'ignore' });
    await until(() => existsSync(path));
    assert.match(python('print(ask({"Query": {"pid": 1}}))', path)[0] ?? '', /is not jailed/);
    other.kill('SIGKILL');
    await once(other, 'exit');
  });
  test('takes a socket as its standard input, as a service manager gives one', () => {
    const script = `
import subprocess
listener = socket.socket(socket.AF_UNIX)
listener.bind(${JSON.stringify(`${area}/given.sock`)})
listener.listen()
server = subprocess.Popen([${JSON.stringify(jailrun)}, "serve"], stdin=listener, stderr=subprocess.DEVNULL)
listener.close()
print(ask({"Query": {"pid": 1}}))
server.kill()
server.wait()`;
    assert.deepEqual(python(script, `${area}/given.sock`), ['{"Error":"Process 1 is not jailed."}']);
  });
});
