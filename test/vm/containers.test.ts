// Containers are jailed by the OCI hook: under podman, which finds it in a directory of hooks, and under crun and
// runc alone, which find it in the bundle.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Engine, Ground, say } from './engines.js';
import { attach, jailrun, leave, mapSize, pods, until } from './jail.js';
import { fault, parseSteps } from './steps.js';

const ground = new Ground('/mnt/ext4/containers', jailrun);
const { area, hooks, root: rootfs } = ground;
const hostFile = '/run/jailrun-test/of-the-host';
const systemPolicy = '/etc/jailrun/policy.yaml';

/** Paths are the container's: the host has no /srv/secret. */
const policyText = `version: 1
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

/** What the kernel's log has of a container. */
const logged = (container: string): string[] =>
  say('dmesg')
    .stdout.split('\n')
    .filter((line) => line.includes('jailrun[') && line.includes(`container ${container}`));

/** What is refused the other engines would refuse for the same hook, and take long to show it. */
const engines = [
  { engine: ground.podman('crun'), refuses: true },
  { engine: ground.podman('runc'), refuses: false },
  { engine: ground.alone('crun'), refuses: false },
  { engine: ground.alone('runc'), refuses: true },
];
const held = { 'io.jailrun.role': 'held' };

before(() => {
  ground.prepare();
  mkdirSync('/run/jailrun-test', { recursive: true });
  mkdirSync(`${rootfs}/srv/secret`, { recursive: true });
  writeFileSync(`${rootfs}/srv/secret/file`, 'secret');
  writeFileSync(`${rootfs}/srv/public`, 'public');
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

for (const { engine, refuses } of engines)
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

describe('a container', () => {
  const engine = ground.alone('crun');
  const other = ground.podman('runc');

  test('that asks for nothing has the host’s default role', () => {
    writeFileSync(systemPolicy, policyText.replace('{roles:', '{default: held, roles:'));
    try {
      assert.equal(engine.run('standard', 'cat /srv/secret/file', {}).status, 1);
    } finally {
      writeFileSync(systemPolicy, policyText);
    }
  });

  test('has its own values for the variables of its role', () => {
    const annotations = { 'io.jailrun.role': 'site', 'io.jailrun.var.data': '/srv/public' };
    const { stdout, stderr } = engine.run('values', 'cat /srv/public; cat /srv/secret/file', annotations);
    assert.equal(stdout, 'public');
    assert.match(stderr, /secret\/file: Permission denied/);
  });

  test('does real work: nginx serves, and a compiler builds', async () => {
    const config = `daemon off; master_process off; user root; pid /tmp/nginx.pid; error_log stderr; events {} http {access_log off; server {listen 8080; root /srv;}}`;
    writeFileSync(`${rootfs}/etc/nginx/held.conf`, config);
    mkdirSync(`${rootfs}/build`, { recursive: true });
    writeFileSync(`${rootfs}/build/a.c`, 'int main(void) { return 42; }');
    engine.start('web', 'exec nginx -c /etc/nginx/held.conf', held);
    try {
      const ask = (path: string): string => say('curl', '-s', `http://127.0.0.1:8080/${path}`).stdout;
      await until(() => ask('public') === 'public');
      assert.match(ask('secret/file'), /403 Forbidden/);
    } finally {
      engine.stop('web');
    }
    const built = other.run('build', 'gcc -o /build/a /build/a.c && /build/a', {
      'io.jailrun.role': 'builder',
    });
    assert.equal(built.status, 42, built.stderr);
  });

  test('without a cgroup of its own is not started', () => {
    const words = ground.podmanWords('crun');
    const options = [
      'run',
      '--rm',
      '--network',
      'none',
      '--cgroups=disabled',
      '--annotation',
      'io.jailrun.role=held',
    ];
    const { status, stdout } = say('podman', ...words, ...options, '--rootfs', rootfs, 'echo', 'ran');
    assert.notEqual(status, 0);
    assert.equal(stdout, '');
    assert.match(logged('').at(-1) ?? '', /has no cgroup of its own/);
  });

  test('gets its role anew by a reload', async () => {
    engine.start('reloaded', 'while :; do cat /srv/public; sleep 1; done > /tmp/said 2>&1', held);
    try {
      await until(() => engine.exec('reloaded', 'cat /srv/public').stdout === 'public');
      writeFileSync(systemPolicy, policyText.replace('deny: [/srv/secret,', 'deny: [/srv/public,'));
      assert.equal(say(jailrun, 'reload').status, 0);
      const { stdout, stderr } = engine.exec('reloaded', 'cat /srv/secret/file; cat /srv/public');
      assert.equal(stdout, 'secret', stderr);
      await until(() => readFileSync(`${rootfs}/tmp/said`, 'utf8').includes('Permission denied'));
    } finally {
      writeFileSync(systemPolicy, policyText);
      engine.stop('reloaded');
    }
  });

  test('whose hook is killed, fails, hangs or is missing does not run', () => {
    const broken = `${area}/broken-hook`;
    const scripts = { killed: 'kill -9 $$', failing: 'exit 3', hanging: 'exec sleep 1000' };
    for (const runtime of ['crun', 'runc']) {
      for (const [what, script] of Object.entries(scripts)) {
        writeFileSync(broken, `#!/bin/sh\n${script}\n`);
        chmodSync(broken, 0o755);
        const hook = { path: broken, args: ['jailrun', 'oci-hook'], timeout: 2 };
        const { status, stdout } = ground
          .alone(runtime, () => ({ hook }))
          .run(`${what}-${runtime}`, 'echo ran', held);
        assert.deepEqual([status === 0, stdout], [false, ''], `${runtime}: ${what}`);
      }
      const hook = { path: `${area}/none`, args: ['jailrun', 'oci-hook'], timeout: 2 };
      assert.equal(
        ground.alone(runtime, () => ({ hook })).run(`missing-${runtime}`, 'echo ran', held).stdout,
        '',
        runtime,
      );
    }
  });

  test('whose hook is killed on the way does not run, and leaves nothing', () => {
    const killer = `${area}/killer`;
    const report = `${area}/steps`;
    const runTo = (id: string, process: number, number: number, action: string): string => {
      // What is remembered needs no node (see fast-hook.test.ts), but where a variable is set.
      const words = `JAILRUN_POLICY=/none ${fault} ${process} ${number} ${action} ${jailrun} oci-hook`;
      // The same hook is asked again when the container has ended.
      writeFileSync(
        killer,
        `#!/bin/sh\n[ ! -e ${report} ] || exec ${jailrun} oci-hook\n${words} 3> ${report}\n`,
      );
      rmSync(report, { force: true });
      chmodSync(killer, 0o755);
      const hook = { path: killer, args: ['jailrun', 'oci-hook'], timeout: 60 };
      return ground.alone('crun', () => ({ hook })).run(id, 'echo ran', held).stdout;
    };
    assert.equal(runTo('whole', 0, 0, 'list'), 'ran\n');
    const enrolling = parseSteps(readFileSync(report, 'utf8')).findLast(({ text }) =>
      /MAP_UPDATE/.test(text),
    );
    assert.ok(enrolling);
    assert.equal(runTo('cut', enrolling.process, enrolling.number, 'kill'), '');
    assert.match(readFileSync(report, 'utf8'), /MAP_UPDATE/);
  });

  test('is helped by the hooks of others, which its role does not hold', async () => {
    const helper = `${area}/helper`;
    writeFileSync(helper, `#!/bin/sh\ncat ${hostFile} > /run/jailrun-test/helped\n`);
    chmodSync(helper, 0o755);
    const createContainer = { ...ground.hookFile(helper), stages: ['createContainer'] };
    writeFileSync(`${hooks}/zz-helper.json`, JSON.stringify(createContainer));
    try {
      const { stdout, stderr } = other.run('helped', 'cat /srv/secret/file; echo ran', held);
      assert.equal(stdout, 'ran\n', stderr);
      assert.equal(readFileSync('/run/jailrun-test/helped', 'utf8'), 'host');
    } finally {
      rmSync(`${hooks}/zz-helper.json`);
    }
  });

  test('that changes its root directory is held all the same', () => {
    writeFileSync(systemPolicy, policyText.replace('allow: [setuid]', 'allow: any'));
    try {
      const script = 'for file in public secret/file; do chroot /proc/self/root cat /srv/$file; done';
      const { stdout, stderr } = other.run('rooted', script, held);
      assert.equal(stdout, 'public', stderr);
      assert.match(stderr, /secret\/file: Permission denied/);
    } finally {
      writeFileSync(systemPolicy, policyText);
    }
  });

  const given = { destination: '/host', type: 'bind', source: '/', options: ['rbind', 'rprivate'] };
  const powerful = { mounts: [given], capabilities: ['CAP_SYS_ADMIN', 'CAP_SYS_CHROOT'] };
  const turner = { 'io.jailrun.role': 'turner' };
  /** Once the container has the root directory of the host. */
  async function assertHolds(engine: Engine, id: string): Promise<void> {
    try {
      await until(() => pods()[0]?.processes.some(({ command }) => command === 'sleep 1000') === true);
      const { stdout, stderr } = engine.exec(id, `cat ${hostFile}; exec bash -c '< /dev/tcp/127.0.0.1/9'`);
      assert.equal(stdout, 'host');
      assert.match(stderr, /Permission denied/);
    } finally {
      engine.stop(id);
    }
  }

  test('that has made the host’s root directory its own holds who is brought into it', async () => {
    for (const runtime of ['crun', 'runc']) {
      const engine = ground.alone(runtime, () => powerful);
      engine.start(`turned-${runtime}`, 'cd /host && pivot_root . mnt && exec sleep 1000', turner);
      await assertHolds(engine, `turned-${runtime}`);
    }
  });

  test('that has got the number of its runtime’s mount namespace, which has ended, does so, too', async () => {
    const script = `number=/host${area}/number; space=/proc/self/ns/mnt
      until test -e $number; do sleep 0.1; done
      if test "$(readlink $space)" != "$(cat $number)"; then
        unshare -m sleep 2000 &
        while test "$(readlink /proc/$!/ns/mnt)" = "$(readlink $space)"; do :; done
        if test "$(readlink /proc/$!/ns/mnt)" = "$(cat $number)"; then kill $!; wait; fi
        exec unshare -m sh /host${area}/turn
      fi
      cd /host && pivot_root . mnt && exec sleep 1000`;
    writeFileSync(`${area}/turn`, script);
    const bundle = ground.bundle('crun', 'counted', script, turner, powerful);
    const start = `readlink /proc/self/ns/mnt > ${area}/draft; exec crun run -d --bundle ${bundle} counted`;
    assert.equal(spawnSync('unshare', ['-m', 'sh', '-c', start], { stdio: 'ignore' }).status, 0);
    renameSync(`${area}/draft`, `${area}/number`);
    await assertHolds(ground.alone('crun'), 'counted');
  });

  test('of many, one after the other and at once, leaves nothing', async () => {
    for (let i = 0; i < 3; i++) assert.equal(engine.run(`one-${i}`, 'exit 7', held).status, 7);
    const all = Array.from({ length: 4 }, (_, i) => `at-once-${i}`);
    for (const id of all) engine.start(id, 'exit 0', held);
    await until(() => all.every((id) => !existsSync(`/sys/fs/cgroup/alone/${id}`)));
    await sleep(100);
  });
});
