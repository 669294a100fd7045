/** Turns a refusal of the kernel into what it means and what to do about it. */
import { existsSync } from 'node:fs';
import type { KernelError } from '../kernel/binding.ts';
import { missingCapabilities, OPTIONAL_CAPABILITY } from '../procfs/capabilities.ts';
import { commandName } from './command-name.ts';
import { CannotTraceError } from './exit-codes.ts';

/** What to tell the user instead of `error`. */
export function explainRefusal(error: KernelError): CannotTraceError {
  const command = commandName();
  const lines = [`cannot trace: ${error.message}`];
  if (!existsSync('/sys/kernel/btf/vmlinux')) {
    lines.push(
      'This kernel offers no type information (BTF) at /sys/kernel/btf/vmlinux, which the programs need to find their way.',
      'It takes a kernel built with CONFIG_DEBUG_INFO_BTF=y (every current distribution kernel), and sysfs mounted.',
    );
    return new CannotTraceError(lines.join('\n'));
  }
  // The words of the verifier for a helper that lockdown takes away.
  if (/bpf_probe_read/.test(error.detail))
    lines.push(
      'This kernel is locked down (lockdown=confidentiality), which forbids the reads that a look at all sockets needs.',
      `A trace is possible with hook set fentry: ${command} --pid PID; its sums are without classes and ports.`,
    );
  const missing = missingCapabilities();
  if (missing.status === 'measured') {
    const needed = missing.value.filter(({ name }) => name !== OPTIONAL_CAPABILITY);
    if (needed.length > 0) {
      for (const { name, why } of needed) lines.push(`missing ${name}: to ${why}`);
      const list = needed.map(({ name }) => `+${name.slice(4).toLowerCase()}`).join(',');
      lines.push(
        `Run it as root (sudo ${command} ...), or give this user the capabilities:`,
        `  sudo setpriv --reuid $(id -u) --regid $(id -g) --clear-groups --inh-caps ${list} --ambient-caps ${list} ${command} ...`,
      );
      return new CannotTraceError(lines.join('\n'));
    }
  }
  lines.push(`"${command} doctor" tries each part of the kernel that is needed, and says which is refused and why.`);
  return new CannotTraceError(lines.join('\n'));
}
