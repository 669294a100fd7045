// Call paths of native programs: frame by frame against chains that are known, and against gdb.
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { afterAll, expect, test } from 'vitest';
import { functionsOf, probe, probeOne, requireTools, Workshop } from './unwinder-probe.ts';

const workshop = new Workshop();
afterAll(() => workshop.close());

const chain = ['socket', 'open_socket', 'third', 'second', 'first'];

/** Without the C library's beginnings, which have other names where it has no debug file. */
const own = (names: string[]): string[] => names.slice(0, names.lastIndexOf('main') + 1);

const variants: Record<string, string[]> = {
  O0: ['-O0'],
  O2: ['-O2'],
  'O2 without frame pointers': ['-O2', '-fomit-frame-pointer'],
  'O2 with frame pointers': ['-O2', '-fno-omit-frame-pointer'],
  static: ['-O2', '-static'],
  'not position-independent': ['-O2', '-no-pie'],
};

for (const [name, flags] of Object.entries(variants))
  test(`a chain of C, ${name}`, (context) => {
    requireTools(context, 'gcc');
    const program = workshop.c(`chain-${name.replaceAll(/\W/g, '-')}`, flags);
    const path = probeOne([program, 'chain']);
    expect(path).toMatchObject({ quality: 'complete', notes: [] });
    expect(own(functionsOf(path.names))).toEqual([...chain, 'main']);
    expect(functionsOf(path.names).at(-1)).toBe('_start');
    const lines = path.names.filter(({ file }) => file.endsWith('chain.c')).map(({ line }) => line);
    expect(lines).toEqual([23, 28, 34, 39, 168]);
    expect(path.frames.map(({ how }) => how)).toEqual(['leaf', ...path.frames.slice(1).map(() => 'cfi')]);
    // Each but the leaf was read from a word of the stack, deeper each time.
    const offsets = path.frames.slice(1).map(({ returnOffset }) => returnOffset);
    expect(offsets).toEqual([...offsets].sort((a, b) => a - b));
    expect(offsets[0]).toBeGreaterThanOrEqual(0);
  });

test('equal frames are one path in every run, others are not', (context) => {
  requireTools(context, 'gcc');
  const program = workshop.c('chain', ['-O2']);
  const ids = ['chain', 'chain', 'thread'].map((what) => probeOne([program, what]).path);
  expect(ids[0]).toBe(ids[1]);
  expect(ids[2]).not.toBe(ids[0]);
});

const shapes: { what: string[]; functions: string[] }[] = [
  { what: ['inlined'], functions: ['socket', 'open_socket', 'inlined_inner', 'inlined_outer', 'with_inlined', 'main'] },
  { what: ['realigned'], functions: [...chain, 'realigned', 'main'] },
  { what: ['alloca', '20000'], functions: [...chain, 'with_alloca', 'main'] },
  { what: ['deep', '5'], functions: ['socket', 'open_socket', ...Array(6).fill('deep'), 'main'] },
];
for (const { what, functions } of shapes)
  test(`${what.join(' ')}`, (context) => {
    requireTools(context, 'gcc');
    const path = probeOne([workshop.c('chain-O1', ['-O1', '-fno-optimize-sibling-calls']), ...what]);
    expect(path.quality).toBe('complete');
    expect(own(functionsOf(path.names))).toEqual(functions);
  });

test('an inlined function has the line of its call, and no frame of its own', (context) => {
  requireTools(context, 'gcc');
  const { names } = probeOne([workshop.c('chain', ['-O2']), 'inlined']);
  const places = names.slice(1, 5).map((frame) => [frame.function, frame.line, frame.how]);
  expect(places).toEqual([
    ['open_socket', 23, 'cfi'],
    ['inlined_inner', 44, 'inlined'],
    ['inlined_outer', 49, 'inlined'],
    ['with_inlined', 54, 'cfi'],
  ]);
});

test('a thread ends where it was cloned', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([workshop.c('chain', ['-O2']), 'thread']);
  expect(path.quality).toBe('complete');
  expect(functionsOf(path.names).slice(0, 6)).toEqual([...chain, 'on_thread']);
  expect(functionsOf(path.names).at(-1)).toMatch(/^clone/);
});

test('through a signal handler to what it interrupted', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([workshop.c('chain', ['-O2']), 'signal']);
  expect(path.quality).toBe('complete');
  const functions = functionsOf(path.names);
  expect(functions.slice(0, 6)).toEqual([...chain, 'on_signal']);
  // The C library's function has two names.
  const raise = functions.findIndex((name) => name === 'raise' || name === 'gsignal');
  expect(functions.slice(raise + 1, raise + 3)).toEqual(['interrupted', 'main']);
});

