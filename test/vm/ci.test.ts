// A job of a CI system in the role ci, as the README and deploy/ start it, and what its summary says.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { parse } from 'yaml';
import { attach, jailrun, leave, root, until } from './jail.js';

const area = '/mnt/ext4/ci';
/** As GitHub's runner has them: the workspace, and beside it what is the runner's own. */
const workspace = `${area}/shop/shop`;
const temp = `${area}/_temp`;
const summary = `${temp}/_runner_file_commands/step_summary_1`;
const env = { PATH: `${join(root, 'dist')}:/usr/bin:/bin`, HOME: workspace };
const github = { ...env, GITHUB_WORKSPACE: workspace, GITHUB_STEP_SUMMARY: summary };

/** It writes what it made, and looks for what is none of its business, under a name that would look like Markdown. */
const makefile = `test:
	@echo made >made
	@-cat /etc/shadow
	@-cat '${temp}/\`\` **token**'
	@-echo forged >>${summary}
	@false
`;

before(attach);
after(leave);
beforeEach(() => {
  rmSync(area, { recursive: true, force: true });
  for (const directory of [workspace, join(summary, '..')]) mkdirSync(directory, { recursive: true });
  writeFileSync(join(workspace, 'Makefile'), makefile);
  writeFileSync(`${temp}/\`\` **token**`, 'secret\n');
  writeFileSync(summary, '');
});
after(() => rmSync(area, { recursive: true, force: true }));

/** Whatever the job made, and what its summary has of denials. */
const outcome = (file = summary) => ({
  made: existsSync(join(workspace, 'made')),
  denied: readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('- '))
    .map((line) => line.replace(/\[\d+\]/, '[N]')),
});

const shadow =
  '- `read /etc/shadow` by `cat[N]` (EACCES) by files.deny /etc/shadow\\* of \\@secrets (built-in/sets.yaml:';
const token = `- \`\`\`read ${temp}/\`\` **token**\`\`\` by \`cat[N]\` (EACCES): role ci does not grant it`;
const forged = `- \`write ${summary}\` by \`sh[N]\` (EACCES): role ci does not grant it`;

describe('a step of GitHub Actions', () => {
  /** The line of the README, taken apart as the runner does: the first word is the program. */
  const line = /^ *shell: (bash -c .*)$/m.exec(readFileSync(join(root, 'README.md'), 'utf8'))?.[1] ?? '';
  const [, word = ''] = /^bash -c "(.*)"$/.exec(line) ?? [];
  const shell = (script: string): { status: number | null; stdout: string; stderr: string } => {
    const file = `${temp}/script.sh`;
    writeFileSync(file, script);
    const argument = word.replaceAll('\\"', '"').replace('{0}', file);
    return spawnSync('bash', ['-c', argument], { cwd: workspace, env: github, encoding: 'utf8' });
  };

  test('fails as its script does, and has a summary of what was denied that nobody forged', () => {
    const { status, stdout, stderr } = shell('echo "one  two"\nmake test\n');
    assert.equal(status, 2, stderr);
    assert.equal(stdout, 'one  two\n');
    const { made, denied } = outcome();
    assert.equal(made, true);
    assert.ok(denied[0]?.startsWith(shadow), denied[0]);
    assert.deepEqual(denied.slice(1), [token, forged]);
    const text = readFileSync(summary, 'utf8');
    assert.doesNotMatch(text, /^forged/m);
    const policy = parse(/```yaml\n(.*?)```/s.exec(text)?.[1] ?? '');
    assert.deepEqual(policy.roles['ci-here'].files, {
      read: [`${temp}/\`\` [*][*]token[*][*]`],
      write: [summary],
    });
    assert.match(stderr, /^jailrun: cat\[\d+\] was denied read \/etc\/shadow/m);
  });
  test('has no summary where nothing was denied', () => {
    const { status, stderr } = shell('echo made >made\n');
    assert.deepEqual([status, stderr, outcome()], [0, '', { made: true, denied: [] }]);
  });
  test('keeps its workspace when the policies are read anew', async () => {
    const job = spawn(jailrun, ['--role', 'ci', '--', 'sh', '-c', 'echo 1 >made; read line; echo 2 >again'], {
      cwd: workspace,
      env: github,
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    await until(() => existsSync(join(workspace, 'made')));
    const { status, stderr } = spawnSync(jailrun, ['reload'], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    job.stdin.end('on\n');
    const [end] = await once(job, 'exit');
    assert.deepEqual([end, readFileSync(join(workspace, 'again'), 'utf8')], [0, '2\n']);
  });
  test('ends with 125 and without a step where the workspace is not the job’s', () => {
    const { status, stderr } = spawnSync(jailrun, ['--role', 'ci', '--', 'touch', `${area}/ran`], {
      cwd: workspace,
      env: { ...github, GITHUB_WORKSPACE: '/' },
      encoding: 'utf8',
    });
    assert.equal(status, 125);
    assert.match(stderr, /^jailrun: \$GITHUB_WORKSPACE, .* is \/, above where jailrun is started/);
    assert.equal(existsSync(`${area}/ran`), false);
  });
});

test('a job of GitLab fails as its script does, and leaves a summary that it could not write', () => {
  const { test: job } = parse(readFileSync(join(root, 'deploy/gitlab/gitlab-ci.yml'), 'utf8'));
  const run = (lines: string[]) =>
    spawnSync('bash', ['-eo', 'pipefail', '-c', lines.join('\n')], {
      cwd: workspace,
      env: {
        ...env,
        CI_PROJECT_DIR: workspace,
        SUMMARY: job.variables.SUMMARY.replace('$CI_PROJECT_DIR', workspace),
      },
      encoding: 'utf8',
    });
  const { status, stderr } = run(job.script);
  assert.equal(status, 2, stderr);
  assert.equal(run(job.after_script).status, 0);
  const { made, denied } = outcome(join(workspace, 'jailrun.md'));
  assert.equal(made, true);
  assert.equal(denied.length, 3);
});
