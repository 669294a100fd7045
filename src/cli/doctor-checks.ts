/** What tracing needs or is better with, each tried or looked up, and what mends it. */
import { accessSync, constants, existsSync } from 'node:fs';
import { KernelError, tryCallPaths, tryProgram } from '../kernel/binding.ts';
import type { Known } from '../ledger/types.ts';
import { CAPABILITIES, type Capability, missingCapabilities } from '../procfs/capabilities.ts';
import { readAvailableMemory, readLimit } from '../procfs/limits.ts';
import { readLockdown } from '../procfs/lockdown.ts';
import { hidesProcesses, inInitialPidNamespace, showsOwnPids } from '../procfs/pid-namespace.ts';
import { formatBytes } from '../render/numbers.ts';
import { hasFetcher } from '../session/debuginfod.ts';
import { lockedMemoryTrouble } from './locked-memory.ts';

/** What came of one check, as `doctor --json` has it: the names are a contract. */
export interface CheckResult {
  what: string;
  /** `needed`: no trace without it. `preferred`: a trace goes without, and lacks something or does it in another way. */
  weight: 'needed' | 'preferred';
  /** `unknown`: nobody could tell */
  status: 'ok' | 'refused' | 'unknown';
  /** null when it is ok */
  problem: string | null;
  fix: string | null;
}

interface Trouble {
  problem: string;
  fix: string;
  unknown?: true;
}

interface Check {
  what: string;
  /** `in-place`: needed where there are no trampolines */
  weight: CheckResult['weight'] | 'in-place';
  run: (host: Host) => Trouble | null;
}

/** What the checks have in common. */
interface Host {
  types: boolean;
  missing: Known<Capability[]>;
  /** names of the needed ones that this process lacks */
  lacking: string[];
  /** whether these hooks work, each of which replaces the other */
  cgroupHooks: () => boolean;
  trampolines: () => boolean;
}

/** Takes more than the others do: it is attached to the cgroup2 root. */
const ON_CGROUP = 'cgroup_open';
const TYPES = '/sys/kernel/btf/vmlinux';
/** A trace holds some 90 (more of it are links), a look a dozen more and one for each network namespace. */
const FEWEST_FILES = 128;
/** Tables and rings of a trace with the default sizes when they are full, twice; and Node. */
const LEAST_MEMORY = 256 << 20;

const TRAMPOLINES = 'none needed: trampolines do the job';
const INSTEAD = 'none needed: the cgroup hooks do the job, see "unseen" in the report';

