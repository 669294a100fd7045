/** Which boot of which kernel this is. */
import type { Known } from '../ledger/types.ts';
import { PROC_ROOT, readText } from './read.ts';

/** /proc/stat has a line an interrupt before `btime`: large on large hosts. */
const LONGEST_STAT = 4 * 1024 * 1024;

/** The random id of this boot: process ids and times mean nothing in another. */
export function readBootId(procRoot: string = PROC_ROOT): Known<string> {
  const text = readText(`${procRoot}/sys/kernel/random/boot_id`, 64);
  if (text.status === 'unavailable') return text;
  const id = text.value.trim();
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return { status: 'measured', value: id };
  return { status: 'unavailable', reason: 'boot_id is not a UUID' };
}

/** `6.18.44`, as `uname -r` says it. */
export function readKernelRelease(procRoot: string = PROC_ROOT): Known<string> {
  const text = readText(`${procRoot}/sys/kernel/osrelease`, 256);
  return text.status === 'measured' ? { status: 'measured', value: text.value.trim() } : text;
}

/** When this boot began: ms of the wall clock, exact to a second. */
export function readBootTimeMs(procRoot: string = PROC_ROOT): Known<number> {
  const text = readText(`${procRoot}/stat`, LONGEST_STAT);
  if (text.status === 'unavailable') return text;
  const seconds = /^btime (\d{1,12})$/m.exec(text.value)?.[1];
  if (seconds === undefined) return { status: 'unavailable', reason: '/proc/stat has no btime line' };
  return { status: 'measured', value: Number(seconds) * 1000 };
}
