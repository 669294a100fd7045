/** Gives up what is not needed once the hooks are attached: what a tracer cannot do, nobody can make it do. */
import { KernelError, keepCapabilities } from '../kernel/binding.ts';
import { hasCapability } from '../procfs/capabilities.ts';
import type { Log } from './log.ts';

/** include/uapi/linux/capability.h */
const CAP = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  FOWNER: 3,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  SYS_PTRACE: 19,
  SYS_ADMIN: 21,
  PERFMON: 38,
  BPF: 39,
  CHECKPOINT_RESTORE: 40,
} as const;

/** What is still to be done while it traces, and at its end. */
export interface StillToDo {
  /** a look at every socket of the host: its programs are loaded then, and the network namespaces of then entered */
  look: boolean;
  /** reading the code of other users, by an unwinder that becomes nobody whenever it is started */
  paths: boolean;
  /** fetching debugging information as nobody, into folders that are given to nobody and removed */
  debuginfod: boolean;
  /** a recording that may be asked for later, into the folder of another user */
  recording: boolean;
  /** a command of our own to signal, also when it has become another user, and to look into */
  command: boolean;
}

/** From the options of a session, and what its command does with it. */
export function stillToDo(
  { paths, debuginfod = false }: { paths: boolean; debuginfod?: boolean },
  { look, recording = false, command = false }: { look: boolean; recording?: boolean; command?: boolean },
): StillToDo {
  return { look, paths, debuginfod, recording, command };
}

/** The capabilities that the rest of a trace takes. */
export function capabilitiesFor({ look, paths, debuginfod, recording, command }: StillToDo): number[] {
  return [
    // Processes of others. Before Linux 5.19 without CAP_BPF even tables that are open could not be read.
    ...[CAP.SYS_PTRACE, CAP.DAC_READ_SEARCH, CAP.BPF],
    ...(look ? [CAP.PERFMON, CAP.SYS_ADMIN] : []),
    ...(paths ? [CAP.SETUID, CAP.SETGID, CAP.KILL, CAP.CHECKPOINT_RESTORE] : []),
    ...(debuginfod ? [CAP.CHOWN, CAP.FOWNER] : []),
    ...(recording ? [CAP.DAC_OVERRIDE] : []),
    ...(command ? [CAP.KILL] : []),
  ];
}

/** In all threads, for good. A trace goes on without it, and says so. */
export function dropPrivileges(still: StillToDo, log: Log): void {
  // Without this right one may look only into what has no other rights than oneself, and the command has ours.
  if (still.command && !hasCapability(BigInt(CAP.SYS_PTRACE))) return;
  try {
    keepCapabilities(capabilitiesFor(still));
    log.debug('privileges dropped');
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    process.stderr.write(`socktrace: goes on with all its privileges: ${error.message}\n`);
  }
}
