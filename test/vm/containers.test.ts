// Containers are jailed by the OCI hook: under podman, which finds it in a directory of hooks, and under crun and
// runc alone, which find it in the bundle.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Engine,
  Ground,
  held,
  hostFile,
  policyText,
  runContainers,
  say,
  systemPolicy,
  testEngine,
} from './engines.js';
import { jailrun, pods, until } from './jail.js';

const ground = new Ground('/mnt/ext4/containers', jailrun);
const { area, root: rootfs } = ground;

runContainers(ground);
testEngine(ground.podman('crun'), { refuses: true });
testEngine(ground.alone('runc'), { refuses: false });

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
