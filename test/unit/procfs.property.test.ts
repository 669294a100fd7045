/** What /proc says of processes is written by them, in part: any bytes are read, none throw, names come back as they are. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCgroup } from '../../src/procfs/cgroup.ts';
import { readProcess } from '../../src/procfs/process.ts';
import { decodeText } from '../../src/procfs/read.ts';
import { readSockstat } from '../../src/procfs/sockstat.ts';
import { parseStat } from '../../src/procfs/stat.ts';
import { parsePasswd } from '../../src/procfs/users.ts';
import { BOOT, measured } from './facts.ts';

let root = '';

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'socktrace-procfs-'));
  mkdirSync(join(root, '7/net'), { recursive: true });
  mkdirSync(join(root, '7/ns'));
  symlinkSync('net:[4026531840]', join(root, '7/ns/net'));
  symlinkSync('/usr/bin/x', join(root, '7/exe'));
});
afterAll(() => rmSync(root, { recursive: true }));

const bytes = (maxLength = 300) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));
/** What the kernel lets a process call itself. */
const comm = bytes(15).map((name) => Buffer.from(name.filter((byte) => byte !== 0)));
const number = fc.oneof(fc.nat(), fc.constantFrom('-1', '18446744073709551615', '99999999999999999999', '', 'x'));

/** Lines of the kernel, with any numbers, and with any bytes put over a part of them. */
function damaged(text: Buffer, at: number, damage: Buffer): Buffer {
  const start = at % (text.length + 1);
  return Buffer.concat([text.subarray(0, start), damage, text.subarray(start + damage.length)]);
}

const statOf = (name: Buffer, numbers: readonly unknown[]): Buffer =>
  Buffer.concat([Buffer.from('7 ('), name, Buffer.from(`) S ${numbers.join(' ')}\n`)]);

describe('any bytes of /proc', () => {
  it('are a process, or are said not to be one', () => {
    fc.assert(
      fc.property(
        comm,
        fc.array(number, { minLength: 19, maxLength: 22 }),
        fc.nat(100),
        fc.oneof(fc.constant(Buffer.alloc(0)), bytes(20)),
        bytes(),
        bytes(),
        bytes(),
        (name, numbers, at, damage, cmdline, status, cgroup) => {
          const files = { stat: damaged(statOf(name, numbers), at, damage), cmdline, status, cgroup };
          for (const [file, content] of Object.entries(files)) writeFileSync(join(root, '7', file), content);
          const boot = { bootId: BOOT, bootTimeMs: measured(1_000_000) };
          const read = readProcess(7, boot, () => measured(cmdline), root);
          if (read.status === 'unavailable') {
            expect(read.reason).not.toBe('');
            return;
          }
          // None are told of a process without any, and of one that has ended.
          expect(read.value.cmdline.status).toBe(cmdline.length === 0 ? 'unavailable' : 'measured');
          expect(JSON.parse(JSON.stringify(read.value))).toEqual(read.value);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('keep the name of a process, whatever is in it', () => {
    fc.assert(
      fc.property(comm, (name) => {
        const text = decodeText(statOf(name, Array(20).fill(1)));
        expect(parseStat(text)).toMatchObject({
          status: 'measured',
          value: { comm: decodeText(name), startTicks: '1' },
        });
      }),
    );
  });

  it('are text without replacements that is UTF-8', () => {
    fc.assert(
      fc.property(bytes(), (any) => {
        const text = decodeText(any);
        expect(Buffer.from(text).toString()).toBe(text);
        expect(text.length).toBeLessThanOrEqual(4 * any.length);
      }),
    );
  });

  it('are counters of sockets, or are said not to be', () => {
    const line = fc
      .tuple(number, number)
      .map(([used, alloc]) => `TCP: inuse ${used} orphan 0 tw 0 alloc ${alloc} mem 1\n`);
    fc.assert(
      fc.property(line, fc.nat(60), bytes(20), bytes(), (text, at, damage, text6) => {
        writeFileSync(join(root, '7/net/sockstat'), damaged(Buffer.from(`sockets: used 3\n${text}`), at, damage));
        writeFileSync(join(root, '7/net/sockstat6'), text6);
        const read = readSockstat(7, root);
        if (read.status === 'unavailable') expect(read.reason).not.toBe('');
        else for (const value of Object.values(read.value)) expect(Number.isSafeInteger(value)).toBe(true);
      }),
    );
  });

  it('are a cgroup and users', () => {
    fc.assert(
      fc.property(bytes(), bytes(20), (any, path) => {
        const text = decodeText(any);
        const { unit, container } = parseCgroup(`0::/${decodeText(path)}\n${text}`);
        expect(unit === null || /\.(service|scope)$/.test(unit)).toBe(true);
        expect(container === null || /^[0-9a-f]{64}$/.test(container)).toBe(true);
        for (const uid of parsePasswd(text).keys()) expect(Number.isSafeInteger(uid)).toBe(true);
      }),
    );
  });
});
