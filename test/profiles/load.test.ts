import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import {
  type FileSystem,
  lenientLinkReader,
  linkReader,
  readPolicies,
  readPolicy,
  type Surroundings,
} from '../../src/profiles/load.js';
import { PolicyError } from '../../src/profiles/policy.js';

/** A directory of its own; files are given as path and content. */
function makeTree(t: TestContext, files: Record<string, string>): string {
  const directory = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'jailrun-load-')));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  for (const [path, content] of Object.entries(files)) {
    fs.mkdirSync(dirname(join(directory, path)), { recursive: true });
    fs.writeFileSync(join(directory, path), content);
  }
  return directory;
}

/**
 * A file system on which everything is root's and written by nobody else, whoever runs the test and
 * wherever it makes its files; `differing` has what differs, by path.
 */
function rootOwned(differing: Record<string, { uid?: number; mode?: number }> = {}): FileSystem {
  const dress = (path: string, stats: fs.Stats): fs.Stats => {
    const { uid = 0, mode = 0 } = differing[path] ?? {};
    return Object.assign(stats, { uid, mode: (stats.mode & ~0o022) | mode });
  };
  const paths = new Map<number, string>();
  return {
    ...fs,
    openSync: ((path: string, flags: number) => {
      const fd = fs.openSync(path, flags);
      paths.set(fd, fs.realpathSync(path));
      return fd;
    }) as typeof fs.openSync,
    fstatSync: ((fd: number) => dress(paths.get(fd) ?? '', fs.fstatSync(fd))) as typeof fs.fstatSync,
    lstatSync: ((path: fs.PathLike, options: fs.StatSyncOptions) => {
      const stats = fs.lstatSync(path, options);
      return stats && dress(path.toString(), stats as fs.Stats);
    }) as typeof fs.lstatSync,
  };
}

const user = 1000;

function filesOf(surroundings: Partial<Surroundings> & { system: string }): string[] {
  return readPolicies({ env: {}, cwd: '/', uid: user, ...surroundings }).map(({ file }) => file);
}

function problemOf(read: () => unknown): string {
  try {
    read();
  } catch (error) {
    if (error instanceof PolicyError) return `${error.problems[0]?.code} ${error.message}`;
    throw error;
  }
  return assert.fail('the file was accepted');
}

describe('the policies in use', () => {
  test('are the named ones, the user’s, the system’s, and those of policy.d by name', (t) => {
    const at = makeTree(t, {
      'mine.yaml': 'a',
      'env.yaml': 'b',
      'config/jailrun/policy.yaml': 'c',
      'etc/policy.yaml': 'd',
      'etc/policy.d/20-b.yaml': 'e',
      'etc/policy.d/10-a.yaml': 'f',
    });
    const files = filesOf({
      policy: 'mine.yaml',
      cwd: at,
      env: { JAILRUN_POLICY: join(at, 'env.yaml'), XDG_CONFIG_HOME: join(at, 'config') },
      system: join(at, 'etc'),
    });
    assert.deepEqual(
      files.map((file) => file.slice(at.length + 1)),
      [
        'mine.yaml',
        'env.yaml',
        'config/jailrun/policy.yaml',
        'etc/policy.yaml',
        'etc/policy.d/10-a.yaml',
        'etc/policy.d/20-b.yaml',
      ],
    );
  });

  test('come with their bytes', (t) => {
    const at = makeTree(t, { 'p.yaml': 'version: 1 # \u00fc' });
    assert.equal(
      Buffer.from(readPolicy(join(at, 'p.yaml'), { uid: user }).source).toString(),
      'version: 1 # \u00fc',
    );
  });

  test('are none where nobody wrote any', (t) => {
    assert.deepEqual(filesOf({ system: join(makeTree(t, {}), 'etc') }), []);
    assert.deepEqual(filesOf({ env: { JAILRUN_POLICY: '' }, system: '/nonexistent' }), []);
  });

  test('are never taken from the working directory unless named', (t) => {
    const at = makeTree(t, {
      'policy.yaml': '',
      'jailrun/policy.yaml': '',
      '.config/jailrun/policy.yaml': '',
    });
    assert.deepEqual(
      filesOf({ cwd: at, env: { XDG_CONFIG_HOME: '.', HOME: '' }, system: join(at, 'etc') }),
      [],
    );
  });

  test('of the user are under ~/.config unless XDG_CONFIG_HOME says otherwise', (t) => {
    const at = makeTree(t, { '.config/jailrun/policy.yaml': '' });
    const system = join(at, 'etc');
    assert.equal(filesOf({ env: { HOME: at }, system }).length, 1);
    assert.equal(filesOf({ env: { HOME: at, XDG_CONFIG_HOME: '/nonexistent' }, system }).length, 0);
  });

  test('are not read from a home for root', (t) => {
    const at = makeTree(t, { '.config/jailrun/policy.yaml': '' });
    const env = { HOME: at, XDG_CONFIG_HOME: join(at, '.config') };
    assert.deepEqual(filesOf({ uid: 0, env, system: join(at, 'etc'), fs: rootOwned() }), []);
  });

  test('are each read once, however often they are named', (t) => {
    const at = makeTree(t, { 'etc/policy.yaml': '' });
    const path = join(at, 'etc/policy.yaml');
    assert.deepEqual(filesOf({ policy: path, env: { JAILRUN_POLICY: path }, system: join(at, 'etc') }), [
      path,
    ]);
  });

  test('in policy.d end in .yaml or .json; what could be meant as one is refused, and the rest passed over', (t) => {
    const at = makeTree(t, {
      'policy.d/a.yaml': '',
      'policy.d/policy.json': '',
      'policy.d/README': '',
      'policy.d/b.yaml~': '',
      'policy.d/.c.yaml': '',
    });
    assert.deepEqual(filesOf({ system: at }), [
      join(at, 'policy.d/a.yaml'),
      join(at, 'policy.d/policy.json'),
    ]);
    fs.writeFileSync(join(at, 'policy.d/b.yml'), '');
    assert.match(
      problemOf(() => filesOf({ system: at })),
      /^UNREADABLE .*b\.yml: would not be read; .* rename it/,
    );
  });
});

