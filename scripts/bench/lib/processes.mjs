/** The processes of the benchmark: the one that is timed, and what is attached to the kernel meanwhile. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { findProgram, root } from '../../lib/run.mjs';

/** Of a million sockets that it has to take in, a tracer says late that it traces. */
export const patienceMs = 60_000;
// What is timed has a CPU of its own; everything that this starts beside it shares the first.
const timedCpu = availableParallelism() - 1;
const taskset = timedCpu > 0 ? findProgram('taskset') : null;

export const pinning = taskset ? `timed on CPU ${timedCpu}, tracers on CPU 0` : 'nothing is pinned to a CPU';

/** CPU 0 is that of all that is not timed. */
export function spawnOn(cpu, program, args, stdio, env = process.env) {
  const command = taskset ? [taskset, '-c', String(cpu), program, ...args] : [program, ...args];
  return spawn(command[0], command.slice(1), { cwd: root, stdio, env });
}

/** Resolves with the next line of a stream that `accept` takes. */
export function nextLine(child, stream, accept = () => true) {
  return new Promise((resolve, reject) => {
    const lines = createInterface({ input: stream });
    const seen = [];
    const settle = (how, value) => {
      clearTimeout(timer);
      lines.removeAllListeners();
      child.off('exit', onExit);
      how(value);
    };
    const fail = (why) => settle(reject, new Error(`${child.spawnargs.join(' ')}: ${why}\n${seen.join('\n')}`));
    const onExit = (code, signal) => fail(`ended early (${signal ?? code})`);
    const timer = setTimeout(() => fail(`said nothing in ${patienceMs} ms`), patienceMs);
    child.once('exit', onExit);
    lines.on('line', (line) => (accept(line) ? settle(resolve, line) : seen.push(line)));
  });
}

