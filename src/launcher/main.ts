// The launcher's process. The front (native/jailrun.c) starts it with the caller's arguments; what the caller wants run
// is handed back to the front as a plan, everything else is done here.
import { writeSync } from 'node:fs';
import { PlanNumber } from '../abi.js';
import { addon } from './addon.js';
import { describe, obey, wantsJson } from './commandline.js';
import { JailrunError } from './error.js';

/** Status when jailrun itself failed, so that the command never started. */
const FAILED = 125;

/** Where nobody reads any more, there is no other place to say so. */
function say(text: string, ofRun: boolean): void {
  if (!ofRun) process.stderr.write(text);
  else
    try {
      writeSync(PlanNumber.REPORT, text);
    } catch {}
}

const args = process.argv.slice(2);

/** Who reads only the first lines, as head(1) does, has what it wants. */
function failOnOutput(cause: NodeJS.ErrnoException): void {
  if (cause.code === 'EPIPE') return;
  const message = `Standard output cannot be written (${cause.code}). Make room where it goes.`;
  say(describe(new JailrunError('OUTPUT', message, { cause }), wantsJson(args)), false);
  addon.exitNow(FAILED);
}

async function main(): Promise<void> {
  const failed = await obey(args, {
    write: (text) => {
      // Not before there is something to write: to look at it makes the stream.
      if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', failOnOutput);
      process.stdout.write(text);
    },
    end: (status) => {
      process.exitCode = status;
    },
    fail: say,
  });
  if (failed) addon.exitNow(FAILED);
}

// Node opens its inspector on SIGUSR1 unless somebody handles the signal; the front, which has no
// inspector, passes it on to the command.
process.on('SIGUSR1', () => {});
void main();
