/** What this process may use: limits of the kernel's resources, and the memory that is left. */
import type { Known } from '../ledger/types.ts';
import { PROC_ROOT, readText } from './read.ts';

const LONGEST_TEXT = 64 * 1024;

/** As /proc/PID/limits calls them. */
export type LimitName = 'Max open files' | 'Max locked memory';

/** The soft limit; `Infinity` for none. */
export function readLimit(name: LimitName, procRoot: string = PROC_ROOT): Known<number> {
  const text = readText(`${procRoot}/self/limits`, LONGEST_TEXT);
  if (text.status === 'unavailable') return text;
  const soft = new RegExp(`^${name} +(unlimited|\\d{1,20}) `, 'm').exec(text.value)?.[1];
  if (soft === undefined) return { status: 'unavailable', reason: `/proc/self/limits has no ${name}` };
  return { status: 'measured', value: soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft) };
}

/** Bytes that can be had without swapping. */
export function readAvailableMemory(procRoot: string = PROC_ROOT): Known<number> {
  const text = readText(`${procRoot}/meminfo`, LONGEST_TEXT);
  if (text.status === 'unavailable') return text;
  const kib = /^MemAvailable: +(\d{1,15}) kB$/m.exec(text.value)?.[1];
  if (kib === undefined) return { status: 'unavailable', reason: '/proc/meminfo has no MemAvailable' };
  return { status: 'measured', value: Number(kib) * 1024 };
}