/** Resolves when it has ended, or had ended before. */
export async function ended(child) {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

/** A program that answers each line with a line of JSON, and once when it is ready; it ends with its input. */
class Answering {
  #child;
  #lines;

  static async startOn(cpu, name) {
    const child = spawnOn(cpu, join(root, 'build', name), [], ['pipe', 'pipe', 'inherit']);
    const program = new this(child);
    await program.#answer();
    return program;
  }

  constructor(child) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  get pid() {
    return this.#child.pid;
  }

  async stop() {
    this.#child.stdin.end();
    await ended(this.#child);
  }

  ask(command) {
    this.#child.stdin.write(`${command}\n`);
    return this.#answer();
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.#child.spawnargs.join(' ')} has ended`);
    return JSON.parse(value);
  }
}

/** A process that makes sockets in a loop when told to, in a network namespace of its own. */
export class Cycles extends Answering {
  static start(cpu = timedCpu) {
    return Cycles.startOn(cpu, 'bench-cycles');
  }

  /** `{ns, quiet, medianNs, cyclesPerSecond, cycles}`: see cycles.c. */
  run(workload, ms, cyclesPerSecond = 0) {
    return this.ask(`run ${workload} ${ms} ${cyclesPerSecond}`);
  }

  /** How many BPF links the host has, -1 when the kernel does not say. */
  async links() {
    return (await this.ask('links')).links;
  }
}

/** A process that opens sockets at a rate and keeps them or not, in a network namespace of its own: see churn.c. */
export class Churn extends Answering {
  /** sockets opened so far */
  opened = 0;

  /** The first has the CPU of what is timed, each further one the CPU before. */
  static start(further = 0) {
    return Churn.startOn(Math.max(0, timedCpu - further), 'bench-churn');
  }

  async hold(count) {
    await this.ask(`hold ${count}`);
    this.opened += count;
  }

  /** `{opened, ms}` */
  async pace(perSecond, ms, kind) {
    const done = await this.ask(`pace ${perSecond} ${ms} ${kind}`);
    this.opened += done.opened;
    return done;
  }
}

/** Hooks that hardly do anything; `without` names programs that are left out. */
export async function startFloor(without = []) {
  const args = [join(root, 'build/floor.bpf.o'), ...without];
  const child = spawnOn(0, join(root, 'build/bench-floor'), args, ['pipe', 'pipe', 'inherit']);
  await nextLine(child, child.stdout);
  return {
    pid: child.pid,
    stop() {
      child.stdin.end();
      return ended(child);
    },
  };
}

/**
 * socktrace of a built checkout, tracing one pid or several, with more arguments. `attachMs`: from the start of the process
 * to its word that it traces; `said`: resolves with its standard output. `nodeOptions`: of its Node.js.
 */
export async function startTracer(checkout, pids, more = [], nodeOptions = []) {
  const targets = [pids].flat().flatMap((pid) => ['--pid', String(pid)]);
  const args = [...nodeOptions, join(checkout, 'dist/cli/main.js'), ...targets, ...more];
  const tracing = await startTracing(process.execPath, args, /^tracing /, ['ignore', 'pipe', 'pipe']);
  return { ...tracing, said: text(tracing.child.stdout) };
}

/**
 * The same without the cache of call paths and their budget. drain() resolves once no stack waits to be unwound, stop()
 * with `{captured, lost}`.
 */
export async function startEveryStack(pid) {
  const args = [join(root, 'scripts/bench/lib/every-stack.mjs'), String(pid)];
  const { child, attachMs } = await startTracing(process.execPath, args, /^tracing /, ['pipe', 'pipe', 'pipe']);
  return {
    pid: child.pid,
    attachMs,
    async drain() {
      child.stdin.write('drain\n');
      await nextLine(child, child.stdout, (line) => line === 'drained');
    },
    async stop() {
      child.stdin.end();
      const [line] = await Promise.all([nextLine(child, child.stdout), ended(child)]);
      return JSON.parse(line);
    },
  };
}

async function startTracing(program, args, attached, stdio = ['ignore', 'ignore', 'pipe']) {
  const begun = performance.now();
  const child = spawnOn(0, program, args, stdio);
  await nextLine(child, child.stderr, (line) => attached.test(line));
  const attachMs = performance.now() - begun;
  child.stderr.resume();
  return {
    child,
    pid: child.pid,
    attachMs,
    stop() {
      child.kill('SIGINT');
      return ended(child);
    },
  };
}

/** CPU time of all threads of a process so far, in ns (proc(5), schedstat). */
export function cpuNsOf(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce(
    (sum, task) => sum + Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
    0,
  );
}

/** What the kernel tells of each descriptor of a process. */
function fdFactsOf(pid) {
  const folder = `/proc/${pid}/fdinfo`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return [readFileSync(join(folder, fd), 'utf8')];
    } catch {
      return []; // closed since
    }
  });
}

/** How many BPF links a process holds. */
export function linksOf(pid) {
  return fdFactsOf(pid).filter((facts) => facts.includes('link_type:')).length;
}

/** Resident memory of a process, in bytes. */
export function residentBytesOf(pid) {
  return 1_024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** Options of Node.js for a tracer of which neededBytesOf() is asked. */
export const telling = ['--expose-gc', '--import', join(root, 'scripts/bench/lib/needed-memory.mjs')];

/** What is left in a tracer's heap and in its buffers when its garbage has been collected, in bytes. */
export async function neededBytesOf({ child }) {
  const said = nextLine(child, child.stderr, (line) => line.startsWith('needed '));
  child.kill('SIGUSR2');
  const bytes = Number((await said).split(' ')[1]);
  child.stderr.resume();
  return bytes;
}

/** What the kernel says that a tracer's table of this many rows takes, in bytes; null when it does not say (before 6.4). */
export function tableBytesOf(pid, mostRows) {
  const number = (facts, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(facts)?.[1]);
  const tables = fdFactsOf(pid).filter((facts) => number(facts, 'max_entries') === mostRows);
  const bytes = Math.max(...tables.map((facts) => number(facts, 'memlock')));
  return Number.isFinite(bytes) ? bytes : null;
}