test('where a signal has a stack of its own, the path ends and says so', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([workshop.c('chain', ['-O2']), 'altstack']);
  expect(path).toMatchObject({ quality: 'truncated', notes: [expect.stringContaining('another stack')] });
  expect(functionsOf(path.names).slice(0, 6)).toEqual([...chain, 'on_signal']);
});

test('more than 128 frames are truncated there', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([workshop.c('chain', ['-O2']), 'deep', '200']);
  expect(path).toMatchObject({ quality: 'truncated' });
  expect(path.frames).toHaveLength(128);
  expect(new Set(functionsOf(path.names).slice(2))).toEqual(new Set(['deep']));
});

test('a stack that was copied in part is truncated, not invented', (context) => {
  requireTools(context, 'gcc');
  const program = workshop.c('chain', ['-O2']);
  const whole = probeOne([program, 'alloca', '20000']);
  const short = probeOne([program, 'alloca', '20000'], { flags: ['-c', '9'] });
  expect(short.quality).toBe('truncated');
  expect(functionsOf(short.names)).toEqual(functionsOf(whole.names).slice(0, short.names.length));
  expect(functionsOf(short.names).at(-1)).toBe('with_alloca');
  const holed = probeOne([program, 'alloca', '20000'], { flags: ['-r', '0x1ffff0000'] });
  expect(holed).toMatchObject({ quality: 'truncated', notes: [expect.stringContaining('not in memory')] });
});

test('a callback through the C library', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([workshop.c('chain', ['-O2']), 'callback']);
  expect(path.quality).toBe('complete');
  expect(functionsOf(path.names).slice(0, 6)).toEqual([...chain, 'compare']);
  expect(functionsOf(path.names)).toContain('main');
});

test('a library that came later is asked for and found', (context) => {
  requireTools(context, 'gcc');
  const plugin = workshop.c('plugin.so', ['-O2', '-shared', '-fPIC'], 'plugin.c');
  const { unwound, named } = probe([workshop.c('chain', ['-O2']), 'plugin', plugin], { flags: ['-n', '0'] });
  expect(unwound.map(({ quality }) => quality)).toEqual(['complete', 'complete']);
  expect(functionsOf(named[1]?.frames ?? []).slice(0, 7)).toEqual([...chain, 'plugin_inner', 'plugin_enter']);
});

test('stripped, with its debug file elsewhere', (context) => {
  requireTools(context, 'gcc', 'objcopy', 'strip');
  const program = workshop.path('linked');
  copyFileSync(workshop.c('chain-no-id', ['-O2', '-Wl,--build-id=none']), program);
  mkdirSync(workshop.path('.debug'), { recursive: true });
  workshop.run('objcopy', '--only-keep-debug', program, '.debug/linked.debug');
  workshop.run('strip', program);
  const stripped = probeOne([program, 'chain']);
  workshop.run('objcopy', '--add-gnu-debuglink=.debug/linked.debug', program);
  const linked = probeOne([program, 'chain']);
  expect(own(functionsOf(linked.names))).toEqual([...chain, 'main']);
  expect(linked.names.slice(1, 6).map(({ line }) => line)).toEqual([23, 28, 34, 39, 168]);
  // Without it: the same frames, by module and offset; nobody's name for them.
  expect(stripped.quality).toBe('complete');
  const bare = stripped.names.filter(({ module }) => module === program);
  expect(bare.map((frame) => [frame.function, frame.offset])).toEqual(
    linked.names.filter(({ module }) => module === program).map(({ offset }) => ['', offset]),
  );
  // A debug file of another build is no help.
  writeFileSync(workshop.path('.debug/linked.debug'), 'something else');
  expect(functionsOf(probeOne([program, 'chain']).names).slice(1, 6)).toEqual(Array(5).fill('[linked]'));
});

test('a debug file that is a FIFO, or lies where only this host sees it, is left alone', (context) => {
  requireTools(context, 'gcc', 'objcopy', 'strip', 'mkfifo', 'unshare', 'mount');
  const built = workshop.c('chain-no-id', ['-O2', '-Wl,--build-id=none']);
  const inside = workshop.path('with-debug-link');
  const outside = workshop.path('beside-another');
  mkdirSync(`${outside}/.debug`, { recursive: true });
  mkdirSync(`${inside}/.debug`, { recursive: true });
  workshop.run('objcopy', '--only-keep-debug', built, `${outside}/.debug/service.debug`);
  workshop.run('strip', '-o', `${inside}/service`, built);
  workshop.run('objcopy', `--add-gnu-debuglink=${outside}/.debug/service.debug`, `${inside}/service`);
  workshop.run('mkfifo', `${inside}/.debug/service.debug`);
  const own = probe([`${inside}/service`, 'chain']);
  expect(own.end.deaths).toBe(0);
  expect(functionsOf(own.named[0]?.frames ?? []).slice(1, 6)).toEqual(Array(5).fill('[service]'));
  const script = `mount --bind ${inside} ${outside} && exec ${outside}/service chain`;
  const elsewhere = probeOne(['unshare', '--mount', 'sh', '-c', script]);
  expect(functionsOf(elsewhere.names).slice(1, 6)).toEqual(Array(5).fill('[service]'));
});

