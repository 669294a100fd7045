// What the traced side may put before the unwinder: no file of it blocks or crashes the tracer, a crash of the unwinder
// costs one answer, and nothing is believed that was not checked.
import { chmodSync, copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { functionsOf, probe, probeOne, requireTools, unwinder, Workshop } from './unwinder-probe.ts';

const workshop = new Workshop();
const perfMaps = () => readdirSync('/tmp').filter((name) => /^perf-\d+\.map(\.other)?$/.test(name));
const before = new Set(perfMaps());
afterAll(() => {
  workshop.close();
  for (const name of perfMaps()) if (!before.has(name)) rmSync(join('/tmp', name), { recursive: true, force: true });
});

const jit = () => workshop.c('jit', ['-O0', '-fno-omit-frame-pointer'], 'jit.c');
const generated = (kind: string) => {
  const path = probeOne([jit(), kind]);
  const functions = functionsOf(path.names);
  const main = functions.indexOf('main');
  expect(functions.slice(0, 2)).toEqual(['socket', 'open_socket']);
  expect(main).toBe(3);
  // Nobody promised that this code keeps frame pointers, even though it does.
  expect(path.quality).toBe('unreliable');
  expect(path.frames.slice(2, 4).map(({ how, flags }) => [how, flags])).toEqual([
    ['cfi', 1],
    ['guess', 0],
  ]);
  return { name: path.names[2]?.function, notes: path.notes };
};

for (const kind of ['good', 'torn', 'again', 'sparse'])
  test(`a perf map that is ${kind} names the code`, (context) => {
    requireTools(context, 'gcc');
    expect(generated(kind)).toEqual({ name: 'generated', notes: [] });
  });

test('memory that is used again has the name of its latest function', (context) => {
  requireTools(context, 'gcc');
  const { named } = probe([jit(), 'good'], { flags: ['-n', '0'] });
  expect(named.map(({ frames }) => functionsOf(frames)[2])).toEqual(['generated', 'second', 'third']);
});

test('a perf map of garbage names nothing', (context) => {
  requireTools(context, 'gcc');
  const { name, notes } = generated('garbage');
  expect(name).toBe('');
  expect(notes).toEqual([expect.stringContaining('no names')]);
});

for (const kind of ['fifo', 'directory', 'symlink', 'foreign', 'hardlink'])
  test(`a perf map that is a ${kind} is refused, and that is said`, (context) => {
    requireTools(context, 'gcc');
    const { name, notes } = generated(kind);
    expect(name).toBe('');
    expect(notes).toContainEqual(expect.stringContaining('not a regular file of its own user'));
  });

test('10,000 executable mappings', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([jit(), 'mappings', '10000']);
  expect(path).toMatchObject({ quality: 'complete', notes: [] });
  expect(functionsOf(path.names).slice(0, 3)).toEqual(['socket', 'open_socket', 'main']);
});

test('code of more files than are read is called that, and not generated', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([jit(), 'files', '600']);
  expect(path.notes).toContain('it has more mappings than are read');
  // Mapped below the C library, they have taken its place.
  expect(path.names[0]).toMatchObject({ function: '', module: expect.stringMatching(/^\[a file beyond the \d+ /) });
  expect(path.frames.map(({ flags }) => flags & 1)).toEqual(path.frames.map(() => 0));
});

test('an unwinder whose tables are full is replaced, and no sample is lost', (context) => {
  requireTools(context, 'gcc');
  const script = `for i in 1 2 3 4 5 6; do ${jit()} files 450; done`;
  const { unwound, end } = probe(['/bin/sh', '-c', script], { flags: ['-n', '0'] });
  expect(unwound.map(({ quality }) => quality)).toEqual(Array(6).fill('complete'));
  expect(new Set(unwound.map(({ path }) => path)).size).toBe(1);
  expect(end).toMatchObject({ deaths: 0 });
  expect(end.replaced).toBeGreaterThanOrEqual(1);
});

test('a child that has gone is read by its parent, which runs the same code', (context) => {
  requireTools(context, 'gcc');
  const program = workshop.c('chain', ['-O2']);
  const path = probeOne([program, 'fork'], { flags: ['-f'] });
  expect(path.quality).toBe('complete');
  expect(functionsOf(path.names).slice(0, 5)).toEqual(['socket', 'open_socket', 'third', 'second', 'first']);
});

