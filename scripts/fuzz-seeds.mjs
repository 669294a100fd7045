/**
 * Makes test/fuzz/corpus/TARGET/seed-*: small files of the kinds that the targets read, from real compilers where there are
 * some. Run by hand when a kind is missing; the seeds are in the repository, so that no run hangs on a compiler's version.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture, root } from './lib/run.mjs';

const corpus = join(root, 'test/fuzz/corpus');
const work = mkdtempSync(join(tmpdir(), 'socktrace-seeds-'));

function keep(target, name, bytes) {
  mkdirSync(join(corpus, target), { recursive: true });
  writeFileSync(join(corpus, target, name.startsWith('regression-') ? name : `seed-${name}`), bytes);
}

function run(program, args) {
  const { ok, output } = capture(program, args, { cwd: work });
  if (!ok) throw new Error(`${program} ${args.join(' ')}: ${output}`);
}

const inC = `
static inline __attribute__((always_inline)) int twice(int of) { volatile int kept = of; return 2 * kept; }
__attribute__((noinline)) int inner(int of) { char room[of + 1]; room[of] = 1; return twice(room[of]) + of; }
void _start(void) { for (;;) inner(twice(3)); }
`;
const inCxx = `
namespace outer { struct Thing { template<int N> __attribute__((noinline)) int add(int to) { return to + N; } }; }
extern "C" void _start() { volatile int sum = 0; for (;;) sum = outer::Thing().add<3>(sum); }
`;
const bare = ['-Os', '-nostdlib', '-static', '-fno-stack-protector', '-Wl,--build-id,-z,noseparate-code,-z,norelro'];

function compiled(name, source, flags) {
  const file = join(work, `${name}${source === inCxx ? '.cc' : '.c'}`);
  writeFileSync(file, source);
  run(source === inCxx ? 'g++' : 'gcc', [...bare, ...flags, '-o', name, file]);
  return readFileSync(join(work, name));
}

/** Call frame information of expressions with all that they may do: signals' frames and hand-written code have such. */
function expressions() {
  const binary = [0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x21, 0x22, 0x24, 0x25, 0x26, 0x27, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e];
  const unary = [0x12, 0x19, 0x1f, 0x20, 0x96];
  const apart = [
    ...binary.flatMap((operation) => [0x35, 0x33, operation, 0x13]),
    ...unary.flatMap((operation) => [0x34, operation, 0x13]),
    ...[0x31, 0x32, 0x33, 0x16, 0x17, 0x14, 0x15, 1, 0x13, 0x13, 0x13, 0x13, 0x13],
    ...[0x31, 0x28, 1, 0, 0x96, 0x2f, 1, 0, 0x96, 0x31, 0x23, 5, 0x13],
    ...[0x08, 9, 0x13, 0x0a, 9, 9, 0x13, 0x10, 0x80, 1, 0x13, 0x92, 7, 0, 0x06, 0x13, 0x77, 0, 0x94, 4, 0x13],
  ];
  const escaped = (...bytes) => `.cfi_escape ${bytes.join(',')}`;
  const block = (operations) => [(operations.length & 0x7f) | 0x80, operations.length >> 7, ...operations];
  return `.globl _start
_start: .cfi_startproc
${escaped(0x0f, ...block([0x77, 8, ...apart]))}
${escaped(0x10, 6, ...block([0x9c, 0x23, 8]))}
${escaped(0x10, 16, ...block([0x9c, 0x38, 0x1c]))}
${escaped(0x16, 3, ...block([0x77, 0, 0x9f]))}
.rept 64
nop
.endr
ret
.cfi_endproc
.size _start, .-_start
`;
}

function elfSeeds() {
  writeFileSync(join(work, 'expressions.s'), expressions());
  run('gcc', [...bare, '-o', 'expressions', 'expressions.s']);
  keep('elf', 'expressions', readFileSync(join(work, 'expressions')));
  keep('elf', 'tables', compiled('tables', inC, ['-fasynchronous-unwind-tables']));
  keep(
    'elf',
    'debug-frame',
    compiled('frame', inC, ['-g1', '-fno-asynchronous-unwind-tables', '-Wl,--no-ld-generated-unwind-info']),
  );
  compiled('shared', inC, ['-static-pie', '-fpie', '-fno-omit-frame-pointer']);
  run('strip', ['shared']);
  keep('elf', 'stripped', readFileSync(join(work, 'shared')));
  keep('elf', 'mangled', compiled('mangled', inCxx, []));
  keep('lines', 'dwarf5', compiled('dwarf5', inC, ['-gdwarf-5']));
  keep('lines', 'dwarf4', compiled('dwarf4', inC, ['-gdwarf-4', '-gstrict-dwarf']));
  keep('lines', 'compressed', compiled('compressed', inCxx, ['-g', '-gz']));
  keep('lines', 'scopes', compiled('scopes', inCxx, ['-gdwarf-5', '-fdebug-types-section']));
}

