/** Which pid namespace this process lives in: the kernel side speaks of the initial one's pids. */
import { statSync } from 'node:fs';
import { PROC_ROOT, readLink } from './read.ts';

/** PROC_PID_INIT_INO of include/linux/proc_ns.h */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';

/** True also when it cannot be told (no /proc/self/ns): then the first look-up of a target will fail and say so. */
export function inInitialPidNamespace(procRoot: string = PROC_ROOT): boolean {
  const link = readLink(`${procRoot}/self/ns/pid`);
  return link.status === 'unavailable' || link.value === INITIAL_PID_NAMESPACE;
}

/**
 * Whether /proc leaves out the processes of others (mount option hidepid): the first kernel thread never ends. The first
 * process may be out of reach by itself.
 */
export function hidesProcesses(procRoot: string = PROC_ROOT): boolean {
  // Not by access(2), which goes by the real user and leaves capabilities out.
  return statSync(`${procRoot}/2`, { throwIfNoEntry: false }) === undefined;
}
