/** Which pid namespace this process lives in, and whether /proc is that of the same one. */
import { statSync } from 'node:fs';
import { readNamespacePids } from './process.ts';
import { PROC_ROOT, readLink } from './read.ts';

/** PROC_PID_INIT_INO of include/linux/proc_ns.h */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';

/** True also when it cannot be told (no /proc/self/ns): then the first look-up of a target will fail and say so. */
export function inInitialPidNamespace(procRoot: string = PROC_ROOT): boolean {
  const link = readLink(`${procRoot}/self/ns/pid`);
  return link.status === 'unavailable' || link.value === INITIAL_PID_NAMESPACE;
}

/** Whether the pids in /proc are those that this process knows: after unshare(2) it may show an outer namespace's. */
export function showsOwnPids(procRoot: string = PROC_ROOT): boolean {
  const pids = readNamespacePids(`${procRoot}/self`);
  return pids.status === 'unavailable' || pids.value.length === 1;
}

/**
 * Whether /proc leaves out the processes of others (mount option hidepid). The first kernel thread never ends, nor the
 * first process of a nested namespace; that of the host may be out of reach by itself.
 */
export function hidesProcesses(procRoot: string = PROC_ROOT): boolean {
  // Not by access(2), which goes by the real user and leaves capabilities out.
  const lasting = inInitialPidNamespace(procRoot) ? 2 : 1;
  return statSync(`${procRoot}/${lasting}`, { throwIfNoEntry: false }) === undefined;
}
