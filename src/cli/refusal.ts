/** Turns a refusal of the kernel into what it means and what to do about it. */
import { existsSync } from 'node:fs';
import type { KernelError } from '../kernel/binding.ts';
import { missingCapabilities } from '../procfs/capabilities.ts';
import { readLimit } from '../procfs/limits.ts';
import { inInitialPidNamespace } from '../procfs/pid-namespace.ts';
import { readText } from '../procfs/read.ts';
import { commandName } from './command-name.ts';
import { CannotTraceError } from './exit-codes.ts';
import { lockedMemoryTrouble } from './locked-memory.ts';

/** The first one of native/cgroup_root.cc. */
const CGROUP_STEP = 'open the cgroup2 file system (fsopen)';

/** Debian's kernels can be told to leave kprobes to CAP_SYS_ADMIN; others know nothing above 2. */
export function kprobesAreClosed(): boolean {
  const level = readText('/proc/sys/kernel/perf_event_paranoid', 64);
  return level.status === 'measured' && Number(level.value) > 2;
}

/** What root types to start socktrace as this user with capabilities. */
export function grantCommand(names: readonly string[]): string {
  const list = names.map((name) => `+${name.slice(4).toLowerCase()}`).join(',');
  return `sudo setpriv --reuid $(id -u) --regid $(id -g) --clear-groups --inh-caps ${list} --ambient-caps ${list} ${commandName()} ...`;
}

/** Under lockdown only typed loads are left: a trace by trampolines is made of them, where pids need no translation. */
function lockdownLines(step: string, nested: boolean): string[] {
  const reads = step.includes('census') ? 'a look at all sockets' : nested ? 'a nested pid namespace' : 'this hook set';
  const trace = `${commandName()} --pid PID --hooks fentry`;
  return [
    `This kernel is locked down (lockdown=confidentiality), which forbids the reads that ${reads} needs.`,
    nested
      ? `A trace is possible from outside of this pid namespace, on the host: ${trace}; its sums are without classes and ports.`
      : `A trace is possible with hook set fentry: ${trace}; its sums are without classes and ports.`,
  ];
}

/** What to tell the user instead of `error`. */
export function explainRefusal(error: KernelError, nested: boolean = !inInitialPidNamespace()): CannotTraceError {
  const command = commandName();
  const lines: string[] = [];
  if (!existsSync('/sys/kernel/btf/vmlinux')) {
    lines.push(
      'This kernel offers no type information (BTF) at /sys/kernel/btf/vmlinux, which the programs need to find their way.',
      'It takes a kernel built with CONFIG_DEBUG_INFO_BTF=y (every current distribution kernel), and sysfs mounted.',
    );
    return refused(lines, error);
  }
  if (error.errno === 'EMFILE') {
    const limit = readLimit('Max open files');
    const most = limit.status === 'measured' ? `${limit.value}` : 'too few';
    lines.push(`This process may have ${most} files open, and needs more: ulimit -n 1024 (systemd: LimitNOFILE=1024).`);
    return refused(lines, error);
  }
  // The words of the verifier for a helper that lockdown takes away.
  if (/bpf_probe_read/.test(error.detail)) lines.push(...lockdownLines(error.step, nested));
  const locked = lockedMemoryTrouble();
  if (locked !== null) lines.push(`${locked.problem}: ${locked.fix}.`);
  const missing = missingCapabilities();
  if (missing.status === 'measured') {
    // Opening cgroup2 takes it where nobody has mounted that; a look attaches nothing to it.
    const closed = error.errno === 'EACCES' && /kprobe/.test(error.detail) && kprobesAreClosed();
    if (closed)
      lines.push('Kprobes take CAP_SYS_ADMIN here: sysctl kernel.perf_event_paranoid=2 leaves them to CAP_PERFMON.');
    const opens = error.step === CGROUP_STEP || closed;
    const looks = error.step.includes('census');
    const needed = missing.value.filter(({ name, needed }) =>
      name === 'CAP_SYS_ADMIN' ? opens : needed && !(looks && name === 'CAP_NET_ADMIN'),
    );
    if (needed.length > 0) {
      const names = needed.map(({ name }) => name);
      lines.unshift(`this user lacks ${names.join(', ')}: run it as root (sudo ${command} ...)`);
      for (const { name, why } of needed) lines.push(`missing ${name}: to ${why}`);
      lines.push('Or give this user the capabilities:', `  ${grantCommand(names)}`);
      return refused(lines, error);
    }
  }
  if (lines.length === 0) lines.push(error.message);
  lines.push(`"${command} doctor" tries each part of the kernel that is needed, and says which is refused and why.`);
  return refused(lines, error);
}

/** What to do comes first; the words of the kernel and of libbpf are for whoever is not helped by that. */
function refused(advice: readonly string[], error: KernelError): CannotTraceError {
  const [first = error.message, ...others] = advice;
  const because = first.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
  const words = first === error.message ? [] : [`The kernel refused: ${error.message}`];
  return new CannotTraceError([`cannot trace: ${because}`, ...others, ...words].join('\n'));
}
