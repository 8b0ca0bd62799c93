// The command line: which words there are, and what does what they say.
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { jailrunVersion } from './addon.js';
import { JailrunError } from './error.js';
import type { VerifyRequest } from './ociverify.js';
import type { RunRequest } from './run.js';

/** Where what is asked for goes. */
export interface Answer {
  /** Standard output. */
  write(text: string): void;
  /** The status to end with, where that is not 0. */
  end(status: number): void;
  /** What went wrong; of what jailrun has to say of a run, where --report-fd names its place. */
  fail(text: string, ofRun: boolean): void;
}

type RunOptions = Omit<RunRequest, 'command' | 'position'>;

/** What decides which roles there are, and which of them is meant. */
type RoleOptions = Pick<RunRequest, 'role' | 'policy' | 'var' | 'json'>;

/** Of the descriptors, the standard streams are the command's. */
function descriptor(text: string): number {
  const number = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (number > 2 && number < 2 ** 31) return number;
  throw new InvalidArgumentError('Name a descriptor from 3 on: jailrun --report-fd 3 … 3>report');
}

type Print = (rows: readonly object[], json: boolean | undefined, words: () => readonly string[]) => void;

/** Prints rows of JSON, or else what they say in words. */
const printer =
  ({ write }: Answer): Print =>
  (rows, json, words) => {
    const lines = json ? rows.map((row) => JSON.stringify(row)) : words();
    write(lines.map((line) => `${line}\n`).join(''));
  };

/** For an option that may be given several times. */
const collect = (value: string, earlier: string[] = []): string[] => [...earlier, value];

/** The options of a subcommand; those in front of it count, too. */
function roleOptions(command: Command): RoleOptions {
  const before = command.parent?.opts<RoleOptions>();
  const own = command.opts<RoleOptions>();
  const both = (name: 'role' | 'var') => [...(before?.[name] ?? []), ...(own[name] ?? [])];
  return { ...before, ...own, role: both('role'), var: both('var') };
}

/**
 * The options end at the first `--`: no parser sees what follows, so no word of the command can be
 * taken for an option or a subcommand. A `--` behind the command's name is the command's.
 */
function optionsOf(args: string[]): string[] {
  const end = args.indexOf('--');
  return end < 0 ? args : args.slice(0, end);
}

