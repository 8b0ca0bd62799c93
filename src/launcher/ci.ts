// What CI systems tell a job by its environment: where its workspace is, and where its summary goes.
//
// Both are paths that root then grants or writes, and both are the caller's to choose, who may be a job's author.
// So neither is believed where it would reach what is not the job's.
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, resolve as resolvePath, sep } from 'node:path';
import { follow, fromByteString, toByteString } from '../profiles/locate.js';
import type { ResolvedRole } from '../profiles/policy.js';
import { JailrunError } from './error.js';
import { hostLinks } from './role.js';
import { printable } from './verdict.js';

/**
 * The variables that name the directory of the job's sources: in GitHub Actions (and Forgejo's and Gitea's), GitLab,
 * Azure Pipelines, Buildkite, Bitbucket, Drone, Woodpecker, Travis and Jenkins. The front lets them through to here
 * (native/launcher.c).
 */
export const workspaceVariables = [
  'GITHUB_WORKSPACE',
  'CI_PROJECT_DIR',
  'BUILD_SOURCESDIRECTORY',
  'BUILDKITE_BUILD_CHECKOUT_PATH',
  'BITBUCKET_CLONE_DIR',
  'DRONE_WORKSPACE',
  'CI_WORKSPACE',
  'TRAVIS_BUILD_DIR',
  'WORKSPACE',
] as const;

/** The variable of roles that they give a value. */
const workspace = 'workspace';

/**
 * The values of the stack's variables: those given, NAME=VALUE, and that of `workspace`, where a role declares it and
 * none is given, from the CI system. Throws a JailrunError WORKSPACE for a directory that is not the job's.
 */
export async function withWorkspace(
  stack: readonly ResolvedRole[],
  given: readonly string[] = [],
  env: Readonly<NodeJS.ProcessEnv> = process.env,
): Promise<string[]> {
  const wanted = stack.some(({ vars }) => vars.includes(workspace));
  if (!wanted || given.some((text) => text.startsWith(`${workspace}=`))) return [...given];
  const set = workspaceVariables.filter((name) => env[name]);
  const found: { name: string; directory: string }[] = [];
  for (const name of set) found.push({ name, directory: await ownDirectory(name, env[name] ?? '') });
  const [first] = found;
  if (!first) return [...given];
  const other = found.find(({ directory }) => directory !== first.directory);
  if (other)
    throw refused(first.name, `is ${printable(first.directory)}, and $${other.name} another directory`);
  return [...given, `${workspace}=${first.directory}`];
}

/**
 * The directory itself, with no link on the way. A job runs in its workspace, so a value alone, without the working
 * directory, leads nowhere; and from there it leads up no further than to the top of a repository, where other jobs'
 * directories and the runner's own are not.
 */
async function ownDirectory(name: string, text: string): Promise<string> {
  const shown = printable(text);
  if (!text.startsWith('/')) throw refused(name, `is ${shown}, which is no whole path`);
  let directory: string;
  let here: string;
  try {
    directory = realpathSync.native(text);
    if (!statSync(directory).isDirectory()) throw refused(name, `is ${shown}, which is no directory`);
    here = realpathSync.native('.');
  } catch (error) {
    if (error instanceof JailrunError) throw error;
    throw refused(
      name,
      `is ${shown}, where no directory is found (${(error as NodeJS.ErrnoException).code})`,
    );
  }
  if (here !== directory && !here.startsWith(directory === sep ? sep : `${directory}${sep}`))
    throw refused(name, `is ${shown}, and jailrun is started outside of it, in ${printable(here)}`);
  if (here !== directory && !existsSync(join(directory, '.git')))
    throw refused(name, `is ${shown}, above where jailrun is started, and no repository's (it has no .git)`);
  const foreign = await foreignIn(directory);
  if (foreign !== undefined) throw refused(name, `is ${shown}, which ${foreign}`);
  return directory;
}

function refused(name: string, what: string): JailrunError {
  return new JailrunError(
    'WORKSPACE',
    `$${name}, from which the role's workspace would be taken, ${what}. Name the job's directory: --var ${workspace}=DIRECTORY`,
  );
}

/** What in, or above, the directory is not a job's, in words; undefined where nothing is. */
async function foreignIn(directory: string): Promise<string | undefined> {
  const { liesBelow, pathsOfSet } = await import('./check.js');
  const links = hostLinks(new Set());
  const objects = (set: string) =>
    pathsOfSet(set).map((path) => ({
      path,
      object: fromByteString(follow(toByteString(path), links).object),
    }));
  const deputies = objects('deputies');
  const below = [...deputies, ...objects('secrets')].find(({ object }) => liesBelow(directory, object));
  if (below) return `lies in ${below.path}, which is no job's`;
  const above = deputies.find(({ object }) => liesBelow(object, directory));
  return above && `holds ${above.path}, which others outside act upon`;
}

/**
 * The file for the step's summary in GitHub Actions, with no link on the way; undefined elsewhere. Throws a
 * JailrunError SUMMARY for one that is no job's.
 */
export async function stepSummary(
  env: Readonly<NodeJS.ProcessEnv> = process.env,
): Promise<string | undefined> {
  const file = env.GITHUB_STEP_SUMMARY;
  if (!file) return undefined;
  const foreign = await foreignIn(realPlace(dirname(resolvePath(file))));
  if (foreign === undefined) return file;
  throw new JailrunError(
    'SUMMARY',
    `$GITHUB_STEP_SUMMARY is ${printable(file)}, in a directory that ${foreign}. Unset it, or name a file: --summary FILE`,
  );
}

/** What is not there, opening the file will tell. */
function realPlace(directory: string): string {
  try {
    return realpathSync.native(directory);
  } catch {
    return directory;
  }
}
