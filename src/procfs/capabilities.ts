/** The capabilities of this process, and which of those that tracing wants it lacks. */
import type { Known } from '../ledger/types.ts';
import { PROC_ROOT, readText } from './read.ts';

/**
 * What each is for, and whether CAP_SYS_ADMIN implies it; numbers from include/uapi/linux/capability.h. Without a needed
 * one there is no trace; without another one, what is lost.
 */
export const CAPABILITIES = [
  { name: 'CAP_BPF', bit: 39n, implied: true, needed: true, why: 'load BPF programs and create maps' },
  {
    name: 'CAP_PERFMON',
    bit: 38n,
    implied: true,
    needed: true,
    why: 'attach to tracepoints and read kernel types',
  },
  {
    name: 'CAP_NET_ADMIN',
    bit: 12n,
    implied: true,
    needed: true,
    why: 'attach to the cgroup that every socket belongs to, where there are no trampolines',
  },
  {
    name: 'CAP_SYS_PTRACE',
    bit: 19n,
    implied: false,
    needed: false,
    why: "read other users' /proc/PID: without it their programs, call paths and network namespaces stay unknown",
  },
  {
    name: 'CAP_SYS_ADMIN',
    bit: 21n,
    implied: false,
    needed: false,
    why: 'enter other network namespaces, and open cgroup2 where it is not mounted: without it connections and ports there are not seen',
  },
  {
    name: 'CAP_DAC_READ_SEARCH',
    bit: 2n,
    implied: false,
    needed: false,
    why: 'read programs that only their owner may read: without it their call paths stay unknown',
  },
] as const;

export type Capability = (typeof CAPABILITIES)[number];

const CAP_SYS_ADMIN = 21n;

/**
 * Those of `CAPABILITIES` that are not in this process's effective set. CAP_SYS_ADMIN stands for the narrower ones
 * that were split off it (bpf_capable, perfmon_capable and bpf_net_capable of include/linux).
 */
export function missingCapabilities(procRoot: string = PROC_ROOT): Known<Capability[]> {
  const effective = effectiveSet(procRoot);
  if (effective.status === 'unavailable') return effective;
  const has = (bit: bigint): boolean => ((effective.value >> bit) & 1n) === 1n;
  return {
    status: 'measured',
    value: CAPABILITIES.filter(({ bit, implied }) => !has(bit) && !(implied && has(CAP_SYS_ADMIN))),
  };
}

/** Whether this process has one, by its number; false also where that cannot be read. */
export function hasCapability(bit: bigint, procRoot: string = PROC_ROOT): boolean {
  const effective = effectiveSet(procRoot);
  return effective.status === 'measured' && ((effective.value >> bit) & 1n) === 1n;
}

function effectiveSet(procRoot: string): Known<bigint> {
  const status = readText(`${procRoot}/self/status`, 16 * 1024);
  if (status.status === 'unavailable') return status;
  const mask = /^CapEff:\s*([0-9a-f]{1,16})$/m.exec(status.value)?.[1];
  return mask === undefined
    ? { status: 'unavailable', reason: '/proc/self/status has no CapEff line' }
    : { status: 'measured', value: BigInt(`0x${mask}`) };
}
