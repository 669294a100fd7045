/** How far the kernel is closed to root itself (kernel_lockdown(7)). */
import { existsSync } from 'node:fs';
import type { Known } from '../ledger/types.ts';
import { readText } from './read.ts';

export type Lockdown = 'none' | 'integrity' | 'confidentiality';

const MODES: readonly Lockdown[] = ['none', 'integrity', 'confidentiality'];

/** `none` also where the kernel has no lockdown; unavailable where nobody can tell. */
export function readLockdown(security = '/sys/kernel/security'): Known<Lockdown> {
  const file = `${security}/lockdown`;
  // The list of security modules is there whenever securityfs is.
  if (!existsSync(file))
    return existsSync(`${security}/lsm`)
      ? { status: 'measured', value: 'none' }
      : { status: 'unavailable', reason: `securityfs is not mounted on ${security}` };
  const text = readText(file, 256);
  if (text.status === 'unavailable') return text;
  const mode = MODES.find((name) => text.value.includes(`[${name}]`));
  return mode === undefined
    ? { status: 'unavailable', reason: `${file} names no mode that is known` }
    : { status: 'measured', value: mode };
}
