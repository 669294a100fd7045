// Runs the built command line as a user would.
import { type ChildProcess, execFile, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import type { Report } from '../../src/report/types.ts';

export const MAIN = resolve(import.meta.dirname, '../../dist/cli/main.js');
const run = promisify(execFile);

export interface Finished {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A socktrace that is running. */
export class Socktrace {
  /** those that a failed test may have left running */
  static readonly #running = new Set<ChildProcess>();

  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #closed: Promise<unknown>;

  private constructor(command: string, args: readonly string[], options: SpawnOptions) {
    this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#closed = once(this.child, 'close');
    Socktrace.#running.add(this.child);
    this.child.once('close', () => Socktrace.#running.delete(this.child));
  }

  static killAll(): void {
    for (const child of Socktrace.#running) child.kill('SIGKILL');
  }

  static start(args: readonly string[], options: SpawnOptions = {}): Socktrace {
    return new Socktrace(process.execPath, [MAIN, ...args], options);
  }

  /** Through another command: `setpriv ... node main.js ARGS` */
  static startUnder(prefix: readonly string[], args: readonly string[]): Socktrace {
    const [command, ...rest] = [...prefix, process.execPath, MAIN, ...args] as [string, ...string[]];
    return new Socktrace(command, rest, {});
  }

  /** Resolves once the hooks are on. */
  async tracing(): Promise<void> {
    await this.said(/^tracing /m);
  }

  async said(what: RegExp): Promise<void> {
    while (!what.test(this.stderr)) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`socktrace ended without saying ${what}: ${this.stderr}`);
      await Promise.race([once(this.child.stderr as NodeJS.ReadableStream, 'data'), this.#closed]);
    }
  }

  /** Resolves once standard output has this. */
  async printed(what: RegExp): Promise<void> {
    while (!what.test(this.stdout)) {
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`socktrace ended without printing ${what}: ${this.stderr}`);
      await Promise.race([once(this.child.stdout as NodeJS.ReadableStream, 'data'), this.#closed]);
    }
  }

  async finished(): Promise<Finished> {
    await this.#closed;
    return { code: this.child.exitCode, signal: this.child.signalCode, stdout: this.stdout, stderr: this.stderr };
  }
}

export async function socktrace(...args: string[]): Promise<Finished> {
  return Socktrace.start(args).finished();
}

/** `alloc` is the whole host's, where others open sockets too: what is compared with it is, until nothing moved between. */
const MOST_COMPARISONS = 20;

/** What `socktrace sockstat` prints of `ss -s` in the network namespace of a process, against `ss -s` itself. */
export async function agreesWithSs({ pid }: { pid: number }): Promise<string> {
  const inside = ['nsenter', `--net=/proc/${pid}/ns/net`];
  for (let tries = 1; ; tries++) {
    const { stdout } = await Socktrace.startUnder(inside, ['sockstat']).finished();
    const line = /^TCP: {3}.*$/m.exec((await run('nsenter', [...inside.slice(1), 'ss', '-s'])).stdout)?.[0];
    if (line !== undefined && stdout.includes(line)) return stdout;
    if (tries === MOST_COMPARISONS) throw new Error(`ss -s prints "${line}", and socktrace\n${stdout}`);
  }
}

export async function look(): Promise<Report> {
  return JSON.parse((await socktrace('snapshot', '--json')).stdout);
}

export function unplacedIn({ sockstat }: Report): number {
  if (sockstat.status === 'unavailable') throw new Error(sockstat.reason);
  const { unplaced } = sockstat.value;
  if (unplaced.status === 'unavailable') throw new Error(unplaced.reason);
  return unplaced.value;
}

/** Looks until the sum closes: while others of the host open and close sockets, a few may be in no class. */
export async function lookInQuiet(): Promise<Report> {
  for (let tries = 1; ; tries++) {
    const report = await look();
    if (unplacedIn(report) === 0) return report;
    if (tries === MOST_COMPARISONS) throw new Error(`the sum never closes: ${JSON.stringify(report.sockstat)}`);
  }
}

/** BPF objects of the kernel, `prog 12 sweep_sockets`, by bpftool. */
export async function kernelObjects(): Promise<{ key: string; name: string }[]> {
  const lists = await Promise.all(
    (['prog', 'map', 'link'] as const).map(async (type) => {
      const { stdout } = await run('bpftool', ['-j', type, 'list']);
      const objects = JSON.parse(stdout) as { id: number; name?: string; type?: string }[];
      return objects.map(({ id, name, type: kind }) => ({ key: `${type} ${id}`, name: name ?? kind ?? '' }));
    }),
  );
  return lists.flat();
}

/** `prog 12`, `map 3`, `link 7` that a process holds by descriptor. */
export function heldBy(pid: string): string[] {
  return descriptorsOf(pid).flatMap((fd) => {
    try {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      return [...info.matchAll(/^(prog|map|link)_id:\s*(\d+)$/gm)].map(([, type, id]) => `${type} ${id}`);
    } catch {
      // Closed since: the others are still to be read.
      return [];
    }
  });
}

function descriptorsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fdinfo`);
  } catch {
    // It has ended.
    return [];
  }
}

/** BPF objects that no process holds: what somebody left behind. Other tracers of this host hold theirs. */
async function leftInKernel(): Promise<string[]> {
  const objects = await kernelObjects();
  const held = new Set(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap(heldBy),
  );
  return objects.filter(({ key }) => !held.has(key)).map(({ key, name }) => `${key} ${name}`);
}

/** The kernel frees programs after a grace period. */
export async function nothingLeft(): Promise<void> {
  let left = await leftInKernel();
  for (let tries = 0; left.length > 0 && tries < 100; tries++) {
    await sleep(50);
    left = await leftInKernel();
  }
  expect(left).toEqual([]);
}