describe('a policy file is refused', () => {
  const read = (path: string) => () => readPolicy(path, { uid: user });

  test('when it was named and is not there', (t) => {
    const at = makeTree(t, { file: '' });
    for (const path of ['none.yaml', 'file/none.yaml'])
      assert.match(
        problemOf(read(join(at, path))),
        /^UNREADABLE .*none\.yaml: does not exist; correct the path/,
      );
    assert.match(
      problemOf(() => filesOf({ env: { JAILRUN_POLICY: '/nonexistent' }, system: at })),
      /does not exist/,
    );
  });

  test('when it is a directory, a FIFO or a device', (t) => {
    const at = makeTree(t, {});
    execFileSync('mkfifo', [join(at, 'fifo')]);
    for (const path of [at, join(at, 'fifo'), '/dev/null'])
      assert.match(problemOf(read(path)), /^UNREADABLE .*not a regular file/);
  });

  test('when it is too large to be one', (t) => {
    const at = makeTree(t, { 'p.yaml': ' '.repeat((1 << 20) + 1) });
    assert.match(problemOf(read(join(at, 'p.yaml'))), /^UNREADABLE .*larger than 1048576 bytes/);
  });

  test('when a link leads to nothing, also where it is optional', (t) => {
    const at = makeTree(t, {});
    fs.symlinkSync('/nonexistent', join(at, 'policy.yaml'));
    assert.match(
      problemOf(() => filesOf({ system: at })),
      /^UNREADABLE/,
    );
  });
});

