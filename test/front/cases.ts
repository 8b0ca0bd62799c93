// What a command may notice of how it was started. Each case runs it once by itself and once behind
// jailrun, and both must come out equal. The same cases run natively on stand-ins and in the VM.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { type Ending, eventually, isAlive, run, Session } from './session.js';
import type { Tools } from './tools.js';

const { signals } = constants;
/** RLIMIT_* of Linux on every architecture that Node.js 20 runs on. */
const rlimit = { CPU: 0, FSIZE: 1, STACK: 3, CORE: 4, NOFILE: 7, AS: 9 };
const UNLIMITED = 2n ** 64n - 1n;

/** One way to start a command. */
export interface Way {
  tools: Tools;
  /** What stands before the command: nothing, or jailrun, its options and `--`. */
  prefix: string[];
  /** Settings for tools.start that each start needs. */
  settings: string[];
  env: NodeJS.ProcessEnv;
}

export interface Case {
  name: string;
  /** Everything about the run that must not depend on the way. */
  observe(way: Way): Promise<unknown>;
}

const percent = (text: string): string => text.replaceAll('%', '%25');

/** The argument list that starts `command` in the way, in the circumstances that `settings` say. */
function start(way: Way, command: string[], settings: string[] = []): string[] {
  return [way.tools.start, ...way.settings, ...settings, '--', ...way.prefix.map(percent), ...command];
}

/** What the command finds, line by line. */
async function state(way: Way, { settings = [], args = [] }: { settings?: string[]; args?: string[] } = {}) {
  const { env } = way;
  const ending = await run(start(way, [way.tools.command, 'state', ...args], settings), { env });
  return { ...ending, output: ending.output.split('\n') };
}

const withState = (name: string, settings: string[], args: string[] = []): Case => ({
  name,
  observe: (way) => state(way, { settings, args }),
});

const block = (...numbers: number[]): string[] => numbers.map((number) => `block:${number}`);
const ignore = (...numbers: number[]): string[] => numbers.map((number) => `ignore:${number}`);

