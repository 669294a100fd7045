// Call paths of other languages: by their own tables, by the names that their JIT compilers write, or with the advice
// that would make them whole.
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { notRun } from './not-run.ts';
import { functionsOf, probe, probeOne, requireTools, source, Workshop } from './unwinder-probe.ts';

const workshop = new Workshop();
const perfMaps = () => readdirSync('/tmp').filter((name) => /^perf-\d+\.map$/.test(name));
const before = new Set(perfMaps());
afterAll(() => {
  workshop.close();
  for (const name of perfMaps()) if (!before.has(name)) rmSync(join('/tmp', name), { force: true });
});

function go(name: string, ...flags: string[]): string {
  const output = workshop.path(name);
  if (!existsSync(output)) workshop.run('go', 'build', ...flags, '-o', output, source('chain.go'));
  return output;
}

const goBuilds: Record<string, string[]> = {
  whole: [],
  stripped: ['-ldflags', '-s -w'],
  'stripped and position-independent': ['-buildmode=pie', '-ldflags', '-s -w'],
};
for (const [name, flags] of Object.entries(goBuilds))
  test(`Go, ${name}`, { timeout: 180_000 }, (context) => {
    requireTools(context, 'go');
    const program = go(`go-${name.replaceAll(' ', '-')}`, ...flags);
    for (const [what, last] of [
      ['main', 'main.main'],
      ['goroutine', 'main.main.func1'],
    ] as const) {
      const path = probeOne([program, what], { flags: ['-s', 'bind'] });
      expect(path).toMatchObject({ quality: 'complete', notes: [] });
      const functions = functionsOf(path.names);
      const from = functions.indexOf('main.openSocket');
      expect(functions[from - 1]).toBe('net.Listen');
      expect(functions.slice(from, from + 5)).toEqual([
        'main.openSocket',
        'main.third',
        'main.third',
        'main.second',
        last,
      ]);
      expect(functions.at(-1)).toBe('runtime.goexit');
      expect(path.names.slice(from, from + 4).map(({ line }) => line)).toEqual([11, 23, 21, 27]);
      expect(path.names[from]?.file).toMatch(/chain\.go$/);
    }
  });

test('Python without -X perf: native frames, and what would name the others', (context) => {
  requireTools(context);
  if (!existsSync('/usr/bin/python3')) notRun(context, 'there is no /usr/bin/python3');
  const path = probeOne(['/usr/bin/python3', source('chain.py')]);
  expect(path.quality).toBe('complete');
  expect(path.notes).toEqual([expect.stringContaining('-X perf')]);
  expect(functionsOf(path.names)[0]).toBe('socket');
  // All functions share the interpreter's addresses: no such frame may be taken for a path of its own.
  expect(path.frames.some(({ flags }) => (flags & 2) !== 0)).toBe(true);
});

/** Compiled for release, as cargo does it with `debug = 1`. With the host's own HOME, where a rustc may have its parts. */
function rust(name: string, ...flags: string[]): string {
  const output = workshop.path(name);
  const all = ['-O', '-C', 'debuginfo=1', ...flags, '-o', output, source('chain.rs')];
  execFileSync('rustc', all, { cwd: workshop.folder, stdio: ['ignore', 'ignore', 'inherit'] });
  return output;
}

const rustBuilds = [
  {
    mangling: 'v0',
    flags: ['-C', 'symbol-mangling-version=v0'],
    symbol: /_RNvC\w+5chain6second/,
    closure: 'chain::serve::{closure#0}',
    generics: ['chain::third::<chain::Shop>', 'chain::call::<chain::serve::{closure#0}>'],
  },
  {
    mangling: 'legacy',
    flags: [], // it can not be asked for, but is the default of all but the latest
    symbol: /_ZN5chain6second17h[0-9a-f]{16}E/,
    closure: 'chain::serve::{{closure}}',
    generics: ['chain::third', 'chain::call'],
  },
];
for (const { mangling, flags, symbol, closure, generics } of rustBuilds)
  test(`Rust, compiled for release, names mangled as ${mangling}`, { timeout: 180_000 }, (context) => {
    requireTools(context, 'rustc');
    const program = rust(`rust-${mangling}`, ...flags);
    if (!symbol.test(readFileSync(program, 'latin1')))
      notRun(context, `this rustc does not mangle names as ${mangling}`);
    const [third = '', call = ''] = generics;
    for (const [what, last] of [
      ['main', 'main'],
      ['thread', /^clone/],
    ] as const) {
      const path = probeOne([program, what], { flags: ['-s', 'bind'] });
      expect(path).toMatchObject({ quality: 'complete', notes: [] });
      const functions = functionsOf(path.names);
      expect(functions[0]).toBe('bind');
      const from = functions.indexOf('<chain::Shop as chain::Opens>::open');
      expect(functions.slice(1, from).filter((name) => !/\bTcpListener|^<?core::|::each_addr/.test(name))).toEqual([]);
      const own = path.names.slice(from, from + 7);
      expect(own.map((frame) => [frame.function, frame.line, frame.how])).toEqual([
        ['<chain::Shop as chain::Opens>::open', 21, 'cfi'],
        [third, 28, 'cfi'],
        ['chain::inlined', 33, 'inlined'],
        ['chain::second', 38, 'cfi'],
        [closure, 50, 'cfi'],
        [call, 43, 'cfi'],
        ['chain::serve', 50, 'cfi'],
      ]);
      for (const frame of own) expect(frame.file).toMatch(/chain\.rs$/);
      if (last === 'main') expect(functions).toContain('chain::main');
      else expect(functions.at(-1)).toMatch(last);
    }
  });

