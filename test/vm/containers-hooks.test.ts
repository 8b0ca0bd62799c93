// What engines and runtimes do with the hook, and what containers do in a role, does not depend on the kernel; what
// does is in containers.test.ts.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Ground, held, hostFile, logged, runContainers, say, testEngine } from './engines.js';
import { jailrun, until } from './jail.js';
import { fault, parseSteps } from './steps.js';

const ground = new Ground('/mnt/ext4/containers-hooks', jailrun);
const { area, hooks, root: rootfs } = ground;

runContainers(ground);
testEngine(ground.podman('runc'), { refuses: false });
testEngine(ground.alone('crun'), { refuses: true });

describe('a container', () => {
  const engine = ground.alone('crun');
  const other = ground.podman('runc');

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
});
