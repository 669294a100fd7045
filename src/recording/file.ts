/** Makes the file that something is written to: never another's, and readable by its owner only. */
import { closeSync, constants, fchmodSync, fsyncSync, lstatSync, openSync, type Stats, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';

/** What stands in the way of writing a file, and what to do about it. */
export class FileRefusedError extends Error {
  override readonly name = 'FileRefusedError';
}

/**
 * Whether createFile() would be refused by what is there now. Nothing is changed.
 * @throws FileRefusedError when it would
 */
export function checkFile(path: string, replace: boolean): void {
  const there = lookAt(path);
  if (there === null) return;
  if (there.isSymbolicLink())
    throw new FileRefusedError(`${path} is a symbolic link: give the name of the file itself`);
  if (!there.isFile()) throw new FileRefusedError(`${path} exists and is no file`);
  if (!replace) throw new FileRefusedError(`${path} exists: -f replaces it`);
}

/**
 * Makes a new file of mode 0600. A file that is replaced is taken away first, not written into: others may have it open,
 * or have given it a second name. No link is followed.
 * @returns its descriptor
 * @throws FileRefusedError
 */
export function createFile(path: string, replace: boolean): number {
  checkFile(path, replace);
  try {
    if (replace && lookAt(path) !== null) unlinkSync(path);
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    const file = openSync(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    fchmodSync(file, 0o600);
    return file;
  } catch (error) {
    throw new FileRefusedError(`${path} cannot be written: ${messageOf(error)}`);
  }
}

/** Makes the name of a file outlive a power cut. Where the file system has no such thing, nobody can. */
export function syncName(path: string): void {
  try {
    const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  } catch {
    // The contents are synchronized all the same.
  }
}

function lookAt(path: string): Stats | null {
  try {
    return lstatSync(path);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw new FileRefusedError(`${path} cannot be written: ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
