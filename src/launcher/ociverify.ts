// oci verify: what of this host's containers would run unjailed. An engine passes a hook by in silence whose program
// does not exist, or whose conditions no container meets, so files alone prove little: where podman is, a container
// of it tells what holds it.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { distDirectory } from './addon.js';
import type { HostReport } from './doctor.js';
import { type Engine, findEngines, findProgram } from './engines.js';
import { JailrunError } from './error.js';
import { distrust, jailStages } from './hook.js';
import { conditions, type HookText, isJailrun, readIfAny } from './hooksd.js';
import { check, type HostCheck } from './host.js';

export interface VerifyRequest {
  /** The directory that podman is to read; the engines' own unless given. */
  hooksDir?: string;
  /** The engine that is asked about; all that are here unless given. */
  engine?: string;
  /** The role that the probe's container asks for; the host's default unless given. */
  role?: string;
}

const engineNames = ['podman', 'cri-o', 'docker'];

/** What `docker info` shows as runtimes, and the file that they come from. */
const dockerConfiguration = '/etc/docker/daemon.json';

const failed = (message: string): never => {
  throw new JailrunError('FAILS_OPEN', message);
};

/** Checks whether the containers of this host's engines are jailed. Throws a JailrunError USAGE or HOOKS_DIR. */
export async function verify({ hooksDir, engine, role }: VerifyRequest): Promise<HostReport[]> {
  if (engine !== undefined && !engineNames.includes(engine))
    throw new JailrunError('USAGE', `--engine ${engine} is none that is known: ${engineNames.join(', ')}.`);
  const asked = (name: string) => engine === undefined || engine === name;
  const engines = (await findEngines())
    .filter(({ name }) => asked(name))
    .map((one) => (hooksDir === undefined ? one : { ...one, directories: [resolve(hooksDir)] }));
  const checks = engines.flatMap((one) => checkEngine(one, hooksDir, role));
  const docker = readIfAny(dockerConfiguration);
  if (
    asked('docker') &&
    (docker !== undefined || findProgram('dockerd') !== undefined || engine === 'docker')
  )
    checks.push(check('docker: runtime', () => checkDocker(docker ?? '{}')));
  if (checks.length === 0)
    checks.push(
      check('engine', () =>
        failed(
          `Nothing in PATH is ${engine ?? 'podman, crio or dockerd'}, so nothing can be proved. Install it, or look where it is: PATH=… jailrun oci verify`,
        ),
      ),
    );
  return checks.map(({ name, found, error }) => ({
    version: 1,
    type: 'check',
    name,
    ok: !error,
    ...(error ? { code: error.code, message: error.message } : found !== undefined && { found }),
  }));
}

function checkEngine(engine: Engine, hooksDir: string | undefined, role: string | undefined): HostCheck[] {
  const { name, program } = engine;
  const checks = [check(`${name}: hook`, () => checkHook(engine, role))];
  if (program === undefined) return checks;
  const podman = hooksDir === undefined ? [program] : [program, '--hooks-dir', resolve(hooksDir)];
  const jail = check(`${name}: jail`, () => probeJail(podman, role));
  checks.push(jail);
  // Where no container starts, one that does not start proves nothing.
  if (jail.error?.code !== 'PROBE') checks.push(check(`${name}: refusal`, () => probeRefusal(podman)));
  return checks;
}

/** The engine's own files: one of them must register a jailrun, and the engine must not pass it by. */
function checkHook({ name, directories }: Engine, role: string | undefined): string {
  const files = new Map(
    directories.flatMap((directory) =>
      listJson(directory).map((file) => [file, join(directory, file)] as const),
    ),
  );
  const own = [...files.values()].filter((file) => isJailrun(readIfAny(file) ?? ''));
  const where = directories.join(', ') || 'no directory';
  if (own.length === 0)
    return failed(
      `No file in ${where} registers jailrun, so containers of ${name} run unjailed. Say: jailrun oci install`,
    );
  const faults = own.map((file) => [file, faultOf(JSON.parse(readIfAny(file) as string), role)] as const);
  const whole = faults.find(([, fault]) => fault === undefined);
  if (whole) return whole[0];
  const [[file, fault] = []] = faults;
  return failed(`${file}: ${fault} Say: jailrun oci install`);
}

function listJson(directory: string): string[] {
  try {
    return readdirSync(directory).filter((file) => file.endsWith('.json'));
  } catch {
    return [];
  }
}

/** Why the hook would not run for a container, or not jail it; undefined where it would. */
function faultOf({ hook, when, stages }: HookText, role: string | undefined): string | undefined {
  const path = String(hook?.path);
  let real: string;
  try {
    real = realpathSync(path);
    accessSync(real, constants.X_OK);
  } catch (error) {
    return `its program ${path} cannot be executed (${(error as NodeJS.ErrnoException).code}), so it is passed by in silence.`;
  }
  const untrusted = distrust(real);
  if (untrusted !== undefined) return untrusted;
  if (hook?.timeout === 0) return 'its time-out is 0, at which runc ends it at once.';
  const missing = jailStages.find((stage) => !Array.isArray(stages) || !stages.includes(stage));
  if (missing !== undefined) return `it lacks the stage ${missing}.`;
  if (isDeepStrictEqual(when, conditions.always)) return undefined;
  if (!isDeepStrictEqual(when, conditions.annotated))
    return `its conditions (when) are not those that jailrun writes, so containers may go by it unjailed.`;
  if (role !== undefined) return undefined;
  return 'it is for containers with the annotation io.jailrun.role, and others run unjailed; to ask about those with it: --role NAME. For all containers:';
}

