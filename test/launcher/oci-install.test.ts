// The hook's files and the wrapper without a kernel that enforces: which files are written where, what is said to
// fail open, and what reaches the runtime. Programs that stand in for podman and runc say what they were given.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { readCrio } from '../../src/launcher/engines.js';
import { type Area, makeArea } from './command.js';

let area: Area;
let jailrun: string;
let bin: string;
before(() => {
  area = makeArea();
  jailrun = join(area.directory, 'dist/jailrun');
  bin = join(area.directory, 'bin');
  mkdirSync(bin);
});
after(() => area.remove());

/** Writes a program of the shell's into the directory that is all of PATH beside the system's. */
function program(name: string, script: string): string {
  const path = join(bin, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** What install writes. */
interface HookFile {
  hook: object;
}

interface Said {
  status: number | null;
  stdout: string;
  stderr: string;
}

const run = (
  words: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; program?: string } = {},
): Said =>
  spawnSync(options.program ?? jailrun, words, {
    encoding: 'utf8',
    cwd: options.cwd ?? area.directory,
    env: { PATH: `${bin}:/usr/bin:/bin`, ...options.env },
  });

describe('oci install', () => {
  let hooks: string;
  let file: string;
  beforeEach(() => {
    hooks = join(area.directory, 'hooks.d');
    file = join(hooks, 'jailrun.json');
    program('podman', `echo '      --hooks-dir strings   Set it (default [/nowhere/a,${hooks}])'`);
  });
  afterEach(() => rmSync(hooks, { recursive: true, force: true }));

  const installed = () => JSON.parse(readFileSync(file, 'utf8'));

  test('writes the hook for every container where podman says that it looks last', () => {
    const { status, stdout, stderr } = run(['oci', 'install']);
    assert.deepEqual([status, stdout, stderr], [0, `Installed: ${file}\n`, '']);
    assert.deepEqual(installed(), {
      version: '1.0.0',
      hook: { path: jailrun, args: ['jailrun', 'oci-hook'], timeout: 60 },
      when: { always: true },
      stages: ['createRuntime', 'poststop'],
    });
    assert.equal(statSync(file).mode & 0o777, 0o644);
    assert.deepEqual(readdirSync(hooks), ['jailrun.json']);
  });
  test('names the program by its own path, not by a link to it', () => {
    symlinkSync(jailrun, join(bin, 'linked'));
    run(['oci', 'install'], { program: join(bin, 'linked') });
    assert.equal(installed().hook.path, jailrun);
  });
  test('finds again what it wrote, and replaces what another jailrun wrote', () => {
    run(['oci', 'install']);
    const { ino } = statSync(file);
    assert.equal(run(['oci', 'install']).stdout, `Already there: ${file}\n`);
    assert.equal(statSync(file).ino, ino);
    writeFileSync(file, readFileSync(file, 'utf8').replace(jailrun, '/opt/jailrun'));
    assert.equal(run(['oci', 'install']).stdout, `Replaced: ${file}\n`);
    assert.equal(installed().hook.path, jailrun);
  });
  test('writes patterns that match a whole name and any value with --annotated', () => {
    run(['oci', 'install', '--annotated']);
    const [[name = '', value = ''] = []] = Object.entries<string>(installed().when.annotations);
    const matches = (text: string) => new RegExp(name).test(text);
    assert.deepEqual(
      ['io.jailrun.role', 'io.jailrun.roles', 'x.io.jailrun.role', 'ioxjailrun.role'].map(matches),
      [true, false, false, false],
    );
    // RE2's (?s:…) is JavaScript's flag s.
    const values = new RegExp(value.replace('(?s:.*)', '.*'), 's');
    assert.ok(['', 'webserver', 'a\nb', '\n'].every((text) => values.test(text)));
  });
  test('writes nothing with --dry-run, and shows what it would write', () => {
    const { stdout } = run(['oci', 'install', '--dry-run']);
    assert.match(stdout, new RegExp(`^Would install: ${file}\\n\\{\\n {2}"version": "1\\.0\\.0",`));
    assert.ok(!existsSync(hooks));
  });
  test('leaves another’s file of its name alone, says so and fails', () => {
    mkdirSync(hooks);
    for (const text of ['{"version":"1.0.0","hook":{"path":"/bin/true"}}', 'no JSON', 'null', '']) {
      writeFileSync(file, text);
      const { status, stderr } = run(['oci', 'install', '--json']);
      assert.equal(status, 125);
      assert.equal(JSON.parse(stderr).code, 'FOREIGN');
      assert.equal(readFileSync(file, 'utf8'), text);
    }
  });
  test('refuses a directory that others may write, and a jailrun that others may replace', () => {
    mkdirSync(hooks);
    chmodSync(hooks, 0o777);
    assert.match(run(['oci', 'install']).stderr, /hooks\.d can be written by others than root/);
    chmodSync(hooks, 0o755);
    chmodSync(join(area.directory, 'dist'), 0o775);
    try {
      assert.match(
        run(['oci', 'install']).stderr,
        /dist, on the way to it, can be written by others than root/,
      );
    } finally {
      chmodSync(join(area.directory, 'dist'), 0o755);
    }
    assert.deepEqual(readdirSync(hooks), []);
  });
  test('uses the directory of --hooks-dir alone', () => {
    const other = join(area.directory, 'other');
    assert.equal(
      run(['oci', 'install', '--hooks-dir', 'other']).stdout,
      `Installed: ${other}/jailrun.json\n`,
    );
    assert.ok(!existsSync(hooks));
    assert.equal(run(['oci', 'uninstall', '--hooks-dir', other]).stdout, `Removed: ${other}/jailrun.json\n`);
    assert.deepEqual(readdirSync(other), []);
  });
  test('fails where podman looks nowhere, does not say where, or is missing, and says the mend', () => {
    for (const [script, message] of [
      [
        "echo '      --hooks-dir strings   Set it (default [])'",
        /podman is configured to read hooks from nowhere/,
      ],
      ["echo '      --help   Help'", /does not say in its help where it looks for hooks.*--hooks-dir DIR/],
      ['exit 1', /does not say in its help/],
    ] as const) {
      program('podman', script);
      const { status, stderr } = run(['oci', 'install']);
      assert.equal(status, 125);
      assert.match(stderr, message);
    }
    const { stderr } = run(['oci', 'install'], { env: { PATH: area.directory } });
    assert.match(stderr, /Neither podman nor CRI-O is in PATH\. Name the directory/);
  });
  test('is undone by uninstall, which leaves what is another’s', () => {
    run(['oci', 'install']);
    writeFileSync(join(hooks, 'other.json'), '{}');
    assert.equal(run(['oci', 'uninstall', '--dry-run']).stdout, `Would remove: ${file}\n`);
    assert.equal(run(['oci', 'uninstall']).stdout, `Removed: ${file}\n`);
    assert.deepEqual(readdirSync(hooks), ['other.json']);
    writeFileSync(file, '{}');
    assert.equal(run(['oci', 'uninstall']).stdout, `Left, since it is another’s: ${file}\n`);
    rmSync(file);
    assert.equal(run(['oci', 'uninstall']).stdout, 'Nothing is installed.\n');
  });
});

describe('CRI-O’s directories are', () => {
  let etc: string;
  const say = (name: string, directories: string) =>
    writeFileSync(
      join(etc, name),
      `[crio]\nlog_dir = "/x"\n[crio.runtime]\nhooks_dir = [\n${directories} # here\n]\n`,
    );
  before(() => {
    etc = join(area.directory, 'crio');
    mkdirSync(join(etc, 'crio.conf.d'), { recursive: true });
  });
  afterEach(() => {
    rmSync(etc, { recursive: true });
    mkdirSync(join(etc, 'crio.conf.d'), { recursive: true });
  });
  test('the common one where nothing is configured', async () => {
    assert.deepEqual(await readCrio(etc), ['/usr/share/containers/oci/hooks.d']);
    writeFileSync(join(etc, 'crio.conf'), '[crio.runtime]\ndefault_runtime = "crun"\n');
    assert.deepEqual(await readCrio(etc), ['/usr/share/containers/oci/hooks.d']);
  });
  test('those of crio.conf, and before them those of the last file beside it', async () => {
    say('crio.conf', '"/a", "/b",');
    assert.deepEqual(await readCrio(etc), ['/a', '/b']);
    say('crio.conf.d/10-x.conf', '"/c"');
    say('crio.conf.d/05-x.conf', '"/d"');
    assert.deepEqual(await readCrio(etc), ['/c']);
  });
  test('unknown where a file is none of CRI-O’s', async () => {
    for (const text of ['[crio', '[crio.runtime]\nhooks_dir = "/a"\n', '[crio.runtime]\nhooks_dir = [1]\n']) {
      writeFileSync(join(etc, 'crio.conf'), text);
      await assert.rejects(readCrio(etc), { code: 'HOOKS_DIR' });
    }
  });
});

describe('oci verify without a container', () => {
  const verify = (...words: string[]) => run(['oci', 'verify', ...words]);
  const hooks = () => join(area.directory, 'verify.d');
  const file = () => join(hooks(), 'jailrun.json');
  const change = (by: (hook: HookFile) => object) =>
    writeFileSync(
      file(),
      JSON.stringify({
        ...JSON.parse(readFileSync(file(), 'utf8')),
        ...by(JSON.parse(readFileSync(file(), 'utf8'))),
      }),
    );
  /** A podman whose containers say this of their jail, those that ask for a role that does not exist nothing. */
  const podman = (word: string, refused = 'exit 126') =>
    program(
      'podman',
      `case "$*" in *no/such/role*) ${refused} ;; esac
       case "$*" in *--rootfs*) ${word} ;; *) echo '      --hooks-dir strings   Set it (default [${hooks()}])' ;; esac`,
    );
  beforeEach(() => {
    podman('echo jailed: held');
    assert.equal(run(['oci', 'install']).status, 0);
  });
  afterEach(() => rmSync(hooks(), { recursive: true, force: true }));

  test('finds nothing where the hook is installed and a container says that it is held', () => {
    const { status, stdout } = verify();
    assert.equal(
      stdout,
      `ok    podman: hook: ${file()}
ok    podman: jail: a container without an annotation is jailed, and was denied what every role denies
ok    podman: refusal: a container whose role does not exist does not start
`,
    );
    assert.equal(status, 0);
  });
  for (const [name, by, message] of [
    [
      'whose program is gone',
      ({ hook }) => ({ hook: { ...hook, path: '/none' } }),
      /\/none cannot be executed \(ENOENT\), so it is passed by in silence/,
    ],
    [
      'whose program is not executable',
      ({ hook }) => ({ hook: { ...hook, path: '/etc/passwd' } }),
      /cannot be executed \(EACCES\)/,
    ],
    ['whose conditions are empty', () => ({ when: {} }), /its conditions \(when\) are not those/],
    ['whose conditions are false', () => ({ when: { always: false } }), /its conditions/],
    ['whose conditions are looser', () => ({ when: { always: true, commands: ['x'] } }), /its conditions/],
    [
      'for annotated containers',
      () => ({ when: { annotations: { '^io\\.jailrun\\.role$': '^(?s:.*)$' } } }),
      /others run unjailed/,
    ],
    ['that lacks a stage', () => ({ stages: ['createRuntime'] }), /lacks the stage poststop/],
    ['that has no time', ({ hook }) => ({ hook: { ...hook, timeout: 0 } }), /its time-out is 0/],
  ] as [string, (hook: HookFile) => object, RegExp][])
    test(`finds a hook ${name}`, () => {
      change(by);
      const { status, stdout } = verify();
      assert.equal(status, 1);
      assert.match(
        stdout.split('\n')[0] ?? '',
        /^FAIL {2}podman: hook: .*verify\.d\/jailrun\.json: .* jailrun oci install$/,
      );
      assert.match(stdout, message);
    });
  test('finds a hook that a file of the same name takes the place of', () => {
    const later = join(area.directory, 'later.d');
    mkdirSync(later);
    program('podman', `echo '      --hooks-dir strings   Set it (default [${hooks()},${later}])'`);
    writeFileSync(join(later, 'jailrun.json'), '{}');
    const { stdout } = verify();
    assert.match(stdout, /^FAIL {2}podman: hook: No file in .* registers jailrun/);
    rmSync(later, { recursive: true });
  });
  test('takes a hook under another name', () => {
    renameSync(file(), join(hooks(), 'zz.json'));
    assert.equal(verify().status, 0);
  });
  test('takes one that its role kills for being held', () => {
    podman('echo jailed: trying; exit 137');
    const { status, stdout } = verify();
    assert.equal(status, 0);
    assert.match(stdout, /is jailed, and was killed for what every role denies/);
  });
  for (const [word, message] of [
    ['unjailed', /runs in no jail\. Give the policy a default role for containers/],
    ['audited', /is jailed in audit mode, which denies nothing/],
    ['unknown', /cannot tell whether it is jailed/],
  ] as const)
    test(`finds a container that says it is ${word}`, () => {
      podman(`echo jailed: ${word}`);
      const { status, stdout } = verify();
      assert.equal(status, 1);
      assert.match(stdout, message);
    });
  test('finds that nothing was proved where no container starts', () => {
    podman('echo Error: no crun >&2; exit 127');
    const { status, stdout } = verify();
    assert.equal(status, 1);
    assert.match(
      stdout,
      /^FAIL {2}podman: jail: .* did not start \(status 127\), so nothing is proved: Error: no crun/m,
    );
    assert.doesNotMatch(stdout, /refusal/);
  });
  test('finds a container that starts with a role that does not exist', () => {
    podman('echo jailed: held', 'echo jailed: held; exit 0');
    assert.match(verify().stdout, /^FAIL {2}podman: refusal: .* started all the same/m);
  });
  test('asks about annotated containers with --role, and for the engine of --engine', () => {
    run(['oci', 'install', '--annotated']);
    podman('case "$*" in *io.jailrun.role=webserver*) echo jailed: held ;; esac');
    const { status, stdout } = verify('--role', 'webserver', '--engine', 'podman', '--json');
    const checks = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      checks.map(({ version, type, name, ok }) => [version, type, name, ok]),
      ['hook', 'jail', 'refusal'].map((name) => [1, 'check', `podman: ${name}`, true]),
    );
    assert.equal(status, 0);
    assert.equal(verify('--engine', 'lxc').status, 125);
  });
  test('finds a host without an engine', () => {
    const { status, stdout } = run(['oci', 'verify'], { env: { PATH: area.directory } });
    assert.equal(status, 1);
    assert.match(stdout, /^FAIL {2}engine: Nothing in PATH is podman, crio or dockerd/);
  });
});

