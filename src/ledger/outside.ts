/** Processes outside of the pid namespace in which they were observed: they have no pid there. */
import type { Known } from './types.ts';

/** SOCKTRACE_PID_OUTSIDE of bpf/records.h: marks a pid of the initial namespace */
const MARK = 2 ** 31;

export const OUTSIDE_REASON = 'the process is outside of the pid namespace in which socktrace ran';

/** What getppid(2) says of a parent that is outside, too. */
export const NO_PID = 0;

/** The pid as the kernel side gives it is one of another namespace. */
export function isOutside(pid: number): boolean {
  return pid >= MARK;
}

/** The pid of a process here, and those that it has elsewhere; null: not known from this number. */
export function pidsFrom(pid: number): { pid: number; namespacePids: Known<number[]> | null } {
  return isOutside(pid)
    ? { pid: NO_PID, namespacePids: { status: 'measured', value: [pid - MARK] } }
    : { pid, namespacePids: null };
}