/**
 * Runs the probe (native/probe.c) in a container, with what it needs to tell: its own file, a bpffs, which no role
 * lets it list, and bpf(2), which a filter of system calls would answer in the kernel's place.
 */
function runProbe(
  podman: string[],
  annotation: string | undefined,
): { status: number | null; word?: string; said: string } {
  const root = mkdtempSync('/run/jailrun-probe-');
  try {
    const [program = '', ...options] = podman;
    const words = [
      ...['run', '--rm', '--network', 'none', '--security-opt', 'seccomp=unconfined'],
      ...['--security-opt', 'label=disable'],
      ...['--volume', `${realpathSync(join(distDirectory, 'jailrun'))}:/jail-probe:ro`],
      ...['--volume', '/sys/fs/bpf:/sys/fs/bpf:ro'],
      ...(annotation === undefined ? [] : ['--annotation', `io.jailrun.role=${annotation}`]),
      ...['--rootfs', root, '/jail-probe', '/sys/fs/bpf'],
    ];
    const { status, stdout, stderr, error } = spawnSync(program, [...options, ...words], {
      encoding: 'utf8',
    });
    const word = [...(stdout ?? '').matchAll(/^jailed: (\w+)$/gm)].at(-1)?.[1];
    const said = `${error?.message ?? stderr}`.trim().split('\n').at(-1) ?? '';
    return { status, said, ...(word !== undefined && { word }) };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function probeJail(podman: string[], role: string | undefined): string {
  const { status, word, said } = runProbe(podman, role);
  const which =
    role === undefined ? 'a container without an annotation' : `a container with io.jailrun.role=${role}`;
  switch (word) {
    case 'held':
      return `${which} is jailed, and was denied what every role denies`;
    case 'trying':
      return `${which} is jailed, and was killed for what every role denies`;
    case 'audited':
      return failed(`${which} is jailed in audit mode, which denies nothing. Give its role mode: enforce.`);
    case 'unjailed':
      return failed(
        `${which} runs in no jail. ${role === undefined ? 'Give the policy a default role for containers, or ask about one that names its role: --role NAME' : 'Say: jailrun oci install'}`,
      );
    case 'unknown':
      return failed(`${which} cannot tell whether it is jailed. See: jailrun doctor`);
    default:
      throw new JailrunError(
        'PROBE',
        `${which} did not start (status ${status}), so nothing is proved: ${said}. Where the hook refuses it, its role must be one that the policy lets containers have: --role NAME`,
      );
  }
}

/** A role that there cannot be: where a container starts with it, the hook's failure does not stop it. */
const impossibleRole = 'no/such/role';

function probeRefusal(podman: string[]): string {
  const { status, word } = runProbe(podman, impossibleRole);
  if (word === undefined && status !== 0) return 'a container whose role does not exist does not start';
  return failed(
    `A container with io.jailrun.role=${impossibleRole}, which does not exist, started all the same. Say: jailrun oci install`,
  );
}

/** Docker has no hooks: its runtime must be jailrun, for every container. */
function checkDocker(text: string): string {
  const mend = `See "Docker" in jailrun(1): runtimes and default-runtime in ${dockerConfiguration}.`;
  let said: {
    runtimes?: Record<string, { path?: string; runtimeArgs?: string[] }>;
    'default-runtime'?: string;
  };
  try {
    said = JSON.parse(text) ?? {};
  } catch (error) {
    return failed(`${dockerConfiguration} is no JSON: ${(error as Error).message}. ${mend}`);
  }
  const own = Object.entries(said.runtimes ?? {}).filter(([, { path, runtimeArgs }]) =>
    isWrapper(path, runtimeArgs),
  );
  if (own.length === 0)
    return failed(`No runtime of Docker's is jailrun, so its containers run unjailed. ${mend}`);
  const byDefault = own.find(([name]) => name === said['default-runtime']);
  const [first] = own;
  if (!byDefault)
    return failed(
      `Only containers with --runtime ${first?.[0]} are jailed: it is not Docker's default-runtime. ${mend}`,
    );
  const [name, { path = '' }] = byDefault;
  let real: string;
  try {
    real = realpathSync(path);
    accessSync(real, constants.X_OK);
  } catch (error) {
    return failed(
      `Runtime ${name}: ${path} cannot be executed (${(error as NodeJS.ErrnoException).code}). ${mend}`,
    );
  }
  return distrust(real) === undefined ? `${name}, which is ${path}` : failed(distrust(real) as string);
}

const isWrapper = (path = '', [first, second]: string[] = []): boolean =>
  /^jailrun-(runc|crun)$/.test(basename(path)) ||
  (basename(path) === 'jailrun' && first === 'oci' && second === 'wrap');