function buildProgram(args: string[], answer: Answer): Command {
  const options = optionsOf(args);
  const print = printer(answer);
  const program = new Command('jailrun')
    .description('Run any command in a kernel-enforced role.')
    .usage('[options] [--] COMMAND [ARG…]')
    .helpOption('-h, --help', 'show this help')
    .version(jailrunVersion(), '--version', 'show the version')
    .argument('[command...]')
    .option(
      '--role <name>',
      'what the command may do (needed); several of them: what every one permits',
      collect,
    )
    .option('--policy <file>', 'read this policy file (YAML) before the system’s and the built-in ones')
    .option('--var <name=value>', 'bind a variable that the role declares; repeatable', collect)
    .option('--audit', 'deny nothing; report what would have been denied')
    .option('--name <name>', 'the pod’s name in reports and in its cgroup')
    .option('--exec', 'become the command: no supervisor stays behind (for services)')
    .option('--json', 'reports and errors as JSON lines')
    .option('--report-fd <number>', 'reports and errors go to this descriptor', descriptor)
    .option('--summary <file>', 'add what was denied to this file, as Markdown')
    .enablePositionalOptions()
    .passThroughOptions()
    .exitOverride()
    .configureOutput({ outputError: () => {}, writeOut: answer.write })
    .addHelpText(
      'after',
      `
Exit status: the command's own; 128+n when signal n ended it; 125 when jailrun
itself failed, so that the command never started; 126 when the command cannot be
invoked; 127 when it is not found.

Example: jailrun --role webserver -- nginx -g 'daemon off;'`,
    );
  program.action(async (operands: string[], chosen: RunOptions) => {
    const command = operands.length > 0 ? options.length - operands.length : options.length + 1;
    if (command >= args.length) {
      throw new JailrunError('USAGE', 'No command is named. Say: jailrun --role NAME -- COMMAND [ARG…]');
    }
    const { run } = await import('./run.js');
    // The front counts its own name as argument 0.
    await run({ ...chosen, command: args[command] as string, position: command + 1 });
  });
  // Denials are reported by a process of their own, see report.ts; the front starts it.
  program.command('report-denials <state>', { hidden: true }).action(async (state: string) => {
    const denials = (await import('./report.js')).reportDenials(state);
    if (!denials?.pod.summary) return;
    const { summary, json } = denials.pod;
    try {
      (await import('./summary.js')).addSummary(summary, denials);
    } catch (error) {
      // The denials are told already.
      answer.fail(describe(error, json), false);
    }
  });
  program
    .command('attach')
    .description('load the programs into the kernel and pin them, so that later runs find them')
    .action(async () => {
      const { attach, attachLines } = await import('./admin.js');
      const report = await attach();
      print([report], false, () => attachLines(report));
    });
  program
    .command('detach')
    .description('remove the programs; refused while pods live')
    .option('--force', 'even while pods live: what runs in them is then held by nothing')
    .action(async ({ force }: { force?: true }) => {
      const { detach, detachLines } = await import('./admin.js');
      print([], false, () => detachLines(detach({ force: force === true })));
    });
  program
    .command('reload')
    .description('read the policies anew and change the roles of all pods in one step, or of none')
    .option('--dry-run', 'say what would change for which pods, and change nothing')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { dryRun } = command.opts<{ dryRun?: true }>();
      const { reload, reloadLines } = await import('./reload.js');
      const reports = await reload({ dryRun: dryRun === true });
      print(reports, roleOptions(command).json, () => reloadLines(reports, dryRun === true));
    });
  program
    .command('status')
    .description('say what is attached, which pods live and how full the kernel’s maps are')
    .option('--json', 'as a line of JSON')
    .action(async (_, command: Command) => {
      const { status, statusLines } = await import('./admin.js');
      const report = status();
      print([report], roleOptions(command).json, () => statusLines(report));
    });
  program
    .command('ps')
    .description('list the pods with their processes')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { describePods, psLines } = await import('./ps.js');
      const pods = describePods();
      print(pods, roleOptions(command).json, () => psLines(pods));
    });
  program
    .command('kill')
    .description('kill every process of a pod')
    .argument('<pod>', 'its name, or the beginning of it')
    .action(async (pod: string) => {
      const name = await (await import('./ps.js')).kill(pod);
      print([], false, () => [`Killed: ${name}`]);
    });
  program
    .command('enroll')
    .description('jail what runs already, or what will, by its process, cgroup or file')
    .option('--pid <n>', 'a process with all its threads')
    .option('--descendants', 'with --pid: its children and theirs as well')
    .option('--cgroup <path>', 'what is in a cgroup or below it, and whatever gets there later')
    .option('--exe <file>', 'whoever executes a file, or what replaces it')
    .option('--role <name>', 'what they may do (needed); repeatable, as for a run', collect)
    .option('--policy <file>', 'read this policy file, too')
    .option('--var <name=value>', 'bind a variable that the role declares; repeatable', collect)
    .option('--audit', 'deny nothing; report what would have been denied')
    .option('--name <name>', 'the pod’s name')
    .option('--json', 'as a line of JSON')
    .action(async (_, command: Command) => {
      const { json, ...request } = roleOptions(command);
      const { enroll, enrollLines } = await import('./enroll.js');
      const report = await enroll(request);
      print([report], json, () => enrollLines(report));
    });
  program
    .command('unenroll')
    .description('enroll nothing more in a pod of enroll; what is in it stays there')
    .argument('<pod>', 'its name, or the beginning of it')
    .action(async (pod: string) => {
      const { unenroll } = await import('./enroll.js');
      print([], false, () => [`Enrolls nothing more: ${unenroll(pod)}`]);
    });
  program
    .command('oci-hook')
    .description('jail a container: a hook for OCI runtimes, which write its state to standard input')
    .action(async () => {
      await (await import('./oci.js')).ociHook();
    });
  program
    .command('serve')
    .description('enroll who asks for it by a socket, as policies let them')
    .option(
      '--socket <path>',
      'where to listen; /run/jailrun/enroll.sock unless it is given one as standard input',
    )
    .option('--jailer', 'listen on /run/bpfjailer/enrollment.sock, too')
    .option('--policy <file>', 'read this policy file, too')
    .option('--json', 'what is done as JSON lines')
    .action(async (_, command: Command) => {
      const { role: _role, var: _var, ...request } = roleOptions(command);
      await (await import('./serve.js')).serve(request);
    });
  // The front, acting as a runtime, has this done for it, see native/wrap.c.
  program
    .command('add-hooks', { hidden: true })
    .requiredOption('--config <file>')
    .action(async ({ config }: { config: string }) => {
      (await import('./ocibundle.js')).addHooks(config);
    });
  const oci = program
    .command('oci')
    .description('jail containers: install the hook, verify it, or stand in for a runtime')
    .action(() => {
      throw new JailrunError('USAGE', 'Say: jailrun oci install, uninstall, verify or wrap.');
    });
  oci
    .command('install')
    .description('register the hook with podman and CRI-O, for every container')
    .option('--hooks-dir <directory>', 'where the engine reads hooks; found out unless given')
    .option('--annotated', 'only for containers with the annotation io.jailrun.role')
    .option('--dry-run', 'say what would be written, and write nothing')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { install, fileLines } = await import('./hooksd.js');
      const { json, ...request } = command.optsWithGlobals<{ json?: true }>();
      const files = await install(request);
      print(files, json, () => fileLines(files));
    });
  oci
    .command('uninstall')
    .description('remove what install wrote')
    .option('--hooks-dir <directory>', 'where it was installed')
    .option('--dry-run', 'say what would be removed, and remove nothing')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { uninstall, fileLines } = await import('./hooksd.js');
      const { json, ...request } = command.optsWithGlobals<{ json?: true }>();
      const files = await uninstall(request);
      print(files, json, () => fileLines(files));
    });
  oci
    .command('verify')
    .description('find containers that would run unjailed, one line a check, each failure with its fix')
    .option('--engine <name>', 'ask about podman, cri-o or docker alone')
    .option('--hooks-dir <directory>', 'where podman is to read hooks')
    .option('--role <name>', 'the role that a probe’s container asks for; the host’s default unless given')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { verify } = await import('./ociverify.js');
      const { doctorLines } = await import('./doctor.js');
      const { json } = command.optsWithGlobals<{ json?: true }>();
      const checks = await verify(command.opts<VerifyRequest>());
      print(checks, json, () => doctorLines(checks));
      answer.end(checks.every(({ ok }) => ok) ? 0 : 1);
    });
  oci
    .command('wrap')
    .description('act as a container runtime: add the hook to the bundle, and become the real one')
    .usage('--runtime <file> [--] ARGUMENT…')
    .option(
      '--runtime <file>',
      'the real runtime; also taken from the program’s name, jailrun-runc or jailrun-crun',
    )
    .action(() => {
      // The front does it where these are its first words.
      throw new JailrunError('USAGE', 'Say it first: jailrun oci wrap --runtime /usr/sbin/runc -- ARGUMENT…');
    });
  program
    .command('doctor')
    .description('check this host, one line a check, each failure with its fix')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { doctor, doctorLines } = await import('./doctor.js');
      const checks = doctor();
      print(checks, roleOptions(command).json, () => doctorLines(checks));
      answer.end(checks.every(({ ok }) => ok) ? 0 : 1);
    });
  program
    .command('check')
    .description('find every problem of policy files, and whether this host can enforce their roles')
    .argument('<file...>')
    .option('--json', 'as JSON lines')
    .action(async (files: string[], _, command: Command) => {
      const { check, checkLines } = await import('./check.js');
      const report = await check(files);
      print([...report.problems, ...report.roles], roleOptions(command).json, () => checkLines(report));
      process.exitCode = report.problems.length > 0 ? 1 : 0;
    });
  program
    .command('explain')
    .description('say whether a role allows an operation, and which line of a policy decides')
    .argument('<operation>', 'read, write, exec, bind, connect or use')
    .argument(
      '<target...>',
      'a path; for bind and connect such as tcp 10.0.0.5:5432, udp :53, unix:/run/x.sock; for use a power, such as mount',
    )
    .option('--role <name>', 'the role that is asked (needed); repeatable, as for a run', collect)
    .option('--policy <file>', 'read this policy file, too')
    .option('--var <name=value>', 'bind a variable that the role declares; repeatable', collect)
    .option('--json', 'as a line of JSON')
    .action(async (operation: string, words: string[], _, command: Command) => {
      const { explain, formatVerdict } = await import('./explain.js');
      const { json, ...roles } = roleOptions(command);
      const verdict = await explain({ ...roles, operation, target: words.join(' ') });
      print([verdict], json, () => formatVerdict(verdict));
      answer.end(verdict.granted ? 0 : 1);
    });
  const bundle = program
    .command('bundle')
    .description('pack jailrun, policies and hooks into one file, for other hosts')
    .argument('[policy...]', 'policy files')
    .option('--output <file>', 'where to write it (needed)')
    .option('--hook <file>', 'pack this configuration of an OCI hook, too; repeatable', collect)
    .option('--json', 'as a line of JSON')
    .action(
      async (policies: string[], { output, hook = [] }: { output: string; hook?: string[] }, command) => {
        const { bundleLines, makeBundle } = await import('./bundle.js');
        const report = await makeBundle({ output, policies, hooks: hook });
        print([report], roleOptions(command).json, () => bundleLines(report));
      },
    );
  bundle
    .command('install')
    .description('install a bundle, all of it or nothing; needs no Node.js')
    .argument('<file>')
    .option('--dry-run', 'check it all, say what would change, and change nothing')
    .option('--root <directory>', 'install below it')
    .action(() => {
      // The front does it, and has seen that these are not its words.
      throw new JailrunError(
        'USAGE',
        'Nothing goes before `bundle install`. Say: jailrun bundle install FILE',
      );
    });
  program
    .command('roles')
    .description('list the roles: name, id, where it is defined, what it is for')
    .option('--policy <file>', 'read this policy file, too')
    .option('--json', 'as JSON lines')
    .action(async (_, command: Command) => {
      const { roles, roleLines } = await import('./check.js');
      const { policy, json } = roleOptions(command);
      const all = await roles(policy);
      print(all, json, () => roleLines(all));
    });
  return program;
}

/** Whether the words ask for JSON. */
export const wantsJson = (args: string[]): boolean => optionsOf(args).includes('--json');

/** Does what the words say. What goes wrong is told, and true is returned where something did. */
export async function obey(args: string[], answer: Answer): Promise<boolean> {
  const program = buildProgram(args, answer);
  try {
    await program.parseAsync(optionsOf(args), { from: 'user' });
    return false;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return false;
    answer.fail(describe(error, wantsJson(args)), program.opts<RunOptions>().reportFd !== undefined);
    return true;
  }
}

/** What went wrong, as lines of text or one of JSON. */
export function describe(error: unknown, json: boolean): string {
  const known = error instanceof JailrunError;
  const usage = error instanceof CommanderError;
  const code = known ? error.code : usage ? 'USAGE' : 'INTERNAL';
  const message = usage
    ? `${error.message.replace(/^error: /, '')}. See: jailrun --help`
    : known
      ? error.message
      : String((error as Error)?.stack ?? error);
  const text = json
    ? JSON.stringify({ version: 1, type: 'error', code, message })
    : message.replace(/^/gm, 'jailrun: ');
  return `${text}\n`;
}