test('a runtime is known by what it exports, whatever it is called', { timeout: 180_000 }, (context) => {
  requireTools(context, 'go');
  if (!existsSync('/usr/bin/python3')) notRun(context, 'there is no /usr/bin/python3');
  const python = workshop.path('orders-service');
  copyFileSync('/usr/bin/python3', python);
  expect(probeOne([python, source('chain.py')]).notes).toEqual([expect.stringContaining('-X perf')]);
  // And what is called like one is not taken for it.
  for (const name of ['node_exporter', 'node']) {
    copyFileSync(go('go-stripped', ...(goBuilds['stripped'] ?? [])), workshop.path(name));
    const path = probeOne([workshop.path(name), 'main'], { flags: ['-s', 'bind'] });
    expect(path).toMatchObject({ quality: 'complete', notes: [] });
    expect(functionsOf(path.names)).toContain('main.openSocket');
  }
});

/** A Python with perf support; this system's need not have it. */
function pythonWithPerf(): string | null {
  const homes = join(homedir(), '.pyenv/versions');
  const own = existsSync(homes) ? readdirSync(homes).map((name) => join(homes, name, 'bin/python3')) : [];
  for (const python of ['/usr/bin/python3', '/usr/bin/python3.12', '/usr/bin/python3.13', ...own]) {
    if (!existsSync(python)) continue;
    const asked = 'import sys; sys.exit(not getattr(sys, "is_stack_trampoline_active", bool)())';
    try {
      execFileSync(python, ['-X', 'perf', '-c', asked], { stdio: 'ignore' });
      return python;
    } catch {}
  }
  return null;
}

test('Python with -X perf: its functions, in order', (context) => {
  requireTools(context);
  const python = pythonWithPerf();
  if (python === null) notRun(context, 'there is no Python 3.12 or newer with perf support');
  const path = probeOne([python, '-X', 'perf', source('chain.py')]);
  expect(path).toMatchObject({ quality: 'complete', notes: [] });
  const functions = functionsOf(path.names).filter((name) => name.startsWith('py::'));
  const names = functions.map((name) => name.split(':')[2]);
  expect(names).toEqual(['socket.__init__', 'inner', 'outer', '<module>']);
  expect(path.frames.every(({ flags }) => (flags & 2) === 0)).toBe(true);
});

const nodeFlags = ['--perf-basic-prof-only-functions', '--interpreted-frames-native-stack'];
test('node: with its perf flags the functions, without them the advice', (context) => {
  requireTools(context);
  const cwd = workshop.folder;
  const named = probeOne([process.execPath, ...nodeFlags, source('chain.mjs')], { cwd });
  expect(named.quality).toBe('complete');
  expect(named.notes).toEqual([]);
  const functions = functionsOf(named.names).filter((name) => name.startsWith('JS:'));
  const own = functions.filter((name) => name.includes('chain.mjs')).map((name) => /^JS:(\S*)/.exec(name)?.[1]);
  expect(own.slice(0, 2)).toEqual(['inner', 'outer']);
  expect(functions.some((name) => name.includes('node:net'))).toBe(true);
  expect(functionsOf(named.names).at(-1)).toBe('_start');
  expect(readdirSync(cwd).filter((name) => name.endsWith('.log'))).toEqual([]);

  const bare = probeOne([process.execPath, source('chain.mjs')], { cwd });
  expect(bare.quality).toBe('complete');
  expect(bare.notes).toEqual([expect.stringContaining(nodeFlags.join(' '))]);
  expect(functionsOf(bare.names)).toContain('Builtins_InterpreterEntryTrampoline');
  expect(bare.frames.some(({ flags }) => (flags & 2) !== 0)).toBe(true);
});

function java(): void {
  if (!existsSync(workshop.path('Chain.class'))) workshop.run('javac', '-d', workshop.folder, source('Chain.java'));
}

test('Java that keeps frame pointers: its methods, by the perf map that jcmd makes', (context) => {
  requireTools(context, 'javac', 'java', 'jcmd');
  java();
  // The JVM itself binds once in between, for jcmd.
  const command = ['java', '-XX:+PreserveFramePointer', '-Xint', '-cp', workshop.folder, 'Chain', '2'];
  const interpreted = probeOne(command, { flags: ['-s', 'bind', '-n', '3'] });
  expect(interpreted).toMatchObject({ quality: 'complete', notes: [] });
  expect(functionsOf(interpreted.names)).toContain('Interpreter');
  expect(functionsOf(interpreted.names).at(-1)).toMatch(/^clone/);

  const compiled = ['java', '-XX:+PreserveFramePointer', '-Xcomp', '-XX:TieredStopAtLevel=1'];
  const options = [
    '-XX:CompileCommand=quiet',
    '-XX:CompileCommand=dontinline,Chain::*',
    '-cp',
    workshop.folder,
    'Chain',
    '2',
  ];
  const path = probeOne([...compiled, ...options], { flags: ['-s', 'bind', '-n', '3'] });
  expect(path).toMatchObject({ quality: 'complete', notes: [] });
  const methods = functionsOf(path.names).filter((name) => name.includes('Chain.'));
  expect(methods.map((name) => /Chain\.(\w+)/.exec(name)?.[1])).toEqual(['openSocket', 'second', 'first', 'main']);
});

test('Java that does not: unreliable, with the option that helps', (context) => {
  requireTools(context, 'javac', 'java');
  java();
  const { unwound } = probe(['java', '-Xcomp', '-XX:TieredStopAtLevel=1', '-cp', workshop.folder, 'Chain', '2'], {
    flags: ['-s', 'bind'],
  });
  expect(unwound[0]).toMatchObject({ quality: 'unreliable' });
  expect(unwound[0]?.notes.join()).toMatch(/PreserveFramePointer/);
  expect(unwound[0]?.notes.join()).toMatch(/Compiler\.perfmap/);
});
