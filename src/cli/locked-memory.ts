/** RLIMIT_MEMLOCK, which counts all tables of BPF before Linux 5.11; later kernels account them to the memory cgroup. */
import { release } from 'node:os';
import { hasCapability } from '../procfs/capabilities.ts';
import { readLimit } from '../procfs/limits.ts';
import { formatBytes } from '../render/numbers.ts';

/** include/uapi/linux/capability.h: who has it raises the limit by itself. */
const CAP_SYS_RESOURCE = 24n;

/** Null where it is not in the way. */
export function lockedMemoryTrouble(kernel: string = release()): { problem: string; fix: string } | null {
  const [major = 0, minor = 0] = kernel.split('.').map(Number);
  if (major > 5 || (major === 5 && minor >= 11)) return null;
  const limit = readLimit('Max locked memory');
  const most = limit.status === 'measured' ? limit.value : 0;
  if (most === Number.POSITIVE_INFINITY || hasCapability(CAP_SYS_RESOURCE)) return null;
  return {
    problem: `at most ${formatBytes(most)} may be locked; before Linux 5.11 all tables count, and this user may not raise it`,
    fix: 'ulimit -l unlimited, as root before it becomes this user (systemd: LimitMEMLOCK=infinity), or grant CAP_SYS_RESOURCE',
  };
}
