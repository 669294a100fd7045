// Runs the unwinder and its client on a program without BPF (test/unwinder/probe.cc), and compiles what they run on.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestContext } from 'vitest';
import { notRun } from './not-run.ts';

const root = resolve(import.meta.dirname, '../..');
const programs = join(root, 'test/unwinder/programs');

export const unwinder = join(root, 'build/socktrace-unwinder');

const reader = join(root, 'build/socktrace-reader');

export const source = (name: string): string => join(programs, name);

export interface RawFrame {
  pc: string;
  how: 'leaf' | 'cfi' | 'frame-pointer' | 'guess';
  /** 1: code that no file backs; 2: an interpreter's. */
  flags: number;
  returnOffset: number;
}

export interface NamedFrame {
  function: string;
  module: string;
  buildId: string;
  offset: string;
  file: string;
  line: number;
  how: RawFrame['how'] | 'inlined';
}

export type Quality = 'complete' | 'truncated' | 'unreliable' | 'unreadable';

export interface Unwound {
  type: 'unwound';
  ref: number;
  path: string;
  quality: Quality;
  notes: string[];
  frames: RawFrame[];
}

export interface Named {
  type: 'named';
  path: string;
  quality: Quality;
  notes: string[];
  frames: NamedFrame[];
}

export interface End {
  type: 'end';
  deaths: number;
  replaced: number;
  unwound: number;
  unreadable: number;
  stops: number;
}

export interface Probed {
  unwound: Unwound[];
  named: Named[];
  /** How often a process was told to have other code. */
  changed: number;
  /** What the command at the stop printed. */
  shell: string;
  end: End;
}

export interface ProbeOptions {
  flags?: string[];
  env?: Record<string, string>;
  cwd?: string;
  /** Runs the probe itself, e.g. in namespaces of its own. */
  under?: string[];
}

/** Stops `command` at its system call and returns what the unwinder made of its stack. */
export function probe(
  command: string[],
  { flags = [], env = {}, cwd = tmpdir(), under = [] }: ProbeOptions = {},
): Probed {
  const line = [...under, join(root, 'build/unwinder-probe'), '-u', unwinder, '-R', reader, ...flags, ...command];
  const [program = '', ...args] = line;
  const run = spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    timeout: 50_000,
    maxBuffer: 1 << 28,
  });
  // The programs under test print what they like; ours are the lines with a type.
  const lines = run.stdout.split('\n').filter((text) => text.startsWith('{"type":'));
  const messages = lines.map((text): Unwound | Named | End | { type: 'shell'; output: string } | { type: 'changed' } =>
    JSON.parse(text),
  );
  const probed = { unwound: [] as Unwound[], named: [] as Named[], changed: 0, shell: '', end: null as End | null };
  for (const message of messages) {
    if (message.type === 'unwound') probed.unwound.push(message);
    else if (message.type === 'named') probed.named.push(message);
    else if (message.type === 'changed') probed.changed++;
    else if (message.type === 'shell') probed.shell += message.output;
    else probed.end = message;
  }
  if (probed.end === null) throw new Error(`the probe ended with ${run.status ?? run.signal}: ${run.stderr}`);
  return { ...probed, end: probed.end };
}

/** The only sample of a run. */
export function probeOne(
  command: string[],
  options: ProbeOptions = {},
): Unwound & { names: NamedFrame[]; shell: string } {
  const { unwound, named, shell, end } = probe(command, options);
  const [only] = unwound;
  if (only === undefined || unwound.length !== 1) throw new Error(`${unwound.length} samples, ${end.stops} stops`);
  return { ...only, names: named[0]?.frames ?? [], shell };
}

/** Function names from the leaf on; a frame without one is its module in brackets. */
export function functionsOf(frames: NamedFrame[]): string[] {
  return frames.map((frame) => frame.function || `[${frame.module.split('/').at(-1)}]`);
}

export function requireTools(context: TestContext, ...tools: string[]): void {
  if (process.arch !== 'x64') notRun(context, 'the probe knows the registers of x86_64 only');
  const folders = (process.env['PATH'] ?? '').split(':');
  for (const tool of tools)
    if (!folders.some((folder) => existsSync(join(folder, tool)))) notRun(context, `there is no ${tool}`);
}

/** Compiled programs of one test file. */
export class Workshop {
  // Under /tmp: what is in it must be readable by everybody, as installed programs are.
  readonly folder = mkdtempSync(join(tmpdir(), 'socktrace-unwinder-'));

  constructor() {
    execFileSync('chmod', ['755', this.folder]);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  run(program: string, ...args: string[]): void {
    execFileSync(program, args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'inherit'], env: this.environment() });
  }

  output(program: string, ...args: string[]): string {
    return spawnSync(program, args, { cwd: this.folder, encoding: 'utf8', env: this.environment() }).stdout;
  }

  environment(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      HOME: this.folder,
      GOCACHE: join(root, 'node_modules/.cache/go-build'),
      GOFLAGS: '-mod=mod',
    };
  }

  /** Compiles a program under another name with these flags, once. */
  c(name: string, flags: string[], from = 'chain.c'): string {
    const output = this.path(name);
    if (!existsSync(output)) this.run(from.endsWith('.cc') ? 'g++' : 'gcc', '-g', ...flags, '-o', output, source(from));
    return output;
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