describe('oci wrap', () => {
  let bundle: string;
  let runc: string;
  let config: string;
  beforeEach(() => {
    bundle = join(area.directory, 'bundle');
    config = join(bundle, 'config.json');
    mkdirSync(bundle);
    writeFileSync(config, '{"ociVersion":"1.0.2"}');
    runc = program('runc', 'echo "$0"; for word; do echo "[$word]"; done');
  });
  afterEach(() => rmSync(bundle, { recursive: true }));

  const wrap = (words: string[], cwd = area.directory) =>
    run(['oci', 'wrap', '--runtime', runc, '--', ...words], { cwd });
  const hasHooks = (file = config) => {
    const { createRuntime, poststop } = JSON.parse(readFileSync(file, 'utf8')).hooks ?? {};
    return [createRuntime, poststop].every((hooks) => hooks?.length === 1 && hooks[0].path === jailrun);
  };
  const told = (words: string[]) => `${runc}\n${words.map((word) => `[${word}]\n`).join('')}`;

  for (const [name, words] of [
    ['--bundle DIR', ['create', '--bundle', 'bundle', 'x']],
    ['--bundle=DIR', ['run', '--bundle=bundle', 'x']],
    ['-b DIR', ['create', '-b', 'bundle', 'x']],
    ['it behind the container’s name', ['create', 'x', '--bundle', 'bundle']],
    ['the last of several', ['create', '--bundle', '/none', '--bundle', 'bundle', 'x']],
    [
      'it between other options',
      [
        'create',
        '--pid-file',
        '--bundle',
        '--no-pivot',
        '--console-socket=/none',
        '--preserve-fds',
        '3',
        '-b',
        'bundle',
        'x',
      ],
    ],
    [
      'it behind global options of runc',
      [
        '--root',
        'run',
        '--debug',
        '--log=/l',
        '--log-format',
        'json',
        '--systemd-cgroup',
        '--criu',
        'c',
        '--rootless',
        'auto',
        'run',
        '-d',
        '--keep',
        '--no-subreaper',
        '--no-new-keyring',
        '-b',
        'bundle',
        'x',
      ],
    ],
    [
      'it behind global options of crun',
      [
        '--cgroup-manager',
        'systemd',
        '--log-level',
        'debug',
        '--root=/r',
        'create',
        '--bundle',
        'bundle',
        'x',
      ],
    ],
    ['another file by --config', ['create', '--bundle', '/none', '--config', '@config', 'x']],
    ['another file by -f', ['create', '-f', '@config', 'x']],
  ] as [string, string[]][])
    test(`adds the hook to the bundle that the arguments name as ${name}, and passes them on`, () => {
      const given = words.map((word) => (word === '@config' ? config : word));
      const { status, stdout, stderr } = wrap(given);
      assert.deepEqual([status, stdout, stderr], [0, told(given), '']);
      assert.ok(hasHooks());
    });
  test('takes the directory that it is called in where no bundle is named', () => {
    assert.equal(wrap(['create', 'x'], bundle).stdout, told(['create', 'x']));
    assert.ok(hasHooks());
    assert.equal(wrap(['create', '--bundle', '', '--', '--help'], bundle).status, 0);
    assert.ok(hasHooks());
  });
  test('is chosen by the program’s name, too, and takes the runtime out of PATH', () => {
    const link = join(area.directory, 'jailrun-runc');
    symlinkSync(jailrun, link);
    const { stdout } = run(['create', '--bundle', bundle, 'x'], { program: link });
    assert.equal(stdout, told(['create', '--bundle', bundle, 'x']));
    assert.ok(hasHooks());
    rmSync(link);
  });
  test('leaves bundles alone where nothing is begun', () => {
    for (const words of [
      [],
      ['--version'],
      ['-v'],
      ['--help'],
      ['create', '--help'],
      ['start', 'x'],
      ['state', 'x'],
      ['kill', 'x', '9'],
      ['delete', '--force', 'x'],
      ['exec', 'x', 'create'],
      ['--root', 'create', 'list'],
    ]) {
      assert.equal(wrap(words, bundle).stdout, told(words), words.join(' '));
      assert.ok(!hasHooks(), words.join(' '));
    }
  });
  for (const [name, words, message] of [
    [
      'a global option that it does not know',
      ['--new', 'create', 'x'],
      /--new may lead the runtime to another bundle/,
    ],
    [
      'an option of create that it does not know',
      ['create', '--new', '--bundle', 'bundle', 'x'],
      /--new may lead/,
    ],
    [
      '-bundle, which is two things to two runtimes',
      ['create', '-bundle', 'bundle', 'x'],
      /Spell it out: --bundle DIR/,
    ],
    ['-b=DIR, for the same reason', ['create', '-b=bundle', 'x'], /Spell it out/],
    ['--help=false, which is no question', ['create', '--help=false', 'x'], /--help=false may lead/],
    [
      'another file by a path that is not whole',
      ['create', '--config', 'bundle/config.json', 'x'],
      /Name the file by its whole path/,
    ],
    ['a command that it does not know', ['clone', 'x'], /does not know its command clone/],
    [
      'restore, whose processes execute nothing',
      ['restore', '--bundle', 'bundle', 'x'],
      /what is restored executes nothing/,
    ],
    ['a bundle without config.json', ['create', '--bundle', '/none', 'x'], /\/none\/config\.json: ENOENT/],
  ] as const)
    test(`refuses ${name}, and starts no runtime`, () => {
      const { status, stdout, stderr } = wrap([...words]);
      assert.deepEqual([status, stdout], [125, '']);
      assert.match(stderr, message);
      assert.ok(!hasHooks());
    });
  test('refuses a bundle that runtimes read differently', () => {
    writeFileSync(config, '{"Hooks":{}}');
    const { status, stdout, stderr } = wrap(['create', '--bundle', bundle, 'x']);
    assert.deepEqual([status, stdout], [125, '']);
    assert.match(
      stderr,
      /^jailrun: The container was not started: .*config\.json: "Hooks" is hooks to some runtimes/,
    );
  });
  test('refuses itself as the runtime, one that is missing, and none', () => {
    for (const words of [
      ['--runtime', jailrun, 'create'],
      ['--runtime', 'no-runtime', 'create'],
      ['--runtime=/none', 'create'],
    ])
      assert.match(run(['oci', 'wrap', ...words]).stderr, /There is no runtime .* beside jailrun itself/);
    for (const words of [[], ['--'], ['create', 'x'], ['--runtime'], ['--runtime=']])
      assert.match(run(['oci', 'wrap', ...words]).stderr, /No runtime is named/);
    const link = join(bin, 'jailrun-crun');
    symlinkSync(jailrun, link);
    symlinkSync(jailrun, join(bin, 'crun'));
    assert.match(run(['create'], { program: link, env: { PATH: bin } }).stderr, /There is no runtime crun/);
    for (const path of [link, join(bin, 'crun')]) rmSync(path);
  });
  test('becomes the runtime: its process, status, descriptors, environment and signals', async () => {
    program(
      'runc',
      'echo $$ "$A" "$NODE_OPTIONS" >&5; ls /proc/$$/fd >&5; grep Sig[BI] /proc/self/status >&5; exit 7',
    );
    const told = async (program: string, words: string[]) => {
      const child = spawn('sh', ['-c', 'trap "" HUP; exec "$@"', 'sh', program, ...words], {
        cwd: area.directory,
        stdio: ['ignore', 'inherit', 'inherit', 'ignore', 'ignore', 'pipe'],
        env: { PATH: process.env.PATH, A: '1', NODE_OPTIONS: '--no-warnings' },
      });
      let text = '';
      (child.stdio.at(5) as Readable).on('data', (data) => {
        text += data;
      });
      const [status] = await once(child, 'close');
      return { status, text: text.replace(`${child.pid} `, 'PID ') };
    };
    const args = ['create', '--preserve-fds', '3', '--bundle', bundle, 'x'];
    const plain = await told(runc, args);
    assert.match(plain.text, /^PID 1 --no-warnings\n/);
    assert.equal(plain.status, 7);
    assert.deepEqual(await told(jailrun, ['oci', 'wrap', '--runtime', runc, '--', ...args]), plain);
  });
});
