// The workspace that a CI system names, and the file for a step's summary: what is not the job's is refused.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse as parseYaml } from 'yaml';
import { distDirectory } from '../../src/launcher/addon.js';
import { stepSummary, withWorkspace, workspaceVariables } from '../../src/launcher/ci.js';
import type { JailrunError } from '../../src/launcher/error.js';
import { readBuiltIn } from '../../src/launcher/role.js';
import type { ResolvedRole } from '../../src/profiles/policy.js';

const roleNamed = (name: string) => readBuiltIn().role(name) as ResolvedRole;
const ci = roleNamed('ci');

let area: string;
let workspace: string;
const start = process.cwd();
before(() => {
  area = mkdtempSync('/srv/jailrun-test-');
  workspace = join(area, 'work/shop');
  mkdirSync(join(workspace, 'src'), { recursive: true });
  symlinkSync(workspace, join(area, 'link'));
  symlinkSync('/etc', join(area, 'etc'));
});
after(() => {
  process.chdir(start);
  rmSync(area, { recursive: true });
});

/** The values of the role's variables where the environment has these, started in a directory. */
const valuesIn = (directory: string, env: NodeJS.ProcessEnv, given: string[] = [], stack = [ci]) => {
  process.chdir(directory);
  return withWorkspace(stack, given, env);
};
const refusedIn = async (directory: string, value: string): Promise<string> => {
  const error = await valuesIn(directory, { GITHUB_WORKSPACE: value }).then(
    (values) => assert.fail(`${values}`),
    (error: JailrunError) => error,
  );
  assert.equal(error.code, 'WORKSPACE');
  return error.message.replaceAll(area, 'AT');
};