function fakeHelper(name: string, script: string): string {
  const path = workshop.path(name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

// struct ReadyMessage
const ready = "printf '\\100\\0\\0\\0\\020\\0\\0\\0\\002\\0\\0\\0\\0\\0\\0\\0' >&3";
const frauds: Record<string, string> = {
  'says nothing': `${ready}; exec sleep 1000`,
  'ends at once': `${ready}; exit 0`,
  'talks nonsense': `${ready}; echo nonsense >&3; exec sleep 1000`,
};
for (const [what, script] of Object.entries(frauds))
  test(`an unwinder that ${what} is killed, and costs the sample`, (context) => {
    requireTools(context, 'gcc');
    const fake = fakeHelper(what.replaceAll(' ', '-'), script);
    const { unwound, end } = probe([workshop.c('chain', ['-O2']), 'chain'], { flags: ['-u', fake, '-t', '300'] });
    expect(unwound).toHaveLength(1);
    expect(unwound[0]).toMatchObject({
      quality: 'unreadable',
      frames: [],
      notes: [expect.stringMatching(/died|not be started/)],
    });
    expect(end.deaths).toBeGreaterThanOrEqual(1);
  });

const refusals: Record<string, string> = {
  'ends before it is ready': 'exit 0',
  'talks nonsense at once': 'echo nonsense >&3; exec sleep 1000',
};
for (const [what, script] of Object.entries(refusals))
  test(`an unwinder that ${what} is not relied upon`, (context) => {
    requireTools(context, 'gcc');
    const fake = fakeHelper(what.replaceAll(' ', '-'), script);
    expect(() => probe([workshop.c('chain', ['-O2']), 'chain'], { flags: ['-u', fake] })).toThrow(/start .*: it /);
  });

for (const [what, script] of Object.entries({
  'ends at once': 'exit 0',
  'talks nonsense': 'echo nonsense >&3; exec sleep 1000',
}))
  test(`a code reader that ${what} costs the sample, and no more`, (context) => {
    requireTools(context, 'gcc');
    const fake = fakeHelper(`reader-${what.replaceAll(' ', '-')}`, script);
    const { unwound, end } = probe([workshop.c('chain', ['-O2']), 'chain'], { flags: ['-R', fake] });
    expect(unwound).toMatchObject([{ quality: 'unreadable', frames: [] }]);
    expect(end.deaths).toBe(0);
  });

test('an unwinder whose file was removed is started again', (context) => {
  requireTools(context, 'gcc');
  const copy = workshop.path('unwinder');
  copyFileSync(unwinder, copy);
  const script = `rm ${copy}; exec ${workshop.c('chain', ['-O2'])} chain`;
  const { unwound, end } = probe(['/bin/sh', '-c', script], { flags: ['-u', copy, '-k'] });
  expect(existsSync(copy)).toBe(false);
  expect(end.deaths).toBe(1);
  expect(unwound.at(-1)).toMatchObject({ quality: 'complete' });
});

test('an unwinder that cannot be started again costs the samples, and no more', (context) => {
  requireTools(context, 'gcc');
  const fake = fakeHelper('once', `mkdir ${workshop.path('started')} || exit 1; ${ready}; exec sleep 1000`);
  const { unwound } = probe([workshop.c('chain', ['-O2']), 'chain'], { flags: ['-u', fake, '-k'] });
  expect(unwound).toHaveLength(2);
  expect(unwound.at(-1)?.notes).toEqual(['the unwinder could not be started']);
});

test('root without the right to change its user has call paths too', (context) => {
  requireTools(context, 'gcc', 'setpriv');
  const under = ['setpriv', '--bounding-set', '-all,+sys_ptrace,+sys_admin'];
  expect(probeOne([workshop.c('chain', ['-O2']), 'chain'], { under })).toMatchObject({ quality: 'complete' });
});

test('code of a file that cannot be opened has the name of the file, and a place in it', (context) => {
  requireTools(context, 'gcc', 'setpriv');
  const program = workshop.path('removed');
  copyFileSync(workshop.c('chain', ['-O2', '-fno-omit-frame-pointer']), program);
  // Without the right to /proc/PID/map_files, what has no name any more is out of reach.
  const under = ['setpriv', '--bounding-set', '-all,+sys_ptrace'];
  const script = `exec 3<${program}; rm ${program}; exec /proc/self/fd/3 chain`;
  const path = probeOne(['/bin/sh', '-c', script], { under });
  expect(path.notes).toContain('a file of its code could not be opened');
  const own = path.names.find(({ module }) => module === `${program} (deleted)`);
  expect(own).toMatchObject({ function: '', offset: expect.stringMatching(/^1[0-9a-f]{3}$/) });
});

test('a library that takes the place of another one is not called by its name', (context) => {
  requireTools(context, 'gcc');
  const former = workshop.c('former.so', ['-O2', '-shared', '-fPIC', '-DINNER=former_inner'], 'plugin.c');
  const latter = workshop.c('latter.so', ['-O2', '-shared', '-fPIC', '-DINNER=latter_inner'], 'plugin.c');
  const program = [workshop.c('chain', ['-O2']), 'replaced', former, latter];
  const { named, changed } = probe(program, { flags: ['-n', '0', '-m', '0'] });
  const callers = named.map(({ frames }) => functionsOf(frames)[5]);
  expect(callers).toHaveLength(40);
  expect(callers.slice(0, 20)).toEqual(Array(20).fill('former_inner'));
  expect(callers.at(-1)).toBe('latter_inner');
  expect(changed).toBe(1);
});

test('the stack of a program is not read by the code of the one that it became', (context) => {
  requireTools(context, 'gcc');
  const program = [workshop.c('chain', ['-O2', '-no-pie']), 'exec', workshop.c('chain-O0', ['-O0', '-no-pie'])];
  const { unwound } = probe(program, { flags: ['-e'] });
  expect(unwound).toMatchObject([{ quality: 'unreadable', notes: ['the process has called exec since'] }]);
});

/** The same sequence each time: a failure must come back. */
function* numbers(seed: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 8;
  }
}

interface Section {
  name: string;
  offset: number;
  size: number;
}

function sectionsOf(elf: Buffer): Section[] {
  const table = Number(elf.readBigUInt64LE(40));
  const count = elf.readUInt16LE(60);
  const header = (index: number) => elf.subarray(table + index * 64, table + (index + 1) * 64);
  const names = Number(header(elf.readUInt16LE(62)).readBigUInt64LE(24));
  const nameAt = (at: number) => elf.toString('latin1', names + at, elf.indexOf(0, names + at));
  const all = Array.from({ length: count }, (_, index) => header(index)).map((section) => ({
    name: nameAt(section.readUInt32LE(0)),
    offset: Number(section.readBigUInt64LE(24)),
    size: section.readUInt32LE(4) === 8 ? 0 : Number(section.readBigUInt64LE(32)),
  }));
  return [...all, { name: 'section headers', offset: table, size: count * 64 }];
}

// What neither the kernel nor the dynamic linker reads, so that the program still runs.
const readByUs =
  /^(\.debug_.*|\.symtab|\.strtab|\.shstrtab|\.eh_frame|\.eh_frame_hdr|\.note\.gnu\.build-id|section headers)$/;
const cases = 150;

test(`${cases} damaged copies of a program`, { timeout: 120_000 }, (context) => {
  requireTools(context, 'gcc');
  const original = readFileSync(workshop.c('chain-small', ['-O2', '-fno-asynchronous-unwind-tables', '-fexceptions']));
  const sections = sectionsOf(original).filter(({ name, size }) => readByUs.test(name) && size > 0);
  expect(sections.length).toBeGreaterThan(10);
  const random = numbers(20261124);
  const next = (below: number): number => (random.next().value as number) % below;
  const damaged = workshop.path('damaged');
  const outcomes: Record<string, number> = {};
  for (let number = 0; number < cases; number++) {
    const copy = Buffer.from(original);
    for (let change = 0; change <= next(20); change++) {
      const section = sections[next(sections.length)];
      if (section === undefined) continue;
      const at = section.offset + next(section.size);
      const values = [0, 0xff, 0x7f, 0x80, next(256)];
      copy[at] = values[next(values.length)] ?? 0;
    }
    const debug = sections.find(({ name }) => name === '.debug_info')?.offset ?? copy.length;
    writeFileSync(damaged, number % 25 === 24 ? copy.subarray(0, debug + next(copy.length - debug)) : copy);
    chmodSync(damaged, 0o755);
    const { unwound, end } = probe([damaged, 'chain']);
    expect(unwound).toHaveLength(1);
    const [path] = unwound;
    expect(path?.frames.length).toBeLessThanOrEqual(128);
    const died = path?.notes.some((note) => note.includes('died')) ?? false;
    expect(died ? path?.quality : 'answered').toBe(died ? 'unreadable' : 'answered');
    const outcome = died || end.deaths > 0 ? 'died' : (path?.quality ?? 'none');
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    rmSync(damaged);
  }
  console.info(`damaged copies: ${JSON.stringify(outcomes)}`);
  expect(outcomes['complete']).toBeGreaterThan(0);
  // The damage was met, too.
  expect((outcomes['complete'] ?? 0) - cases).toBeLessThan(0);
});

test('the unwinder has no privileges', (context) => {
  requireTools(context, 'gcc');
  const program = workshop.c('chain', ['-O2']);
  // Its parent is the probe, whose child the traced program is too.
  const script =
    "p=$(awk '/^PPid/{print $2}' /proc/$1/status); for c in $(cat /proc/$p/task/$p/children); do " +
    'grep -q socktrace-unw /proc/$c/comm && cat /proc/$c/status /proc/$c/stat && ls /proc/$c/fd; done';
  const { shell } = probeOne([program, 'chain'], { flags: ['-b', script] });
  expect(shell).toMatch(/^Uid:\t65534\t65534\t65534\t65534$/m);
  expect(shell).toMatch(/^Gid:\t65534\t65534\t65534\t65534$/m);
  expect(shell).toMatch(/^Groups:\t *$/m);
  expect(shell).toMatch(/^CapPrm:\t0+$/m);
  expect(shell).toMatch(/^CapEff:\t0+$/m);
  expect(shell).toMatch(/^NoNewPrivs:\t1$/m);
  expect(shell).toMatch(/^Seccomp:\t2$/m);
  // Nor does it end of what a terminal sends: SIGHUP, SIGINT, SIGTERM.
  expect(shell).toMatch(/^SigIgn:\t[0-9a-f]+4003$/m);
  const session = /^\d+ \(socktrace-unwin\) \S+ \d+ \d+ (\d+)/m.exec(shell)?.[1];
  expect(session).toBe(/^Pid:\t(\d+)$/m.exec(shell)?.[1]);
});
