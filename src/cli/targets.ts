/** Pids as users type them, checked. */
import { existsSync } from 'node:fs';
import type { WantedProcess } from '../kernel/binding.ts';
import { hidesProcesses, showsOwnPids } from '../procfs/pid-namespace.ts';
import { PROC_ROOT } from '../procfs/read.ts';
import { checkTarget } from '../procfs/target.ts';
import { escapeText } from '../render/escape.ts';
import { CannotTraceError, UsageError } from './exit-codes.ts';

/** @throws CannotTraceError where /proc is not mounted, or is that of another pid namespace */
export function requireOwnPids(): void {
  if (!existsSync(`${PROC_ROOT}/self/stat`))
    throw new CannotTraceError(
      'procfs is not mounted on /proc, which tells who holds sockets: mount -t proc proc /proc',
    );
  if (!showsOwnPids())
    throw new CannotTraceError(
      'socktrace runs in a pid namespace of its own, and /proc shows the processes of another one: mount -t proc proc /proc, in a mount namespace of its own (unshare --mount-proc)',
    );
}

/**
 * The processes that were asked for, each once. A pid that goes to another process from here on is not taken for it.
 * @throws UsageError when one is no process that holds sockets, CannotTraceError where /proc is that of another pid namespace
 */
export function checkedTargets(pids: readonly number[]): WantedProcess[] {
  requireOwnPids();
  return [...new Set(pids)].map(checkedTarget);
}

function checkedTarget(pid: number): WantedProcess {
  const target = checkTarget(pid);
  switch (target.is) {
    case 'process':
      return target;
    case 'missing':
      throw new UsageError(
        hidesProcesses()
          ? `/proc shows no process ${pid}, and hides those of other users (hidepid): run as root, or with CAP_SYS_PTRACE`
          : `there is no process ${pid}`,
      );
    case 'thread':
      throw new UsageError(`${pid} is a thread of process ${target.process}: use --pid ${target.process}`);
    case 'kernel-thread':
      throw new UsageError(`${pid} (${escapeText(target.comm)}) is a kernel thread, which holds no sockets of its own`);
    case 'zombie':
      throw new UsageError(`process ${pid} (${escapeText(target.comm)}) has exited already and holds nothing any more`);
    case 'unreadable':
      throw new UsageError(`process ${pid} cannot be examined: ${target.reason}`);
  }
}
