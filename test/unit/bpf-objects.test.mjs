// What clang makes of the BPF programs: variables that the kernel and libbpf can be told of.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { findProgram } from '../../scripts/lib/run.mjs';
import { clangNames } from '../../scripts/lib/toolchain.mjs';
import { notRun } from '../host/not-run.ts';

const ROOT = join(import.meta.dirname, '../..');
const work = mkdtempSync(join(tmpdir(), 'socktrace-bpf-'));
afterAll(() => rmSync(work, { recursive: true }));

/** The contents of a section of an ELF file, little-endian of 64 bits. */
function sectionOf(file, wanted) {
  const headers = Number(file.readBigUInt64LE(40));
  const [each, count, names] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)];
  const header = (index) => file.subarray(headers + index * each, headers + (index + 1) * each);
  const contents = (of) => {
    const start = Number(of.readBigUInt64LE(24));
    return file.subarray(start, start + Number(of.readBigUInt64LE(32)));
  };
  const texts = contents(header(names));
  for (let i = 0; i < count; i++) {
    const start = header(i).readUInt32LE(0);
    if (texts.toString('latin1', start, texts.indexOf(0, start)) === wanted) return contents(header(i));
  }
  throw new Error(`there is no section ${wanted}`);
}

/** Bytes behind the head of a type, by its kind (linux/btf.h): fixed ones, and those for each of its members. */
const BTF_BYTES = {
  ...{ 1: [4, 0], 2: [0, 0], 3: [12, 0], 4: [0, 12], 5: [0, 12], 6: [0, 8], 7: [0, 0], 8: [0, 0], 9: [0, 0] },
  ...{ 10: [0, 0], 11: [0, 0], 12: [0, 0], 13: [0, 8], 14: [4, 0], 15: [0, 12], 16: [0, 0], 17: [4, 0], 18: [0, 0] },
  19: [0, 12],
};
const BTF_VAR = 14;

/** The variables of an object that no other object could name (BTF_VAR_STATIC). */
function staticVariables(path) {
  const btf = sectionOf(readFileSync(path), '.BTF');
  const head = btf.readUInt32LE(4);
  const [typesAt, typesBytes, textsAt] = [btf.readUInt32LE(8), btf.readUInt32LE(12), btf.readUInt32LE(16)];
  const texts = btf.subarray(head + textsAt);
  const end = head + typesAt + typesBytes;
  const found = [];
  for (let at = head + typesAt; at < end; ) {
    const info = btf.readUInt32LE(at + 4);
    const kind = (info >>> 24) & 31;
    const [fixed, each] = BTF_BYTES[kind] ?? [];
    if (fixed === undefined || each === undefined) throw new Error(`a type of kind ${kind}`);
    const name = btf.readUInt32LE(at);
    if (kind === BTF_VAR && btf.readUInt32LE(at + 12) === 0)
      found.push(texts.toString('latin1', name, texts.indexOf(0, name)));
    at += 12 + fixed + each * (info & 0xffff);
  }
  return found;
}

/**
 * Of a static struct or array clang keeps each member as a variable of its own, `state.0` and `state.1`, and says of each
 * that it has the size of the whole: the kernel refuses all types of the object (Invalid size). Of constants only it makes
 * a section that libbpf misses (Error finalizing .BTF).
 */
describe('no variable of a BPF object is static: the kernel would refuse its types', () => {
  it.each(['socktrace', 'census', 'floor'])('%s', (name) => {
    expect(staticVariables(join(ROOT, `build/${name}.bpf.o`))).toEqual([]);
  });

  it('which would be seen', (context) => {
    const clang = clangNames.find((name) => findProgram(name));
    if (clang === undefined) notRun(context, 'there is no clang');
    const source = join(work, 'static.bpf.c');
    writeFileSync(
      source,
      `struct { long first, second; } shared;
       static struct { long first, second; } state;
       __attribute__((section("socket"), used)) int count(int *context)
       {
         static long calls;
         calls++;
         state.first += *context;
         state.second ^= *context;
         shared.first++;
         return state.first + state.second + calls;
       }`,
    );
    const object = join(work, 'static.bpf.o');
    execFileSync(clang, ['-target', 'bpf', '-O2', '-g', '-c', source, '-o', object]);
    expect(staticVariables(object)).toEqual(expect.arrayContaining(['state.0', 'state.1', 'count.calls']));
    expect(staticVariables(object)).not.toContain('shared');
  });
});