describe('for root a policy file', () => {
  const read = (path: string, differing: Parameters<typeof rootOwned>[0]) => () =>
    readPolicy(path, { uid: 0, fs: rootOwned(differing) });

  test('is read when it and all directories above are only root’s', (t) => {
    const at = makeTree(t, { 'etc/policy.yaml': 'x' });
    assert.equal(read(join(at, 'etc/policy.yaml'), {})().source.length, 1);
  });

  test('is refused when it belongs to somebody else, with the mend', (t) => {
    const path = join(makeTree(t, { 'p.yaml': '' }), 'p.yaml');
    assert.match(
      problemOf(read(path, { [path]: { uid: 1000 } })),
      /^UNTRUSTED .*belongs to user 1000.*; chown root /,
    );
  });

  test('is refused when its group or others may write it, with the mend', (t) => {
    const path = join(makeTree(t, { 'p.yaml': '' }), 'p.yaml');
    for (const mode of [0o020, 0o002])
      assert.match(
        problemOf(read(path, { [path]: { mode } })),
        /^UNTRUSTED .*can be written by others.*; chmod go-w /,
      );
  });

  test('is refused when any directory above is somebody else’s or can be written by others', (t) => {
    const at = makeTree(t, { 'a/b/p.yaml': '' });
    for (const directory of [at, join(at, 'a'), join(at, 'a/b'), '/']) {
      assert.match(
        problemOf(read(join(at, 'a/b/p.yaml'), { [directory]: { uid: 1000 } })),
        /^UNTRUSTED .*on the way/,
      );
      assert.match(problemOf(read(join(at, 'a/b/p.yaml'), { [directory]: { mode: 0o022 } })), /^UNTRUSTED/);
    }
  });

  test('in a policy.d that others can write is refused, and so is an empty one, which may have been emptied', (t) => {
    const at = makeTree(t, { 'policy.d/README': '' });
    const fileSystem = rootOwned({ [join(at, 'policy.d')]: { mode: 0o002 } });
    assert.match(
      problemOf(() => filesOf({ uid: 0, system: at, fs: fileSystem })),
      /^UNTRUSTED .*policy\.d: can be written/,
    );
  });

  test('is refused below /tmp, whose sticky bit does not keep others from making the name first', (t) => {
    const at = makeTree(t, { 'p.yaml': '' });
    assert.match(
      problemOf(read(join(at, 'p.yaml'), { [at]: { mode: 0o1022 } })),
      /^UNTRUSTED .*others than root; move the policy/,
    );
  });

  test('is refused when a link leads to it through somebody else’s directory', (t) => {
    const at = makeTree(t, { 'home/p.yaml': '', 'etc/other.yaml': '' });
    fs.symlinkSync('../home/p.yaml', join(at, 'etc/policy.yaml'));
    assert.match(
      problemOf(read(join(at, 'etc/policy.yaml'), { [join(at, 'home')]: { uid: 1000 } })),
      /^UNTRUSTED .*home, on the way to it, belongs to user 1000/,
    );
    assert.match(
      problemOf(read(join(at, 'etc/policy.yaml'), { [join(at, 'etc/policy.yaml')]: { uid: 7 } })),
      /^UNTRUSTED/,
    );
  });

  test('is read through links that are root’s like what they lead to', (t) => {
    const at = makeTree(t, { 'real/p.yaml': 'x' });
    fs.symlinkSync('real', join(at, 'link'));
    assert.equal(read(join(at, 'link/p.yaml'), {})().source.length, 1);
  });
});

test('the link reader gives the targets of links and nothing for all else', (t) => {
  const at = makeTree(t, { file: '' });
  fs.symlinkSync(Buffer.from('t\xff', 'latin1'), join(at, 'link'));
  const read = linkReader();
  assert.equal(read(join(at, 'link')), 't\xff');
  for (const path of ['file', 'none', 'file/below', '']) assert.equal(read(join(at, path)), undefined);
});

describe('symbolic links for who only asks', () => {
  const closed = (...places: string[]): FileSystem => ({
    ...fs,
    lstatSync: ((path: fs.PathLike, options: fs.StatSyncOptions) => {
      if (places.some((place) => path.toString().startsWith(`${place}/`)))
        throw Object.assign(new Error('closed'), { code: 'EACCES' });
      return fs.lstatSync(path, options);
    }) as typeof fs.lstatSync,
  });

  test('are read where the user may look, and where not the place is noted once', (t) => {
    const at = makeTree(t, { 'closed/a/b': '' });
    fs.symlinkSync('target', join(at, 'link'));
    const unseen = new Set<string>();
    const read = lenientLinkReader(unseen, closed(join(at, 'closed')));
    assert.equal(read(join(at, 'link')), 'target');
    for (const path of ['closed', 'closed/a', 'closed/a/b', 'closed/c']) {
      assert.equal(read(join(at, path)), undefined);
    }
    assert.deepEqual([...unseen], [join(at, 'closed/a'), join(at, 'closed/c')]);
  });

  test('are not guessed where looking fails otherwise', () => {
    const broken = { ...fs, lstatSync: (() => assert.fail('I/O')) as unknown as typeof fs.lstatSync };
    const read = lenientLinkReader(new Set(), broken);
    assert.throws(() => read('/x'), PolicyError);
  });
});
