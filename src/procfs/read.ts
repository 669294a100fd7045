/** Bounded reads below /proc. What is read there is written by others: names and arguments may be anything. */
import { closeSync, openSync, readlinkSync, readSync } from 'node:fs';
import type { Known } from '../ledger/types.ts';

export const PROC_ROOT = '/proc';

/**
 * At most `most` bytes from the start of a file.
 * @returns unavailable, with the path and why, when it cannot be read
 */
export function readBytes(path: string, most: number): Known<Buffer> {
  try {
    const file = openSync(path, 'r');
    try {
      return { status: 'measured', value: readUpTo(file, most) };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    return unreadable(path, error);
  }
}

/** The same as text; bytes that are not UTF-8 are written as `\x9b`. */
export function readText(path: string, most: number): Known<string> {
  const bytes = readBytes(path, most);
  return bytes.status === 'measured' ? { status: 'measured', value: decodeText(bytes.value) } : bytes;
}

/** The target of a symbolic link. */
export function readLink(path: string): Known<string> {
  try {
    return { status: 'measured', value: decodeText(readlinkSync(path, { encoding: 'buffer' })) };
  } catch (error) {
    return unreadable(path, error);
  }
}

/** UTF-8; each byte that belongs to no character as `\x9b`, so that nothing is silently dropped or replaced. */
export function decodeText(bytes: Uint8Array): string {
  const whole = decodeStrictly(bytes);
  if (whole !== null) return whole;
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const character = characterAt(bytes, at);
    text += character?.text ?? `\\x${(bytes[at] ?? 0).toString(16).padStart(2, '0')}`;
    at += character?.length ?? 1;
  }
  return text;
}

const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeStrictly(bytes: Uint8Array): string | null {
  try {
    return STRICT.decode(bytes);
  } catch {
    return null;
  }
}

function characterAt(bytes: Uint8Array, at: number): { text: string; length: number } | null {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length += 1) {
    const text = decodeStrictly(bytes.subarray(at, at + length));
    if (text !== null) return { text, length };
  }
  return null;
}

/** Most files are shorter; what a large buffer costs, a hundred processes cost a hundred times. */
const PIECE = 16 * 1024;

/** Files of /proc give what they have in several reads, and their size says nothing. */
function readUpTo(file: number, most: number): Buffer {
  const pieces: Buffer[] = [];
  let length = 0;
  while (length < most) {
    const piece = Buffer.allocUnsafe(Math.min(PIECE, most - length));
    const read = readSync(file, piece);
    if (read === 0) break;
    pieces.push(piece.subarray(0, read));
    length += read;
  }
  return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces, length);
}

function unreadable(path: string, error: unknown): { status: 'unavailable'; reason: string } {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  return { status: 'unavailable', reason: `${path}: ${WORDS[code] ?? code}` };
}

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ESRCH: 'the process has ended',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
};