async function inScratch<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync('/tmp/jailrun-case-');
  try {
    return await body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** How the command ends when it is a shell that runs `script`. */
const ending = (name: string, script: string): Case => ({
  name,
  observe: (way) => run(start(way, ['/bin/sh', '-c', script]), { env: way.env }),
});

/** Sends `numbers` one after another to what was started, each once the one before has arrived. */
async function receive(
  way: Way,
  numbers: number[],
  settings: string[] = [],
): Promise<Ending & { pid: number }> {
  const session = new Session(start(way, [way.tools.command, 'signals'], settings), { env: way.env });
  const [, pid] = await session.until(/ready (\d+)\n/);
  for (const number of [...numbers, signals.SIGTERM, signals.SIGTERM]) {
    process.kill(session.pid, number);
    await session.until(new RegExp(`signal ${number}\n`));
  }
  const { output, ...rest } = await session.end();
  return { ...rest, output: output.replace(/ready \d+/, 'ready'), pid: Number(pid) };
}

/** A shell with job control on a terminal of its own. */
async function atTerminal<T>(way: Way, body: (shell: Session) => Promise<T>): Promise<T> {
  // A dumb terminal gets text from the shell and no control sequences.
  const env = { ...way.env, TERM: 'dumb', PS1: 'prompt> ', HISTFILE: '/dev/null' };
  const shell = new Session([way.tools.terminal, 'bash', '--norc', '--noprofile', '-i'], { env });
  try {
    await shell.until(/prompt> /);
    return await body(shell);
  } finally {
    shell.stdin.end();
    await shell.end();
  }
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
const shellLine = (words: string[]): string => `${words.map(quote).join(' ')}\n`;

const CTRL_C = '\x03';
const CTRL_Z = '\x1a';
const CTRL_BACKSLASH = '\x1c';

/** The lines `signal N` in a terminal's transcript. */
const signalsIn = (transcript: string): string[] => transcript.match(/signal \d+/g) ?? [];

async function useJobControl(way: Way) {
  return atTerminal(way, async (shell) => {
    shell.write(shellLine(start(way, [way.tools.command, 'signals'])));
    const [, pid] = await shell.until(/ready (\d+)/);
    const seen: string[] = [];
    const expect = async (text: RegExp) => {
      const [match] = await shell.until(text);
      seen.push(match);
    };
    shell.write(CTRL_C);
    await expect(/signal 2\b/);
    for (let round = 0; round < 2; round++) {
      shell.write(CTRL_Z);
      await expect(/Stopped/);
      shell.write('jobs\n');
      await expect(/Stopped/);
      shell.write('fg\n');
      await expect(/signal 18\b/);
    }
    shell.write(CTRL_BACKSLASH);
    await expect(/signal 3\b/);
    process.kill(Number(pid), signals.SIGTERM);
    await expect(/signal 15\b/);
    process.kill(Number(pid), signals.SIGTERM);
    await shell.until(/prompt> /);
    shell.write('echo status=$?\n');
    await expect(/status=\d+/);
    shell.write('exit\n');
    const { output } = await shell.end();
    // All of them, so that one too many shows.
    return { seen, signals: signalsIn(output) };
  });
}

const openMany = Array.from({ length: 60 }, (_, i) => `open:${i + 3}`);

/** Those that need CAP_SYS_RESOURCE: hard limits that jailrun has to raise for its own processes. */
export const hardLimitCases: Case[] = [
  withState('finds every descriptor taken that its hard limit allows', [
    ...openMany,
    `limit:${rlimit.NOFILE}:63:63`,
  ]),
  withState('finds hard limits of memory, file size, time and stack with which node cannot run', [
    `limit:${rlimit.AS}:50000000:50000000`,
    `limit:${rlimit.FSIZE}:0:0`,
    `limit:${rlimit.CPU}:5:10`,
    `limit:${rlimit.STACK}:300000:400000`,
  ]),
];

export const cases: Case[] = [
  withState('finds the same of everything when nothing is special', []),
  withState(
    'finds its arguments byte by byte: empty, with spaces, newlines, quotes and no UTF-8',
    [],
    [
      '',
      ' ',
      'two words',
      'two\nlines',
      '"\'\\',
      '$HOME',
      '--',
      '--exec',
      '%ff%fe%80',
      '%c3%28',
      'ünïcödé',
      '',
    ],
  ),
  withState('finds its environment byte by byte and in order', [
    'env:EMPTY=',
    'env:TWICE=1',
    'env:TWICE=2',
    'env:NO_EQUALS_SIGN',
    'env:=',
    'env:BYTES=%ff%0a%80',
    'env:NODE_OPTIONS=--no-such-option',
    'env:LD_LIBRARY_PATH=/nowhere',
    'env:LISTEN_PID=1',
    'env:LISTEN_FDS=3',
  ]),
  withState('finds the directory, umask and priority', ['cd:/usr/lib', 'umask:0137', 'nice:7']),
  withState('finds a soft limit of open files that node would raise', [`limit:${rlimit.NOFILE}:97:1234`]),
  withState('finds a soft limit of open files that leaves none for the front', [
    `limit:${rlimit.NOFILE}:4:1234`,
  ]),
  withState('finds soft limits of memory, file size, time and stack with which node cannot run', [
    `limit:${rlimit.AS}:50000000:${UNLIMITED}`,
    `limit:${rlimit.FSIZE}:0:${UNLIMITED}`,
    `limit:${rlimit.CPU}:5:${UNLIMITED}`,
    `limit:${rlimit.STACK}:300000:${UNLIMITED}`,
  ]),
  withState('finds a core limit', [`limit:${rlimit.CORE}:4096:8192`]),
  withState('finds the signals that are ignored, nohup and SIGPIPE among them', [
    ...ignore(
      signals.SIGHUP,
      signals.SIGPIPE,
      signals.SIGINT,
      signals.SIGQUIT,
      signals.SIGXFSZ,
      signals.SIGTSTP,
      40,
    ),
  ]),
  withState('finds SIGCHLD ignored', ignore(signals.SIGCHLD)),
  withState('finds SIGCHLD blocked, and none pending', block(signals.SIGCHLD)),
  withState(
    'finds the signals that are blocked, libc’s own among them',
    block(1, 2, 10, 15, 17, 18, 20, 32, 33, 34, 64),
  ),
  withState('finds every signal ignored and blocked that can be', [
    ...ignore(1, 2, 3, 6, 10, 12, 13, 14, 15, 17, 18, 20, 21, 22, 28),
    ...block(...Array.from({ length: 64 }, (_, i) => i + 1)),
  ]),
  withState('finds the extra descriptors, and none but those', ['open:3', 'open:4', 'open:7', 'open:100']),
  withState('finds every descriptor taken that its soft limit allows', [
    ...openMany,
    `limit:${rlimit.NOFILE}:63:1234`,
  ]),
  withState('finds its streams blocking or not as they are', ['nonblock:0', 'nonblock:2']),
  withState('finds standard input closed', ['close:0']),
  withState('finds standard error closed', ['close:2']),
  withState('finds standard input and error closed', ['close:0', 'close:2']),
  {
    name: 'reads standard input and writes standard output unchanged, to the end',
    observe: (way) => run(start(way, ['cat']), { env: way.env, input: 'line\n\0\n'.repeat(100_000) }),
  },
  {
    name: 'writes standard error apart from standard output',
    observe: (way) => run(start(way, ['/bin/sh', '-c', 'echo out; echo err >&2']), { env: way.env }),
  },
  {
    name: 'closes its standard output for whoever reads it',
    observe: async (way) => {
      const session = new Session(start(way, ['/bin/sh', '-c', 'exec >&-; read line']), { env: way.env });
      await new Promise((resolve) => session.stdout.on('end', resolve));
      // Only now does the command go on.
      session.write('\n');
      return session.end();
    },
  },
  {
    name: 'closes its standard input for whoever writes it',
    observe: async (way) => {
      const script = 'exec <&-; echo closed; exec sleep 60';
      const session = new Session(start(way, ['/bin/sh', '-c', script]), { env: way.env });
      await session.until(/closed\n/);
      const broken = new Promise((resolve) => session.stdin.on('error', (error) => resolve(String(error))));
      session.write('nobody reads this');
      const error = await broken;
      process.kill(session.pid, 'SIGKILL');
      return { error, ...(await session.end()) };
    },
  },
  {
    name: 'takes the sockets of its service manager',
    observe: (way) => run(start(way, [way.tools.command, 'sockets'], ['listen:3']), { env: way.env }),
  },
  {
    name: 'takes part in a jobserver of make',
    observe: (way) =>
      inScratch(async (directory) => {
        // Either target waits for the other, so one job at a time never ends.
        const wait = (own: string, other: string) =>
          `\t@touch ${own}; for i in $$(seq 500); do test -e ${other} && exit 0; sleep 0.02; done; echo alone; exit 1`;
        const file = [
          'outer:',
          `\t+@${shellLine([...way.prefix, 'make', '--no-print-directory', 'inner']).trim()}`,
          'inner: left right',
          'left:',
          wait('l', 'r'),
          'right:',
          wait('r', 'l'),
        ];
        writeFileSync(join(directory, 'Makefile'), `${file.join('\n')}\n`);
        const make = [way.tools.start, ...way.settings, `cd:${directory}`, '--', 'make', '-j2', 'outer'];
        return run(make, { env: way.env });
      }),
  },
  ending('exits with 0', 'exit 0'),
  ending('exits with 3', 'exit 3'),
  ending('exits with 255', 'exit 255'),
  ...(['TERM', 'INT', 'KILL', 'SEGV'] as const).map((name) =>
    ending(`dies by SIG${name}`, `ulimit -c 0; kill -${name} $$; sleep 60`),
  ),
  ending('dies by a real-time signal', 'kill -35 $$; sleep 60'),
  {
    name: 'dies by a signal that its caller ignores',
    observe: (way) =>
      run(
        start(
          way,
          ['/usr/bin/env', '--default-signal=TERM', '/bin/sh', '-c', 'kill -TERM $$'],
          ignore(signals.SIGTERM),
        ),
        {
          env: way.env,
        },
      ),
  },
  {
    name: 'ends as it does where SIGCHLD is ignored',
    observe: (way) => run(start(way, ['/bin/sh', '-c', 'exit 7'], ignore(signals.SIGCHLD)), { env: way.env }),
  },
  {
    name: 'ends as it does where SIGCHLD is blocked',
    observe: (way) => run(start(way, ['/bin/sh', '-c', 'exit 7'], block(signals.SIGCHLD)), { env: way.env }),
  },
  {
    name: 'gets the signals that a process sends to what was started, each once',
    observe: async (way) => {
      const names = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGABRT'] as const;
      const more = ['SIGWINCH', 'SIGCONT', 'SIGCHLD', 'SIGURG', 'SIGPIPE', 'SIGTTIN'] as const;
      const { pid: _, ...rest } = await receive(way, [
        ...[...names, ...more].map((name) => signals[name]),
        33,
        34,
        64,
      ]);
      return rest;
    },
  },
  {
    name: 'gets signals that its caller ignores and blocks',
    observe: async (way) => {
      const chosen = [signals.SIGHUP, signals.SIGUSR1, 33];
      const { pid: _, ...rest } = await receive(way, chosen, [...ignore(1, 10), ...block(...chosen)]);
      return rest;
    },
  },
  {
    name: 'gets queued signals with their values, in order',
    observe: async (way) => {
      const session = new Session(start(way, [way.tools.command, 'signals']), { env: way.env });
      await session.until(/ready/);
      for (const value of ['7', '-1', '123456789'])
        await run([way.tools.command, 'queue', String(session.pid), '40', value]);
      await run([way.tools.command, 'queue', String(session.pid), String(signals.SIGUSR1), '5']);
      await session.until(/signal 10 value 5\n/);
      process.kill(session.pid, 'SIGTERM');
      await session.until(/signal 15\n/);
      process.kill(session.pid, 'SIGTERM');
      const { end, output } = await session.end();
      // SIGUSR1 has the lower number and may overtake.
      return { end, values: output.match(/signal 40 value -?\d+/g) };
    },
  },
  {
    name: 'gets a signal that was pending when it was started',
    observe: async (way) => {
      const argv = start(way, [way.tools.command, 'signals'], [`pending:${signals.SIGUSR2}`]);
      const session = new Session(argv, { env: way.env });
      await session.until(/signal 12\n/);
      process.kill(session.pid, 'SIGKILL');
      return (await session.end()).end;
    },
  },
  {
    name: 'dies by a signal that a process sends to what was started',
    observe: async (way) => {
      const session = new Session(start(way, ['/bin/sh', '-c', 'echo ready; exec sleep 60']), {
        env: way.env,
      });
      await session.until(/ready/);
      process.kill(session.pid, 'SIGTERM');
      return (await session.end()).end;
    },
  },
  {
    name: 'dies with what was started when that is killed',
    observe: async (way) => {
      const session = new Session(start(way, [way.tools.command, 'signals']), { env: way.env });
      const [, pid] = await session.until(/ready (\d+)/);
      process.kill(session.pid, 'SIGKILL');
      await eventually('the command is gone', () => !isAlive(Number(pid)));
      return (await session.end()).end;
    },
  },
  {
    name: 'gets what kill(0) sends, once, when it sends it itself',
    observe: async (way) => {
      const script = 'trap "echo caught" USR1; kill -USR1 0; echo sent; read line; echo end';
      // A group of its own, or the tests would get it too.
      const session = new Session(['setsid', '--wait', ...start(way, ['/bin/sh', '-c', script])], {
        env: way.env,
      });
      await session.until(/sent\n/);
      await new Promise((resolve) => setTimeout(resolve, 50));
      session.write('\n');
      return (await session.end()).output;
    },
  },
  {
    name: 'is under a shell’s job control: Ctrl-C once, Ctrl-Z and fg twice, Ctrl-\\ once',
    observe: useJobControl,
  },
  {
    name: 'has the terminal as it is',
    observe: (way) =>
      atTerminal(way, async (shell) => {
        shell.write('stty -echo intr ^G; echo ready\n');
        await shell.until(/ready\r\nprompt> /);
        shell.write(shellLine(start(way, [way.tools.command, 'state'])));
        const [text] = await shell.until(/argument[\s\S]*terminal.*/);
        return text.split('\n').filter((line) => !line.startsWith('variable'));
      }),
  },
  {
    name: 'reads lines from the terminal',
    observe: (way) =>
      atTerminal(way, async (shell) => {
        shell.write(shellLine(start(way, ['/bin/sh', '-c', 'echo ask; read a; echo "got <$a>"'])));
        await shell.until(/ask\r\n/);
        shell.write('an answer\n');
        const [text] = await shell.until(/got .*/);
        return text;
      }),
  },
  {
    name: 'is stopped in the background when it reads from the terminal, and goes on in the foreground',
    observe: (way) =>
      atTerminal(way, async (shell) => {
        shell.write(`${shellLine(start(way, ['/bin/sh', '-c', 'read a; echo "got <$a>"'])).trim()} &\n`);
        await shell.until(/prompt> /);
        shell.write('until jobs | grep -q Stopped; do sleep 0.05; done; echo it has stop""ped\n');
        await shell.until(/it has stopped/);
        shell.write('fg\n');
        await shell.until(/read a/);
        shell.write('an answer\n');
        const [text] = await shell.until(/got .*/);
        return text;
      }),
  },
  {
    name: 'ends a script when Ctrl-C ends it',
    observe: (way) =>
      atTerminal(way, async (shell) => {
        const line = shellLine(start(way, ['/bin/sh', '-c', 'echo ready; exec sleep 60'])).trim();
        shell.write(shellLine(['bash', '-c', `${line}; echo "not reached"`]));
        await shell.until(/ready\r\n/);
        shell.write(CTRL_C);
        await shell.until(/prompt> /);
        shell.write('echo status=$?\n');
        const [text] = await shell.until(/status=\d+/);
        shell.write('exit\n');
        const { output } = await shell.end();
        return { text, reached: output.includes('\nnot reached') };
      }),
  },
  {
    name: 'is told of a new window size once',
    observe: (way) =>
      atTerminal(way, async (shell) => {
        shell.write(shellLine(start(way, [way.tools.command, 'signals'])));
        const [, pid] = await shell.until(/ready (\d+)/);
        process.kill(shell.pid, 'SIGUSR1');
        await shell.until(/signal 28\b/);
        process.kill(Number(pid), signals.SIGTERM);
        await shell.until(/signal 15\b/);
        process.kill(Number(pid), signals.SIGTERM);
        await shell.until(/prompt> /);
        shell.write('exit\n');
        return signalsIn((await shell.end()).output);
      }),
  },
  {
    name: 'learns when the terminal of its session hangs up',
    observe: (way) =>
      inScratch(async (directory) => {
        const log = join(directory, 'log');
        // No shell in between: what is started leads the session, and only the leader is told.
        const script = `exec "$0" signals >${log}`;
        const session = new Session(
          [way.tools.terminal, ...start(way, ['/bin/sh', '-c', script, way.tools.command])],
          {
            env: way.env,
          },
        );
        const read = () => readFileSync(log, { encoding: 'latin1', flag: 'a+' });
        await eventually('ready', () => /ready \d+\n/.test(read()));
        session.stdin.end();
        await eventually('SIGHUP', () =>
          /signal 1\n[\s\S]*signal 18\n|signal 18\n[\s\S]*signal 1\n/.test(read()),
        );
        const pid = Number(read().match(/ready (\d+)/)?.[1]);
        for (const count of [1, 2]) {
          process.kill(pid, 'SIGTERM');
          await eventually('SIGTERM', () => (read().match(/signal 15\n/g)?.length ?? 0) >= count);
        }
        const { end } = await session.end();
        return { end, signals: signalsIn(read()).sort() };
      }),
  },
];