describe('the workspace of a CI system', () => {
  test('is what the role’s variable has, unless --var gives it another value', async () => {
    assert.deepEqual(await valuesIn(workspace, { GITHUB_WORKSPACE: workspace }), [`workspace=${workspace}`]);
    const given = ['workspace=/srv/other'];
    assert.deepEqual(await valuesIn(workspace, { GITHUB_WORKSPACE: workspace }, given), given);
  });
  test('is taken from below a repository’s top, too, and without the links on the way', async () => {
    const link = join(area, 'link');
    mkdirSync(join(workspace, '.git'));
    assert.deepEqual(await valuesIn(join(workspace, 'src'), { CI_PROJECT_DIR: link }), [
      `workspace=${workspace}`,
    ]);
  });
  test('is nothing to a role without the variable', async () => {
    assert.deepEqual(await valuesIn('/', { GITHUB_WORKSPACE: '/' }, [], [roleNamed('worker')]), []);
  });
  test('is none where no variable is set, or an empty one', async () => {
    assert.deepEqual(await valuesIn(workspace, {}), []);
    assert.deepEqual(await valuesIn(workspace, { GITHUB_WORKSPACE: '' }), []);
  });
  test('may be named by two variables that mean the same, and by no others', async () => {
    const both = (WORKSPACE: string) => valuesIn(workspace, { CI_PROJECT_DIR: workspace, WORKSPACE });
    assert.deepEqual(await both(join(area, 'link')), [`workspace=${workspace}`]);
    mkdirSync(join(area, '.git'));
    await assert.rejects(
      both(area),
      /and \$WORKSPACE another directory\. Name .*: --var workspace=DIRECTORY$/,
    );
    rmSync(join(area, '.git'), { recursive: true });
  });
  test('is refused as the root, and as what is the system’s', async () => {
    for (const place of [
      '/',
      '/etc',
      '/usr',
      '/var',
      '/var/lib',
      '/home',
      '/root',
      '/run',
      '/dev',
      '/proc',
      '/sys',
    ])
      assert.match(await refusedIn(place, place), /, which (lies in|holds) \//, place);
    assert.match(
      await refusedIn('/etc', '/etc'),
      /is \/etc, which holds \/etc\/\S+, which others outside act upon/,
    );
  });
  test('is refused below what others act upon, and where secrets are', async () => {
    assert.match(await refusedIn('/usr/lib', '/usr/lib/os-release'), /no directory/);
    assert.match(await refusedIn('/usr/lib', '/usr/lib'), /lies in (\/usr\/lib|\/lib), which is no job's/);
    assert.match(await refusedIn('/etc/cron.d', '/etc/cron.d'), /lies in \/etc\/cron\.d/);
  });
  test('is refused as a link to the system’s', async () => {
    assert.match(await refusedIn('/etc', join(area, 'etc')), /is AT\/etc, which holds \/etc\//);
  });
  test('is refused where jailrun is not started in it', async () => {
    assert.match(await refusedIn('/srv', workspace), /started outside of it, in \/srv\./);
    mkdirSync(`${workspace}-2`);
    assert.match(await refusedIn(`${workspace}-2`, workspace), /started outside of it/);
  });
  test('is refused above where jailrun is started where that is no repository’s', async () => {
    assert.match(
      await refusedIn(workspace, area),
      /is AT, above where jailrun is started, and no repository's/,
    );
    assert.match(await refusedIn(workspace, join(workspace, '..')), /AT\/work, above where/);
  });
  test('is refused as a path that is not whole, and one that leads nowhere', async () => {
    assert.match(await refusedIn(workspace, '.'), /is \., which is no whole path/);
    assert.match(await refusedIn(workspace, '~/x'), /is ~\/x, which is no whole path/);
    assert.match(await refusedIn(workspace, join(area, 'none')), /where no directory is found \(ENOENT\)/);
  });
  test('is shown without what would steer a terminal', async () => {
    assert.match(await refusedIn(workspace, '/srv/\u001b[2J\n'), /is \/srv\/\\u\{1b\}\[2J\\u\{a\}, where/);
  });
});

test('every variable of a CI system gets through to the launcher', () => {
  for (const name of workspaceVariables) {
    const { status, stderr } = spawnSync(
      join(distDirectory, 'jailrun'),
      ['--json', '--role', 'ci', '--', 'true'],
      {
        cwd: '/etc',
        env: { [name]: '/etc' },
        encoding: 'utf8',
      },
    );
    assert.equal(status, 125);
    assert.equal(JSON.parse(stderr).code, 'WORKSPACE');
    assert.match(stderr, new RegExp(`\\$${name}, from which`));
  }
});

describe('the file for a step’s summary', () => {
  test('is what GitHub Actions names', async () => {
    const file = join(area, 'step_summary_1');
    writeFileSync(file, '');
    assert.equal(await stepSummary({ GITHUB_STEP_SUMMARY: file }), file);
    assert.equal(await stepSummary({}), undefined);
  });
  test('is refused in what is the system’s', async () => {
    for (const file of ['/etc/cron.d/jobs', '/root/.ssh/authorized_keys', join(area, 'etc/cron.d/jobs')])
      await assert.rejects(
        stepSummary({ GITHUB_STEP_SUMMARY: file }),
        /in a directory that lies in \/\S+, which/,
      );
    await assert.rejects(
      stepSummary({ GITHUB_STEP_SUMMARY: '/etc/motd' }),
      /in a directory that holds \/etc\//,
    );
  });
});

describe('the action for GitHub', () => {
  interface Action {
    inputs: Record<string, { default?: string; required?: boolean }>;
    runs: { steps: { run: string; env: Record<string, string> }[] };
  }
  const action = parseYaml(
    readFileSync(join(distDirectory, '../deploy/github/action.yml'), 'utf8'),
  ) as Action;
  const step = action.runs.steps[0] ?? assert.fail();
  const stub = `#!/bin/bash
{ printf '%s\\n' "$0" "$@"; env | grep -c JAILRUN_; } | sed 's,.*/bin/,,' >"$SEEN"
exit "$END"
`;
  /** Runs the step with a stand-in for jailrun, and for sudo, as root or as another user. */
  const runStep = (inputs: Record<string, string>, end: number, as: string[] = []) => {
    const bin = join(area, 'bin');
    rmSync(bin, { recursive: true, force: true });
    mkdirSync(bin);
    chmodSync(area, 0o755);
    for (const name of ['jailrun', 'sudo']) {
      const sudo = '#!/bin/bash\n[ "$1" = --preserve-env ] && shift\necho "$1" >>"$SEEN.sudo"\nexec "$@"\n';
      if (name === 'sudo' || end !== 127)
        writeFileSync(join(bin, name), name === 'sudo' ? sudo : stub, { mode: 0o755 });
    }
    const [output, seen] = ['output', 'seen'].map((name) => join(area, name)) as [string, string];
    for (const file of [output, seen, `${seen}.sudo`]) {
      writeFileSync(file, '');
      chmodSync(file, 0o666);
    }
    const given = Object.entries(step.env).map(([name, value]) => {
      const input = /^\$\{\{ inputs\.(\w+) \}\}$/.exec(value)?.[1] ?? assert.fail(value);
      return [name, inputs[input] ?? action.inputs[input]?.default ?? ''];
    });
    const [program = '', ...words] = [
      ...as,
      'bash',
      '--noprofile',
      '--norc',
      '-eo',
      'pipefail',
      '-c',
      step.run,
    ];
    const { status, stdout } = spawnSync(program, words, {
      encoding: 'utf8',
      env: {
        ...Object.fromEntries(given),
        PATH: `${bin}:/usr/bin:/bin`,
        SEEN: seen,
        END: String(end),
        GITHUB_OUTPUT: output,
        GITHUB_WORKSPACE: workspace,
      },
    });
    const read = (file: string) => readFileSync(file, 'utf8').split('\n').slice(0, -1);
    return { status, stdout, outputs: read(output), seen: read(seen), sudo: read(`${seen}.sudo`) };
  };
  const bash = ['bash', '--noprofile', '--norc', '-eo', 'pipefail', '-c'];

  test('runs the script in the role, as one argument, whatever is in it', () => {
    const run = 'echo "$HOME" $(id) `id` "';
    const { status, seen, sudo, outputs } = runStep({ run, options: '--audit\n--name=a b\n' }, 0);
    assert.deepEqual(seen, ['jailrun', '--role', 'ci', '--audit', '--name=a b', '--', ...bash, run, '0']);
    assert.deepEqual([status, outputs, sudo], [0, ['status=0', 'started=true'], []]);
  });
  test('ends as the script does', () => {
    const { status, outputs, stdout } = runStep({ run: 'false' }, 3);
    assert.deepEqual([status, outputs, stdout], [3, ['status=3', 'started=true'], '']);
  });
  test('tells a jail that could not start from a script that failed', () => {
    for (const end of [125, 127]) {
      const { status, outputs, stdout } = runStep({ run: 'true' }, end);
      assert.deepEqual([status, outputs], [end, [`status=${end}`, 'started=false']]);
      assert.match(stdout, /^::error title=jailrun::The script was not started/);
    }
  });
  test('becomes root where the runner is not, and gives the workspace back', () => {
    const nobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
    // The stand-in for sudo lets nobody become root, so that chown changes nothing that is not nobody's.
    spawnSync('chown', ['-R', '65534:65534', area]);
    const { status, seen, sudo } = runStep({ run: 'true' }, 0, nobody);
    assert.deepEqual([status, sudo, seen[0]], [0, ['env', 'chown'], 'jailrun']);
  });
});