/** Go's table of two functions, as Go 1.20 lays it out (runtime/symtab.go); a real one has hundreds of kilobytes. */
function goTable(magic) {
  const text = (value) => Buffer.from(`${value}\0`);
  const names = Buffer.concat([text(''), text('main.main'), text('main.open')]);
  const units = Buffer.from(new Uint32Array([0, 13]).buffer);
  const files = Buffer.concat([text('/src/main.go'), text('/src/open.go')]);
  // Zigzag differences with code lengths: 16 then 48 bytes; file 0 then 1; lines 7 and 9.
  const values = Buffer.from([0, 0x22, 0x10, 0x40, 0x30, 0, 2, 0x20, 2, 0x20, 0, 0x10, 0x20, 4, 0x20, 0]);
  const relative = magic !== 0xfffffffa;
  const head = relative ? 72 : 64;
  const at = [head];
  for (const part of [names, units, files, values]) at.push(at.at(-1) + part.length);
  const functionBytes = 44;
  const entries = relative ? 2 * 8 + 4 : 2 * 16 + 8;
  const table = Buffer.alloc(entries + 2 * functionBytes);
  for (let i = 0; i < 2; i++) {
    const record = entries + i * functionBytes;
    if (relative) {
      table.writeUInt32LE(i * 64, i * 8);
      table.writeUInt32LE(record, i * 8 + 4);
      table.writeUInt32LE(i * 64, record);
    } else {
      table.writeBigUInt64LE(0x401000n + BigInt(i * 64), i * 16);
      table.writeBigUInt64LE(BigInt(record), i * 16 + 8);
    }
    const fields = relative ? record + 4 : record + 8;
    [i === 0 ? 1 : 11, 0, 0, 1, 6, 11, 2, i].forEach((value, index) => {
      if (fields + index * 4 + 4 <= table.length) table.writeUInt32LE(value, fields + index * 4);
    });
  }
  if (relative) table.writeUInt32LE(128, 16);
  else table.writeBigUInt64LE(0x401080n, 32);
  const header = Buffer.alloc(head);
  header.writeUInt32LE(magic, 0);
  header.writeUInt8(1, 6);
  header.writeUInt8(8, 7);
  const words = [2, 2, ...(relative ? [0x401000] : []), ...at];
  for (const [index, value] of words.entries()) header.writeBigUInt64LE(BigInt(value), 8 + index * 8);
  return Buffer.concat([header, names, units, files, values, table]);
}

function textSeeds() {
  const entry = (at, size, name) => `${(0x7f0000000000 + at).toString(16)} ${size.toString(16)} ${name}\n`;
  const map =
    entry(0, 0x40, 'first') + entry(0x40, 0x40, 'JS:*second file.js:3') + entry(0x20, 0x40, 'py::third:/x.py');
  const parted = (at, replaces) => Buffer.from([((at << 1) | replaces) & 0xff, ((at << 1) | replaces) >> 8]);
  keep('perf-map', 'grown', Buffer.concat([parted(30, 0), Buffer.from(map)]));
  keep('perf-map', 'rewritten', Buffer.concat([parted(60, 1), Buffer.from(map + map.replace('0x', ''))]));
  const maps = [
    '00400000-00401000 r-xp 00000000 00:01 5                          /program',
    '7f0000000000-7f0000001000 r-xp 00000000 00:00 0 ',
    '7f0000002000-7f0000003000 rwxp 00000000 00:05 9 /memfd:jit (deleted)',
    '7f0000004000-7f0000005000 r-xp 00002000 fe:01 77 /usr/lib/jvm/libjvm.so',
    '7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]',
    'ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]',
  ].join('\n');
  const mountinfo = '22 1 254:1 / / rw - ext4 /dev/root rw\n30 22 0:55 / /mnt rw - fuse.x x rw\n';
  const status = 'Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t900\t7\n';
  const stat = `7 (a) b) S ${Array(18).fill(1).join(' ')} 100 0 0\n`;
  keep('maps', 'process', [`${maps}\n`, mountinfo, status, stat, 'java\0-XX:+PreserveFramePointer\0'].join('\0'));
}

const number = (bytes, value) => {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 8) buffer.writeBigInt64LE(BigInt(value));
  else buffer.writeUIntLE(value, 0, bytes);
  return buffer;
};

