/** Whether a pid that a user typed can be traced, and if not, what to type instead. */
import { PROC_ROOT, readText } from './read.ts';
import { readStat } from './stat.ts';

const PF_KTHREAD = 0x0020_0000;

export type TargetCheck =
  | { is: 'process'; pid: number; startTicks: string; comm: string }
  | { is: 'missing'; pid: number }
  /** a thread of `process`: sockets belong to whole processes */
  | { is: 'thread'; pid: number; process: number; comm: string }
  | { is: 'kernel-thread'; pid: number; comm: string }
  /** exited already; it holds nothing any more */
  | { is: 'zombie'; pid: number; comm: string }
  | { is: 'unreadable'; pid: number; reason: string };

/** Looks at one pid. Never throws; a pid that is no positive integer is `missing`. */
export function checkTarget(pid: number, procRoot: string = PROC_ROOT): TargetCheck {
  if (!Number.isSafeInteger(pid) || pid <= 0) return { is: 'missing', pid };
  const root = `${procRoot}/${pid}`;
  const status = readText(`${root}/status`, 16 * 1024);
  if (status.status === 'unavailable') {
    return /: (does not exist|the process has ended)$/.test(status.reason)
      ? { is: 'missing', pid }
      : { is: 'unreadable', pid, reason: status.reason };
  }
  const stat = readStat(root);
  if (stat.status === 'unavailable') return { is: 'unreadable', pid, reason: stat.reason };
  const { comm, flags, startTicks, state, threads } = stat.value;
  if ((flags & PF_KTHREAD) !== 0) return { is: 'kernel-thread', pid, comm };
  const process = Number(/^Tgid:\s+(\d{1,10})$/m.exec(status.value)?.[1] ?? pid);
  if (process !== pid) return { is: 'thread', pid, process, comm };
  // A main thread that ended before the others looks like a zombie too, and the process goes on.
  if ((state === 'Z' || state === 'X') && threads <= 1) return { is: 'zombie', pid, comm };
  return { is: 'process', pid, startTicks, comm };
}
