// What doctor reads of the host, from made-up files.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { lockedMemoryTrouble } from '../../src/cli/locked-memory.ts';
import { hasCapability, missingCapabilities } from '../../src/procfs/capabilities.ts';
import { readAvailableMemory, readLimit } from '../../src/procfs/limits.ts';
import { readLockdown } from '../../src/procfs/lockdown.ts';

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-limits-'));
  folders.push(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

it.each([
  ['none [integrity] confidentiality\n', 'integrity'],
  ['[none] integrity confidentiality\n', 'none'],
  ['none integrity [confidentiality]\n', 'confidentiality'],
])('lockdown: %j', (text, mode) => {
  expect(readLockdown(folderWith({ lockdown: text, lsm: 'lockdown' }))).toEqual({ status: 'measured', value: mode });
});

it('lockdown of a kernel without it, and where nobody can tell', () => {
  expect(readLockdown(folderWith({ lsm: 'capability,yama' }))).toEqual({ status: 'measured', value: 'none' });
  expect(readLockdown(folderWith({}))).toMatchObject({ status: 'unavailable' });
  expect(readLockdown(folderWith({ lockdown: 'none [secrecy]\n' }))).toMatchObject({ status: 'unavailable' });
});

const LIMITS = `Limit                     Soft Limit           Hard Limit           Units     
Max locked memory         unlimited            unlimited            bytes     
Max open files            1024                 524288               files     
`;

it('limits', () => {
  const root = folderWith({ 'self/limits': LIMITS });
  expect(readLimit('Max open files', root)).toEqual({ status: 'measured', value: 1024 });
  expect(readLimit('Max locked memory', root)).toEqual({ status: 'measured', value: Number.POSITIVE_INFINITY });
  expect(readLimit('Max open files', folderWith({}))).toMatchObject({ status: 'unavailable' });
  expect(readLimit('Max open files', folderWith({ 'self/limits': 'garbage' }))).toMatchObject({
    status: 'unavailable',
  });
});

it('memory', () => {
  const root = folderWith({ meminfo: 'MemTotal:  100 kB\nMemAvailable:   22260480 kB\n' });
  expect(readAvailableMemory(root)).toEqual({ status: 'measured', value: 22_260_480 * 1024 });
  expect(readAvailableMemory(folderWith({ meminfo: '' }))).toMatchObject({ status: 'unavailable' });
});

it('capabilities: CAP_SYS_ADMIN stands for those that were split off it', () => {
  const having = (...bits: bigint[]): string => {
    const mask = bits.reduce((all, bit) => all | (1n << bit), 0n);
    return folderWith({ 'self/status': `Name:\tnode\nCapEff:\t${mask.toString(16).padStart(16, '0')}\n` });
  };
  const missing = (root: string): string[] => {
    const read = missingCapabilities(root);
    return read.status === 'measured' ? read.value.map(({ name }) => name) : [read.reason];
  };
  expect(missing(having(21n))).toEqual(['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH']);
  expect(missing(having(12n, 38n, 39n))).toEqual(['CAP_SYS_PTRACE', 'CAP_SYS_ADMIN', 'CAP_DAC_READ_SEARCH']);
  expect(missing(having(2n, 12n, 19n, 21n))).toEqual([]);
  expect([hasCapability(24n, having(24n)), hasCapability(24n, having(21n))]).toEqual([true, false]);
});

it.each(['5.11.0', '6.1.0-56-cloud-amd64', '10.0.1'])('locked memory does not matter on %s', (kernel) => {
  expect(lockedMemoryTrouble(kernel)).toBeNull();
});
