// Writing a file that others read at any moment.
import {
  chownSync,
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';

/**
 * Gives `path` this text in one step: who reads it meanwhile finds what was there before or all of the text. Mode and
 * owner stay as they are; a new file is root's and for everybody to read. A draft that is left when this process is
 * killed ends in `.draft`, which no engine reads.
 */
export function replaceFile(path: string, text: string): void {
  const before = statSync(path, { throwIfNoEntry: false });
  const draft = `${path}.${process.pid}.draft`;
  try {
    const fd = openSync(draft, 'wx', 0o600);
    try {
      writeFileSync(fd, text);
      fchmodSync(fd, before ? before.mode & 0o7777 : 0o644);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (before) chownSync(draft, before.uid, before.gid);
    renameSync(draft, path);
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
}
