/** `socktrace doctor`: tries what tracing needs, and gives the fix for each refusal. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { tryCallPaths, tryProgram } from '../kernel/binding.ts';
import { missingCapabilities, OPTIONAL_CAPABILITY } from '../procfs/capabilities.ts';
import { inInitialPidNamespace, showsOwnPids } from '../procfs/pid-namespace.ts';
import { ExitCode } from './exit-codes.ts';
import { styleFor } from './style.ts';

interface Check {
  what: string;
  /** `needed`: no trace without it. `preferred`: another way exists. */
  weight: 'needed' | 'preferred';
  /** null: fine; else what went wrong */
  run: () => string | null;
  fix: string;
  /** the check whose success `fix` counts on: else it takes rights, too */
  relyingOn?: string;
}

const RIGHTS = 'run as root, or see the missing capabilities above';

const CGROUP_HOOKS = 'cgroup2 root and socket hooks';

const CHECKS: readonly Check[] = [
  {
    what: 'kernel types (BTF)',
    weight: 'needed',
    run: () => (existsSync('/sys/kernel/btf/vmlinux') ? null : '/sys/kernel/btf/vmlinux does not exist'),
    fix: 'use a kernel with CONFIG_DEBUG_INFO_BTF=y, and mount sysfs on /sys',
  },
  { what: 'capabilities', weight: 'needed', run: lackingCapabilities, fix: 'run as root, or grant the ones named' },
  {
    what: '/proc of this pid namespace',
    weight: 'needed',
    run: () => (showsOwnPids() ? null : 'it shows the processes of another one'),
    fix: 'mount -t proc proc /proc, in a mount namespace of its own',
  },
  {
    what: 'initial pid namespace',
    weight: 'preferred',
    run: () => (inInitialPidNamespace() ? null : 'processes outside of this one are seen by number and name only'),
    fix: 'run on the host, or with --pid=host',
  },
  {
    what: 'BTF tracepoints (tp_btf)',
    weight: 'needed',
    run: () => refusal('state_first'),
    fix: `${RIGHTS}; needs Linux 5.5`,
  },
  {
    what: 'system call exits',
    weight: 'needed',
    run: () => refusal('syscall_exit'),
    fix: `${RIGHTS}; needs CONFIG_HAVE_SYSCALL_TRACEPOINTS and CONFIG_FTRACE_SYSCALLS`,
  },
  {
    what: CGROUP_HOOKS,
    weight: 'needed',
    run: () => refusal('cgroup_open'),
    fix: `${RIGHTS}; needs CONFIG_CGROUP_BPF, and no program attached at the root without BPF_F_ALLOW_MULTI`,
  },
  {
    what: 'iterator over tables',
    weight: 'needed',
    run: () => refusal('sweep_sockets'),
    fix: `${RIGHTS}; needs Linux 5.8`,
  },
  {
    what: 'iterator over descriptors',
    weight: 'needed',
    run: () => refusal('walk_descriptors'),
    fix: `${RIGHTS}; needs Linux 5.15`,
  },
  {
    what: 'iterator over processes',
    weight: 'needed',
    run: () => refusal('select_processes'),
    fix: `${RIGHTS}; needs Linux 5.8`,
  },
  { what: 'ring buffer', weight: 'needed', run: () => refusal('probe_ring'), fix: `${RIGHTS}; needs Linux 5.8` },
  {
    what: 'trampolines (fentry)',
    weight: 'preferred',
    run: () => refusal('fentry_init'),
    fix: 'none needed: the cgroup hooks do the job, see "unseen" in the report',
    relyingOn: CGROUP_HOOKS,
  },
  {
    what: 'kprobes',
    weight: 'preferred',
    run: () => refusal('kprobe_init'),
    fix: 'none needed: the cgroup hooks do the job, see "unseen" in the report',
    relyingOn: CGROUP_HOOKS,
  },
  {
    what: 'call paths',
    weight: 'preferred',
    run: tryCallPaths,
    fix: 'reports will not say which code opened and bound; that needs user memory to be readable (lockdown below confidentiality) and build/socktrace-unwinder',
  },
  {
    what: 'sockstat',
    weight: 'preferred',
    run: () => (existsSync('/proc/net/sockstat') ? null : '/proc/net/sockstat does not exist'),
    fix: 'mount procfs on /proc: without it the sums cannot be checked against the kernel',
  },
];

/** Adds the command. Its exit status is 0 when a trace is possible, else 3. */
export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('try what this kernel and this user permit, with the fix for each refusal')
    .action(() => {
      process.exitCode = doctor();
    });
}

function doctor(): ExitCode {
  const style = styleFor(process.stdout);
  let possible = true;
  const refused = new Set<string>();
  for (const check of CHECKS) {
    const problem = check.run();
    if (problem !== null && check.weight === 'needed') possible = false;
    const mark =
      problem === null
        ? style.green('ok     ')
        : check.weight === 'needed'
          ? style.red('refused')
          : style.dim('absent ');
    process.stdout.write(`${mark} ${check.what}${problem === null ? '' : `: ${problem}`}\n`);
    if (problem === null) continue;
    refused.add(check.what);
    process.stdout.write(
      `        fix: ${check.relyingOn !== undefined && refused.has(check.relyingOn) ? RIGHTS : check.fix}\n`,
    );
  }
  process.stdout.write(
    possible
      ? '\nsocktrace can trace here: socktrace --pid PID\n'
      : '\nsocktrace cannot trace here until the refusals above are mended.\n',
  );
  return possible ? ExitCode.done : ExitCode.cannotTrace;
}

function refusal(program: string): string | null {
  return tryProgram(program)?.message ?? null;
}

function lackingCapabilities(): string | null {
  const missing = missingCapabilities();
  if (missing.status === 'unavailable') return missing.reason;
  const needed = missing.value.filter(({ name }) => name !== OPTIONAL_CAPABILITY);
  return needed.length === 0 ? null : needed.map(({ name, why }) => `${name} (to ${why})`).join(', ');
}