/** native/unwinder/protocol.h; types and sizes are as the compiler lays them out. */
function protocolSeeds() {
  const message = (type, ...fields) => {
    const body = Buffer.concat(fields);
    return Buffer.concat([number(4, type), number(4, body.length + 8), body]);
  };
  const words = (...values) => Buffer.concat(values.map((value) => number(4, value)));
  const longs = (...values) => Buffer.concat(values.map((value) => number(8, value)));
  const said = (flags, bytes) => Buffer.concat([Buffer.from([flags]), number(2, bytes.length), bytes]);
  const chunk = Buffer.alloc(1024);
  for (let at = 0; at + 8 <= chunk.length; at += 8) number(8, 0x400000 + 5 * at).copy(chunk, at);
  const sample = (ref) => {
    const head = Buffer.concat([
      longs(ref, 1, 0),
      words(7, 7, 0, 1),
      longs(0),
      words(7, 0),
      longs(5, 0, 0x7ffd00000000, 0, 0),
    ]);
    const registers = Array(33).fill(0x7ffd00000010);
    registers[16] = 0x400700;
    return Buffer.concat([head, words(1, 0), longs(...registers), chunk]);
  };
  const introduced = [
    said(3, message(1, words(1, 4, 0, 0), Buffer.from('/x/y'))),
    said(3, message(2, words(1, 2, 0, 0))),
    said(1, message(3, words(1, 1, 1, 0), longs(0x400000, 0x402000, 0), words(1, 0))),
    said(1, message(5, words(1, 1), sample(1))),
    said(1, message(6, longs(1))),
  ];
  keep('to-unwinder', 'sample', Buffer.concat(introduced));
  keep(
    'to-unwinder',
    'others',
    Buffer.concat([said(3, message(7, words(4, 0), Buffer.from('abcd'))), said(1, message(4, words(1, 0)))]),
  );
  const heard = (bytes) => Buffer.concat([number(2, bytes.length), bytes]);
  const frame = Buffer.concat([longs(0x400700, -1), Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])]);
  const path = (ref) => message(65, longs(ref, 0x1111), words(1, 0, 1, 0), frame);
  const named = Buffer.concat([
    longs(0x700),
    words(12),
    Buffer.from([1, 2]),
    number(2, 4),
    number(2, 2),
    number(2, 3),
    words(0),
    Buffer.from('main/xa.c'),
    Buffer.from([0xab, 0xcd]),
  ]);
  const names = (last) => message(67, longs(0x1111), words(1, 0, 1, last), named);
  keep('to-client', 'answers', Buffer.concat([path(1), path(2), message(66, longs(3))].map(heard)));
  keep(
    'to-client',
    'all',
    Buffer.concat([path(1), path(2), path(3), names(0), names(1), names(1), message(68, words(1, 0))].map(heard)),
  );
  keep('to-client', 'module', heard(message(70, words(1, 0))));
}

/** native/code_reader/protocol.h and native/unwinder/protocol.h, as one tracer hears both. */
function helperSeeds() {
  const words = (...values) => Buffer.concat(values.map((value) => number(4, value)));
  const longs = (...values) => Buffer.concat(values.map((value) => number(8, value)));
  const typed = (type, ...fields) => {
    const body = Buffer.concat(fields);
    return Buffer.concat([words(type, body.length + 8), body]);
  };
  const said = (flags, ...parts) => {
    const bytes = Buffer.concat(parts);
    return Buffer.concat([Buffer.from([flags]), number(2, bytes.length), bytes]);
  };
  const file = (passed) => typed(1, longs(1, 2, 3, 4, 5), words(0, 0, passed, 4), Buffer.from('/x/y'));
  const mappings = typed(2, longs(0x400000, 0x402000, 0), words(1, 0), longs(0x500000, 0x501000, 0), words(0, 1));
  const backed = typed(3, longs(77));
  const end = (question, { error = 0, took = 1000, map = 0 } = {}) =>
    typed(4, longs(question, 99, took), words(error, map ? 2 : 0, 0, map));
  const read = (question, more) => said(0x42, file(1), mappings, backed, end(question, { map: 1, ...more }));
  const byUnwinder = (type, ...fields) => said(0x80, typed(type, ...fields));
  const taken = byUnwinder(70, words(1, 0));
  const frame = Buffer.concat([longs(0x400700, -1), Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])]);
  const path = (ref) => byUnwinder(65, longs(ref, 0x1111), words(1, 0, 1, 0), frame);
  const needsMaps = (ref) => byUnwinder(66, longs(ref));
  const gone = (question) => said(0, end(question, { error: 3 }));
  const keepAll = (name, ...packets) => keep('from-helpers', name, Buffer.concat(packets));
  keepAll('paths', read(1), taken, path(1), path(3), needsMaps(5), read(2), path(2), path(4), read(3), path(6));
  keepAll('gone', gone(1), gone(2), gone(3), gone(4), read(5), taken, path(1));
  keepAll('parts', said(0x41, file(1)), said(0, mappings), said(0, backed), said(0x41, end(1, { map: 1 })), taken);
  keepAll('regression-empty-list', said(0, typed(2)));
  keepAll('regression-goes-on-for-ever', ...Array(300).fill(said(0, backed)));
  const leftOut = (question) => said(0, file(0), mappings, end(question));
  keepAll('regression-file-left-out', ...Array.from({ length: 60 }, (_, i) => leftOut(i + 1)));
  keepAll('regression-took-an-age', read(1, { took: 2n ** 60n }), taken, needsMaps(1));
}

try {
  elfSeeds();
  for (const [name, magic] of Object.entries({ 'go1.16': 0xfffffffa, 'go1.18': 0xfffffff0, 'go1.20': 0xfffffff1 }))
    keep('go-table', name, goTable(magic));
  textSeeds();
  protocolSeeds();
  helperSeeds();
} finally {
  rmSync(work, { recursive: true });
}
