// Programs that have others work for them outside of a role: the service manager, the bus, cron and at.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { told, until } from './jail.js';
import { area, begin, end, inRole } from './tools.js';

before(begin);
after(end);

const contents = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

describe('what works outside of a role', () => {
  const manager = '/run/systemd/private';
  const bus = '/run/dbus/system_bus_socket';
  const connected = '/run/jailrun-test/connected';
  const listener = `
import os, select, socket, sys
listeners = []
for path in sys.argv[2:]:
    listener = socket.socket(socket.AF_UNIX); listener.bind(path); listener.listen(5); listeners.append(listener)
while True:
    for listener in select.select(listeners, [], [])[0]:
        connection, _ = listener.accept()
        open(sys.argv[1], 'a').write(listener.getsockname() + '\\n'); connection.close()
`;
  const start = ['systemctl', 'start', 'cron'];
  const ask = ['dbus-send', '--system', '--print-reply', '--dest=org.freedesktop.DBus', '/', 'a.b.ListNames'];
  let others: ChildProcess;
  before(async () => {
    for (const path of ['/run/systemd/system', '/run/dbus']) mkdirSync(path, { recursive: true });
    rmSync(connected, { force: true });
    for (const path of [manager, bus]) rmSync(path, { force: true });
    others = spawn('/usr/bin/python3', ['-c', listener, connected, manager, bus], { stdio: 'inherit' });
    await until(() => existsSync(manager) && existsSync(bus));
  });
  after(() => {
    others.kill('SIGKILL');
    for (const path of [manager, bus, connected, '/run/systemd/system'])
      rmSync(path, { force: true, recursive: true });
  });

  for (const role of ['shell', 'worker', 'ci', 'isolated'])
    test(`is not reached by systemctl or dbus-send in the role ${role}`, () => {
      for (const [command, sockets] of [
        [start, [manager, bus]],
        [ask, [bus]],
      ] as const) {
        const { status, stderr, denials } = inRole(role, ...command);
        assert.notEqual(status, 0);
        assert.match(stderr, /Permission denied/);
        for (const path of sockets)
          assert.ok(told(denials).includes(`${command[0]} connect ${path}`), `${told(denials)}`);
      }
      assert.equal(contents(connected), '');
    });
  test('is reached by both in a role that names the sockets', async () => {
    inRole('manager', ...start);
    inRole('manager', ...ask);
    await until(() => contents(connected).includes(manager) && contents(connected).includes(bus));
  });

  const tables = '/var/spool/cron/crontabs';
  const jobs = '/var/spool/cron/atjobs';
  const crontab = () => ['crontab', `${area}/table`];
  const at = () => ['at', '-f', `${area}/table`, 'now', '+', '1', 'hour'];
  const left = () => [...readdirSync(tables), ...readdirSync(jobs)].filter((name) => !name.startsWith('.'));
  before(() => writeFileSync(`${area}/table`, '0 0 1 1 * true\n'));
  for (const role of ['tools', 'ci', 'isolated'])
    test(`is not asked by crontab or at in the role ${role}`, () => {
      const earlier = left();
      for (const command of [crontab(), at()]) {
        const { status, denials } = inRole(role, ...command);
        assert.notEqual(status, 0);
        assert.ok(
          told(denials).some((line) => line.includes(' /var/spool/cron')),
          `${told(denials)}`,
        );
      }
      assert.deepEqual(left(), earlier);
    });
  test('is asked by both in a role that may write there', () => {
    inRole('scheduler', ...crontab());
    inRole('scheduler', ...at());
    const found = left();
    assert.ok(found.includes('root') && found.some((name) => name.startsWith('a0')), `${found}`);
    execFileSync('crontab', ['-r']);
    for (const name of readdirSync(jobs)) if (name.startsWith('a0')) rmSync(`${jobs}/${name}`);
  });
});
