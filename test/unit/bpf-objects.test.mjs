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

/** The sections of an ELF file, little-endian of 64 bits: name, type, link and info (elf(5)), contents. */
function sectionsOf(file) {
  const headers = Number(file.readBigUInt64LE(40));
  const [each, count, names] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)];
  const sections = Array.from({ length: count }, (_, index) => {
    const header = file.subarray(headers + index * each, headers + (index + 1) * each);
    const start = Number(header.readBigUInt64LE(24));
    return {
      nameAt: header.readUInt32LE(0),
      type: header.readUInt32LE(4),
      executable: (header.readUInt32LE(8) & 4) !== 0,
      link: header.readUInt32LE(40),
      info: header.readUInt32LE(44),
      contents: file.subarray(start, start + Number(header.readBigUInt64LE(32))),
    };
  });
  return sections.map((section) => ({ ...section, name: textAt(sections[names].contents, section.nameAt) }));
}

function textAt(texts, at) {
  return texts.toString('latin1', at, texts.indexOf(0, at));
}

function sectionOf(file, wanted) {
  const section = sectionsOf(file).find(({ name }) => name === wanted);
  if (section === undefined) throw new Error(`there is no section ${wanted}`);
  return section.contents;
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
    if (kind === BTF_VAR && btf.readUInt32LE(at + 12) === 0) found.push(textAt(texts, name));
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

const SYMBOL_BYTES = 24;
const INSTRUCTION_BYTES = 8;
const [SHT_SYMTAB, SHT_REL, STT_FUNC] = [2, 9, 2];

function symbolsOf(sections) {
  const table = sections.find(({ type }) => type === SHT_SYMTAB);
  const texts = sections[table.link].contents;
  return Array.from({ length: table.contents.length / SYMBOL_BYTES }, (_, index) => {
    const symbol = table.contents.subarray(index * SYMBOL_BYTES);
    return {
      name: textAt(texts, symbol.readUInt32LE(0)),
      isFunction: (symbol[4] & 15) === STT_FUNC,
      section: symbol.readUInt16LE(6),
      at: Number(symbol.readBigUInt64LE(8)),
      bytes: Number(symbol.readBigUInt64LE(16)),
    };
  });
}

/** Where each call of a function by another leads to, by section and offset: those that the linker fills in. */
function relocatedCalls(sections, symbols) {
  const calls = new Map();
  for (const { type, info, contents } of sections.filter((section) => section.type === SHT_REL)) {
    if (type !== SHT_REL || !sections[info].executable) continue;
    for (let at = 0; at < contents.length; at += 16) {
      const place = Number(contents.readBigUInt64LE(at));
      const symbol = symbols[contents.readUInt32LE(at + 12)];
      // A static function is named by its section, and the distance is in the instruction.
      const distance = symbol.isFunction ? 0 : (sections[info].contents.readInt32LE(place + 4) + 1) * INSTRUCTION_BYTES;
      calls.set(`${info} ${place}`, `${symbol.section} ${symbol.at + distance}`);
    }
  }
  return calls;
}

/** Bytes of stack that a function uses, and the places of those it calls. What the verifier may find unreachable counts. */
function frameOf({ section, at, bytes }, code, calls) {
  const copiesOfFrame = new Set([10]);
  const callees = [];
  let used = 0;
  for (let i = at; i < at + bytes; i += INSTRUCTION_BYTES) {
    const [opcode, registers] = [code[i], code[i + 1]];
    const [target, source] = [registers & 15, registers >> 4];
    const [offset, number] = [code.readInt16LE(i + 2), code.readInt32LE(i + 4)];
    const kind = opcode & 7;
    if (kind === 1 && source === 10) used = Math.max(used, -offset);
    if ((kind === 2 || kind === 3) && target === 10) used = Math.max(used, -offset);
    if (opcode === 0x07 && copiesOfFrame.has(target)) used = Math.max(used, -number);
    if (kind === 1 || kind === 0 || kind === 4 || kind === 7) copiesOfFrame.delete(target);
    if (opcode === 0xbf && source === 10) copiesOfFrame.add(target);
    if (opcode === 0x85 && source === 1)
      callees.push(calls.get(`${section} ${i}`) ?? `${section} ${i + (number + 1) * INSTRUCTION_BYTES}`);
    if (opcode === 0x18) i += INSTRUCTION_BYTES;
  }
  return { used, callees };
}

/** The stack that each program needs with the deepest chain of its calls, rounded as by kernels before 6.7. */
function stackOfPrograms(path) {
  const sections = sectionsOf(readFileSync(path));
  const symbols = symbolsOf(sections);
  const calls = relocatedCalls(sections, symbols);
  const functions = symbols.filter(({ isFunction }) => isFunction);
  const frames = new Map(
    functions.map((symbol) => [
      `${symbol.section} ${symbol.at}`,
      frameOf(symbol, sections[symbol.section].contents, calls),
    ]),
  );
  const chainOf = (place) => {
    const { used, callees } = frames.get(place);
    return Math.max(32, Math.ceil(used / 32) * 32) + Math.max(0, ...callees.map(chainOf));
  };
  return functions.map(({ name, section, at }) => ({ name, bytes: chainOf(`${section} ${at}`) }));
}

/** MAX_BPF_STACK; check_max_stack_depth adds up frames, each rounded up to 32 bytes. Kernels that give a program a stack of its own (6.13) take more. */
describe('a chain of calls in a BPF object takes no more stack than every kernel has for it', () => {
  it.each(['socktrace', 'census', 'floor'])('%s', (name) => {
    const programs = stackOfPrograms(join(ROOT, `build/${name}.bpf.o`));
    expect(programs.length).toBeGreaterThan(0);
    expect(programs.filter(({ bytes }) => bytes > 512)).toEqual([]);
  });

  it('which would be seen', (context) => {
    const clang = clangNames.find((name) => findProgram(name));
    if (clang === undefined) notRun(context, 'there is no clang');
    const source = join(work, 'deep.bpf.c');
    writeFileSync(
      source,
      `static long (*read)(void *to, unsigned size, const void *from) = (void *)113;
       static __attribute__((noinline)) long inner(long at) { long room[20]; read(room, 160, (void *)at); return room[3]; }
       __attribute__((noinline)) long outer(long at) { long room[40]; read(room, 320, (void *)at); return room[3] + inner(at); }
       __attribute__((section("socket"), used)) int program(int *context)
       {
         long room[10];
         read(room, 80, context);
         return room[3] + outer(room[4]);
       }`,
    );
    const object = join(work, 'deep.bpf.o');
    execFileSync(clang, ['-target', 'bpf', '-O2', '-g', '-c', source, '-o', object]);
    expect(Object.fromEntries(stackOfPrograms(object).map(({ name, bytes }) => [name, bytes]))).toMatchObject({
      inner: 160,
      outer: 480,
      program: 576,
    });
  });
});