test('a program that was deleted, and replaced by another one', (context) => {
  requireTools(context, 'gcc');
  const program = workshop.path('replaced');
  copyFileSync(workshop.c('chain', ['-O2']), program);
  const other = workshop.c('chain-O0', ['-O0']);
  const move = `cp ${other} ${program}.new; mv ${program}.new ${program}`;
  // It moves its own file away before the first socket.
  const path = probeOne(['/bin/sh', '-c', `exec 3<${program}; ${move}; exec /proc/self/fd/3 chain`]);
  expect(path.quality).toBe('complete');
  expect(own(functionsOf(path.names))).toEqual([...chain, 'main']);
  expect(path.names[1]?.module).toMatch(/replaced \(deleted\)$/);
});

test('in another mount and pid namespace, where its path is another file here', (context) => {
  requireTools(context, 'gcc', 'unshare', 'mount');
  const inside = workshop.path('inside');
  const outside = workshop.path('outside');
  mkdirSync(inside);
  mkdirSync(outside);
  copyFileSync(workshop.c('chain', ['-O2']), `${inside}/service`);
  copyFileSync(workshop.c('chain-O0', ['-O0']), `${outside}/service`);
  const script = `mount --bind ${inside} ${outside} && exec ${outside}/service chain`;
  const path = probeOne(['unshare', '--mount', '--pid', '--fork', 'sh', '-c', script]);
  expect(path.quality).toBe('complete');
  expect(own(functionsOf(path.names))).toEqual([...chain, 'main']);
  const same = probeOne([`${inside}/service`, 'chain']);
  expect(path.path).toBe(same.path);
  expect(path.names[1]).toMatchObject({ module: `${outside}/service`, buildId: same.names[1]?.buildId });
});

test('C++: scopes, templates, inlined functions, a lambda', (context) => {
  requireTools(context, 'g++');
  const path = probeOne([workshop.c('chain-cc', ['-O2'], 'chain.cc')]);
  expect(path.quality).toBe('complete');
  expect(functionsOf(path.names).slice(0, 4)).toEqual([
    'socket',
    'shop::Counter<long>::open(long)',
    'shop::inlined(shop::Counter<long>&)',
    'shop::serve(shop::Counter<long>&, int)',
  ]);
  expect(functionsOf(path.names)).toContain('main');
});

test('a process that has gone before its code could be read', (context) => {
  requireTools(context, 'gcc');
  const path = probeOne([workshop.c('chain', ['-O2']), 'chain'], { flags: ['-x'] });
  expect(path).toMatchObject({ quality: 'unreadable', frames: [], notes: ['exited before its code could be read'] });
});

test('an unwinder that is killed is started again, and is told again', (context) => {
  requireTools(context, 'gcc');
  const { unwound, end } = probe([workshop.c('chain', ['-O2']), 'chain'], { flags: ['-k'] });
  expect(end.deaths).toBe(1);
  expect(unwound.at(-1)).toMatchObject({ quality: 'complete', ref: 1 });
});

const others = ['chain', 'signal', 'alloca 20000', 'realigned', 'deep 20', 'inlined'];
test('gdb finds the same frames', (context) => {
  requireTools(context, 'gcc', 'gdb');
  const program = workshop.c('chain', ['-O2']);
  for (const what of others) {
    // gdb can not attach to what is traced: so the program itself runs under it, to the same system call.
    const path = probeOne([program, ...what.split(' ')]);
    const script = workshop.path('commands');
    const commands = ['set debuginfod enabled off', 'catch syscall socket', `run ${what}`, 'continue', 'bt'];
    writeFileSync(script, `${commands.join('\n')}\n`);
    const text = workshop.output('gdb', '-batch', '-nx', '-x', script, program);
    const found = [...text.matchAll(/^#\d+ +(?:0x[0-9a-f]+ in )?(<signal handler called>|[\w.@]+)/gm)].map(
      ([, name = '']) => name,
    );
    expect(found.length, text).toBeGreaterThan(4);
    // It also shows functions that jumped to the next one and have no frame: so does the C library, to raise a signal.
    const shown = found.filter((name) => !name.includes('pthread_kill'));
    const clean = (name: string) =>
      name
        .replace(/^(__GI_+|__)/, '')
        .replace(/_impl$/, '')
        .replace('gsignal', 'raise');
    const ours = functionsOf(path.names)
      .filter((name) => !name.includes('pthread_kill'))
      .map((name) => (name === '[libc.so.6]' ? '<signal handler called>' : clean(name)));
    expect(ours.slice(0, shown.length), what).toEqual(shown.map(clean));
  }
});