const CHECKS: readonly Check[] = [
  {
    what: '/proc',
    weight: 'needed',
    run: () =>
      existsSync('/proc/self/stat')
        ? null
        : { problem: 'procfs is not mounted on /proc', fix: 'mount -t proc proc /proc' },
  },
  {
    what: 'kernel types (BTF)',
    weight: 'needed',
    run: ({ types }) =>
      types
        ? null
        : {
            problem: `${TYPES} does not exist, or cannot be read`,
            fix: 'use a kernel with CONFIG_DEBUG_INFO_BTF=y, and mount sysfs on /sys',
          },
  },
  ...CAPABILITIES.map(capabilityCheck),
  {
    what: '/proc of this pid namespace',
    weight: 'needed',
    run: () =>
      !existsSync('/proc/self/stat') || showsOwnPids()
        ? null
        : {
            problem: 'it shows the processes of another one',
            fix: 'mount -t proc proc /proc, in a mount namespace of its own',
          },
  },
  {
    what: 'initial pid namespace',
    weight: 'preferred',
    run: () =>
      inInitialPidNamespace()
        ? null
        : {
            problem: 'processes outside of this one are seen by number and name only',
            fix: 'run on the host, or with --pid=host',
          },
  },
  {
    what: 'all processes in /proc',
    weight: 'preferred',
    run: () =>
      existsSync('/proc/self') && hidesProcesses()
        ? {
            problem: '/proc hides the processes of other users (hidepid), which cannot be traced by pid then',
            fix: 'run as root, or with CAP_SYS_PTRACE',
          }
        : null,
  },
  programCheck('BTF tracepoints (tp_btf)', 'needed', 'state_first', 'needs Linux 5.5'),
  programCheck(
    'system call exits',
    'in-place',
    'syscall_exit',
    'needs CONFIG_HAVE_SYSCALL_TRACEPOINTS and CONFIG_FTRACE_SYSCALLS',
  ),
  programCheck(
    'cgroup2 root and socket hooks',
    'in-place',
    ON_CGROUP,
    'needs CONFIG_CGROUP_BPF, and no program attached at the root without BPF_F_ALLOW_MULTI',
  ),
  programCheck('iterator over tables', 'needed', 'sweep_sockets', 'needs Linux 5.8'),
  programCheck('iterator over descriptors', 'needed', 'walk_descriptors', 'needs Linux 5.15'),
  programCheck('iterator over processes', 'needed', 'select_processes', 'needs Linux 5.8'),
  programCheck('ring buffer', 'needed', 'probe_ring', 'needs Linux 5.8'),
  insteadCheck('trampolines (fentry)', 'fentry_init'),
  insteadCheck('kprobes', 'kprobe_init'),
  {
    what: 'call paths',
    weight: 'preferred',
    run: (host) => {
      const problem = tryCallPaths();
      if (problem === null) return null;
      const missing = /socktrace-(unwinder|reader): ENOENT/.test(problem);
      return {
        problem,
        fix: missing
          ? 'npm run build:native makes it; until then reports do not say which code opened and bound'
          : fixOf(
              problem,
              host,
              'programs have to be allowed to read user memory; else reports do not say which code opened and bound',
            ),
      };
    },
  },
  { what: 'lockdown', weight: 'preferred', run: lockdownTrouble },
  { what: 'open files (RLIMIT_NOFILE)', weight: 'needed', run: fileLimitTrouble },
  { what: 'locked memory (RLIMIT_MEMLOCK)', weight: 'needed', run: () => lockedMemoryTrouble() },
  { what: 'memory', weight: 'preferred', run: memoryTrouble },
  {
    what: 'sockstat',
    weight: 'preferred',
    run: () =>
      existsSync('/proc/net/sockstat')
        ? null
        : {
            problem: '/proc/net/sockstat does not exist',
            fix: 'mount procfs on /proc: without it the sums cannot be checked against the kernel',
          },
  },
  {
    what: 'debuginfod-find',
    weight: 'preferred',
    run: () =>
      hasFetcher()
        ? null
        : {
            problem: 'it is not installed, and --debuginfod cannot fetch debugging information',
            fix: 'install it (Debian: package debuginfod; Fedora: elfutils-debuginfod-client)',
          },
  },
];

/** Runs them all. */
export function runChecks(): CheckResult[] {
  const missing = missingCapabilities();
  const host: Host = {
    types: isReadable(TYPES),
    missing,
    lacking: missing.status === 'measured' ? missing.value.flatMap(({ name, needed }) => (needed ? [name] : [])) : [],
    cgroupHooks: once(() => tryProgram(ON_CGROUP) === null),
    trampolines: once(() => tryProgram('fentry_init') === null),
  };
  return CHECKS.map(({ what, weight: planned, run }) => {
    const trouble = run(host);
    const weight = planned === 'in-place' ? (host.trampolines() ? 'preferred' : 'needed') : planned;
    if (trouble === null) return { what, weight, status: 'ok', problem: null, fix: null };
    return {
      what,
      weight,
      status: trouble.unknown ? 'unknown' : 'refused',
      problem: trouble.problem,
      fix: trouble.fix,
    };
  });
}

function once(ask: () => boolean): () => boolean {
  let answer: boolean | null = null;
  return () => {
    answer ??= ask();
    return answer;
  };
}

