/** The socket counters of the network namespace that a process is in. */
import { existsSync } from 'node:fs';
import { parseSockstat } from '../accounting/sockstat.ts';
import type { Known, Sockstat } from '../ledger/types.ts';
import { PROC_ROOT, readText } from './read.ts';

const LONGEST_TEXT = 64 * 1024;

/** @param process a pid, or `self` for the caller's own namespace */
export function readSockstat(process: number | 'self' = 'self', procRoot: string = PROC_ROOT): Known<Sockstat> {
  const net = `${procRoot}/${process}/net`;
  const text4 = readText(`${net}/sockstat`, LONGEST_TEXT);
  if (text4.status === 'unavailable') return text4;
  // Kernels booted with ipv6.disable=1 have no such file, and no such sockets.
  if (!existsSync(`${net}/sockstat6`)) return parseSockstat(text4.value, null);
  const text6 = readText(`${net}/sockstat6`, LONGEST_TEXT);
  return text6.status === 'measured' ? parseSockstat(text4.value, text6.value) : text6;
}
