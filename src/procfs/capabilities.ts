/** The capabilities of this process, and which of those that tracing needs it lacks. */
import type { Known } from '../ledger/types.ts';
import { PROC_ROOT, readText } from './read.ts';

/** What each is for, and whether CAP_SYS_ADMIN implies it; numbers from include/uapi/linux/capability.h. */
export const NEEDED_CAPABILITIES = [
  { name: 'CAP_BPF', bit: 39n, implied: true, why: 'load BPF programs and create maps' },
  { name: 'CAP_PERFMON', bit: 38n, implied: true, why: 'attach to tracepoints and read kernel types' },
  { name: 'CAP_NET_ADMIN', bit: 12n, implied: true, why: 'attach to the cgroup that every socket belongs to' },
  { name: 'CAP_SYS_ADMIN', bit: 21n, implied: false, why: 'open the cgroup2 root without a mount' },
  { name: 'CAP_SYS_PTRACE', bit: 19n, implied: false, why: "read other users' /proc/PID/exe and namespaces" },
] as const;

export type NeededCapability = (typeof NEEDED_CAPABILITIES)[number];

/** Without this one tracing works, and some names of processes stay unknown. */
export const OPTIONAL_CAPABILITY = 'CAP_SYS_PTRACE';

const CAP_SYS_ADMIN = 21n;

/**
 * The needed capabilities that are not in this process's effective set. CAP_SYS_ADMIN stands for the narrower ones
 * that were split off it (bpf_capable, perfmon_capable and bpf_net_capable of include/linux).
 */
export function missingCapabilities(procRoot: string = PROC_ROOT): Known<NeededCapability[]> {
  const status = readText(`${procRoot}/self/status`, 16 * 1024);
  if (status.status === 'unavailable') return status;
  const mask = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status.value)?.[1];
  if (mask === undefined) return { status: 'unavailable', reason: '/proc/self/status has no CapEff line' };
  const effective = BigInt(`0x${mask}`);
  const has = (bit: bigint): boolean => ((effective >> bit) & 1n) === 1n;
  return {
    status: 'measured',
    value: NEEDED_CAPABILITIES.filter(({ bit, implied }) => !has(bit) && !(implied && has(CAP_SYS_ADMIN))),
  };
}