function capabilityCheck(capability: Capability): Check {
  const { name, needed, why } = capability;
  return {
    what: name,
    weight: name === 'CAP_NET_ADMIN' ? 'in-place' : needed ? 'needed' : 'preferred',
    run: ({ missing }) => {
      if (missing.status === 'unavailable')
        return { problem: missing.reason, fix: 'mount procfs on /proc', unknown: true };
      if (!missing.value.some((one) => one.name === name)) return null;
      return { problem: `missing, to ${why}`, fix: 'run as root, or grant it as below' };
    },
  };
}

function programCheck(what: string, weight: Check['weight'], program: string, needs: string): Check {
  return {
    what,
    weight,
    run: (host) => {
      const refusal = tryProgram(program);
      if (refusal === null) return null;
      const replaced = weight === 'in-place' && host.trampolines();
      return {
        problem: problemOf(refusal, host),
        fix: replaced ? TRAMPOLINES : fixOf(refusal, forProgram(program, host), needs),
      };
    },
  };
}

/** Of a program that the cgroup hooks replace. */
function insteadCheck(what: string, program: string): Check {
  return {
    what,
    weight: 'preferred',
    run: (host) => {
      const refusal = tryProgram(program);
      if (refusal === null) return null;
      return {
        problem: problemOf(refusal, host),
        fix: host.trampolines()
          ? TRAMPOLINES
          : host.cgroupHooks()
            ? INSTEAD
            : fixOf(
                refusal,
                forProgram(program, host),
                'none for this one: see the cgroup2 root above, which replaces it',
              ),
      };
    },
  };
}

function forProgram(program: string, host: Host): Host {
  return program === ON_CGROUP ? host : { ...host, lacking: host.lacking.filter((name) => name !== 'CAP_NET_ADMIN') };
}

/** libbpf guesses why, and guesses wrong where it is for want of rights. */
function problemOf(refusal: KernelError, { lacking }: Host): string {
  return lacking.length > 0 ? `${refusal.step}: ${refusal.errno ?? refusal.detail}` : refusal.message;
}

/** The first thing that is in the way: what comes after it shows when it has gone. */
function fixOf(refusal: KernelError | string, { types, lacking }: Host, otherwise: string): string {
  const text = refusal instanceof KernelError ? refusal.message : refusal;
  if (!types) return 'see the kernel types (BTF) above';
  if (/\bEMFILE\b/.test(text)) return 'see the open files below';
  if (lacking.length > 0) return `run as root, or with ${lacking.join(', ')}`;
  return otherwise;
}

function lockdownTrouble(): Trouble | null {
  const lockdown = readLockdown();
  if (lockdown.status === 'unavailable')
    return {
      problem: lockdown.reason,
      fix: 'none needed: what it forbids was tried above; mount -t securityfs none /sys/kernel/security names it',
      unknown: true,
    };
  if (lockdown.value !== 'confidentiality') return null;
  return {
    problem: 'confidentiality: no call paths, no kprobes and no look at all sockets',
    fix: 'none needed for a trace with trampolines; else start the kernel with lockdown=integrity',
  };
}

/** Node has raised the soft limit to the hard one by now. */
function fileLimitTrouble(): Trouble | null {
  const limit = readLimit('Max open files');
  if (limit.status === 'unavailable') return { problem: limit.reason, fix: 'mount procfs on /proc', unknown: true };
  if (limit.value >= FEWEST_FILES) return null;
  return {
    problem: `${limit.value}; a trace and its looks take ${FEWEST_FILES}, and one for each network namespace`,
    fix: 'ulimit -n 1024 (systemd: LimitNOFILE=1024)',
  };
}

function memoryTrouble(): Trouble | null {
  const available = readAvailableMemory();
  if (available.status === 'unavailable')
    return { problem: available.reason, fix: 'mount procfs on /proc', unknown: true };
  if (available.value >= LEAST_MEMORY) return null;
  return {
    problem: `${formatBytes(available.value)} available; a trace with full tables takes up to ${formatBytes(LEAST_MEMORY)}`,
    fix: 'smaller tables: --max-sockets 32768 --no-paths',
  };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
