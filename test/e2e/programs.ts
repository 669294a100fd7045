// Programs that this project did not write, peers for them to talk to, and a socktrace that watches them.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput, ProcessId } from '../../src/ledger/types.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Failure, Finding, Report } from '../../src/report/types.ts';
import { Socktrace } from './socktrace.ts';

const HOST = '127.0.0.1';
const PATIENCE_MS = 30_000;
const POLL_MS = 20;
const MIN_AGE_MS = 200;

/** Asks until the answer is neither null nor false. */
export async function until<T>(what: string, ask: () => T | Promise<T>): Promise<Exclude<T, null | false>> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== false) return answer as Exclude<T, null | false>;
    if (performance.now() > end) throw new Error(`not within ${PATIENCE_MS} ms: ${what}`);
    await sleep(POLL_MS);
  }
}

/** Whether a command runs here, and says what it should. */
export function works(command: string, args: readonly string[], says = /(?:)/): boolean {
  try {
    return says.test(execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', command, ...args], { encoding: 'utf8' }));
  } catch {
    return false;
  }
}

export function commOf(pid: number): string {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
}

/** A program in a process group of its own, which ends as a whole. */
export class Program {
  static readonly #running = new Set<Program>();
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #exited: Promise<unknown>;
  #stdout = '';
  #stderr = '';
  #read = 0;

  private constructor(command: string, args: readonly string[]) {
    // Whatever proxy the host has, it is no part of this.
    const env = { ...process.env, no_proxy: '*', NO_PROXY: '*' };
    this.#child = spawn(command, args, { detached: true, env });
    this.#child.stdin.on('error', () => {}); // it has ended: whoever waits for an answer is told
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#exited = once(this.#child, 'exit');
    Program.#running.add(this);
  }

  static start(command: string, ...args: string[]): Program {
    return new Program(command, args);
  }

  static async killAll(): Promise<void> {
    await Promise.all([...Program.#running].map((program) => program.kill()));
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error('the program has not started');
    return pid;
  }

  /** The first group of an expression that it has said, on either stream. */
  async said(what: RegExp): Promise<string> {
    return this.#until(String(what), () => what.exec(this.#stdout + this.#stderr)?.[1] ?? null);
  }

  /** The next line of its standard output. */
  async line(): Promise<string> {
    return this.#until('a line', () => {
      const end = this.#stdout.indexOf('\n', this.#read);
      if (end < 0) return null;
      const line = this.#stdout.slice(this.#read, end);
      this.#read = end + 1;
      return line;
    });
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  /** Gives it one line, and returns the line that it answers. */
  async tell(line: string): Promise<string> {
    this.write(line);
    return this.line();
  }

  async tellTimes(times: number, line: string): Promise<void> {
    for (let i = 0; i < times; i++) await this.tell(line);
  }

  async kill(): Promise<void> {
    if (this.#child.pid !== undefined) {
      try {
        process.kill(-this.#child.pid, 'SIGKILL');
      } catch {
        // All of the group have ended.
      }
      await this.#exited;
    }
    Program.#running.delete(this);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  async #until(what: string, ask: () => string | null): Promise<string> {
    return until(what, () => {
      const answer = ask();
      if (answer === null && this.#child.exitCode !== null)
        throw new Error(`${this.#child.spawnfile} ended without ${what}: ${this.#stderr}`);
      return answer;
    });
  }
}

/** A loopback server or client of this process, which is never traced. */
export class Peer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly port: number;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  /** A server that does this with each connection. */
  static async that(serves: (socket: Socket) => void): Promise<Peer> {
    const server = createServer().listen(0, HOST);
    await once(server, 'listening');
    const peer = new Peer(server);
    server.on('connection', (socket) => serves(peer.#keep(socket)));
    return peer;
  }

  /** A connection from here. */
  async connect(port: number): Promise<Socket> {
    const socket = this.#keep(connect(port, HOST));
    await once(socket, 'connect');
    return socket;
  }

  /** A connection that says something, and is closed. */
  async callAndLeave(port: number, says: string): Promise<void> {
    const socket = await this.connect(port);
    socket.end(says);
    await once(socket, 'finish');
  }

  /** A connection that has got its answer, by default what it said. */
  async echo(port: number, says: string, answer = says): Promise<Socket> {
    const socket = await this.connect(port);
    let heard = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      heard += text;
    });
    socket.write(says);
    await until(`${answer.trimEnd()} from port ${port}`, () => heard === answer);
    return socket;
  }

  /** Ends all connections at once, as if the process had crashed. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((done) => this.#server.close(done));
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    return socket.on('error', () => {}); // the other side was killed
  }
}

/** A port that nobody listens at now. */
export async function freePort(): Promise<number> {
  await using peer = await Peer.that(() => {});
  return peer.port;
}

/** A finding with its processes by name, `python3[1234]`. */
export type Told = Pick<Finding, 'kind' | 'count' | 'errno' | 'ports' | 'leak'> & { owner: string; holders: string[] };

/** A socktrace of these processes. What it tells line by line says when to look; its own report is what counts. */
export class Watch {
  readonly #running: Socktrace;
  readonly #replay = new Ledger();
  #parsed = 0;
  #nowMs = 0;

  private constructor(running: Socktrace) {
    this.#running = running;
  }

  static async of(...programs: { pid: number }[]): Promise<Watch> {
    const pids = programs.flatMap(({ pid }) => ['--pid', String(pid)]);
    const short = ['--min-age', `${MIN_AGE_MS}ms`, '--leak-age', '400ms', '--leak-count', '3'];
    // A small table is soon read, so it may be read often.
    const running = Socktrace.start([...pids, ...short, '--max-sockets', '16384', '--ndjson']);
    await running.tracing();
    return new Watch(running);
  }

  /** Waits for these findings, then for what else there may be, ends the trace, and holds its report against them. */
  async reports(...expected: Told[]): Promise<Report> {
    // Who holds them is read at the end in any case: waiting for the next walk of all descriptors takes seconds.
    const anybody = (list: Told[]): Told[] => list.map((one) => ({ ...one, holders: [] }));
    const seen = () => same(anybody(told(this.#soFar())), anybody(expected));
    // When they never come, the report of the end says what came instead.
    if (expected.length > 0) await this.until('the findings', seen).catch(() => {});
    return this.#finish(expected);
  }

  async until(what: string, holds: (report: Report) => boolean): Promise<void> {
    await until(what, () => holds(this.#soFar()));
  }

  async #finish(expected: readonly Told[]): Promise<Report> {
    // Ticks are of the same clock.
    const settledMs = Number(process.hrtime.bigint()) / 1e6 + 3 * MIN_AGE_MS;
    await this.until('min-age', () => this.#nowMs >= settledMs);
    this.#running.child.kill('SIGINT');
    const { stdout, stderr, code } = await this.#running.finished();
    if (code !== 0) throw new Error(`socktrace ended with ${code}: ${stderr}`);
    const last = stdout.trimEnd().split('\n').at(-1) as string;
    const { report } = JSON.parse(last) as { report: Report };
    if (!same(told(report), expected))
      throw new Error(
        `reported ${JSON.stringify(told(report), null, 1)}\nexpected ${JSON.stringify(expected, null, 1)}`,
      );
    return report;
  }

  /** The report as a replay of the lines so far has it. */
  #soFar(): Report {
    const { stdout } = this.#running;
    const end = stdout.lastIndexOf('\n') + 1;
    for (const line of stdout.slice(this.#parsed, end).split('\n')) {
      if (line === '') continue;
      const input = JSON.parse(line) as LedgerInput | { type: 'report' };
      if (input.type === 'report') continue;
      if (input.type === 'tick') this.#nowMs = input.atMs;
      this.#replay.apply(input);
    }
    this.#parsed = end;
    return buildReport(this.#replay);
  }
}

/** What is expected of a process that holds all that it opened itself. */
export function finding(pid: number, facts: Pick<Told, 'kind' | 'count'> & Partial<Told>): Told {
  const name = nameOf(pid);
  return { errno: null, ports: 0, leak: true, owner: name, holders: [`${name} ${facts.count}`], ...facts };
}

export function nameOf(pid: number): string {
  return `${commOf(pid)}[${pid}]`;
}

/** Children that its main thread forked, and that live. */
export function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').map(Number).filter(Boolean);
}

export function failuresOf(report: Report, pid: number): Pick<Failure, 'operation' | 'errno' | 'cause' | 'count'>[] {
  if (report.failures.status !== 'measured') throw new Error(report.failures.reason);
  return report.failures.value
    .filter((failure) => failure.pid === pid)
    .map(({ operation, errno, cause, count }) => ({ operation, errno, cause, count }));
}

/** Findings that differ in nothing but their call paths are told as one. */
function told(report: Report): Told[] {
  const named = (id: ProcessId): string => {
    const found = report.processes.find((known) => known.id === id);
    return found === undefined ? id : `${found.comm}[${found.pid}]`;
  };
  const sums = new Map<string, Omit<Told, 'holders'> & { holders: Map<string, number> }>();
  for (const { kind, count, errno, ports, leak, process, holders } of report.findings) {
    const owner = process.status === 'measured' ? named(process.value) : process.reason;
    const key = JSON.stringify([kind, errno, owner]);
    const sum = sums.get(key) ?? { kind, count: 0, errno, ports: 0, leak, owner, holders: new Map<string, number>() };
    sums.set(key, sum);
    // Where one path alone is a leak, a few sockets of another one are not accused with it.
    sum.leak ||= leak;
    sum.count += count;
    sum.ports += ports;
    for (const holder of holders) {
      const name = named(holder.process);
      sum.holders.set(name, (sum.holders.get(name) ?? 0) + holder.count);
    }
  }
  return [...sums.values()].map(({ holders, ...sum }) => ({
    ...sum,
    holders: [...holders].map(([name, count]) => `${name} ${count}`),
  }));
}

function same(some: readonly Told[], others: readonly Told[]): boolean {
  const [left, right] = [some, others].map((list) => list.map(canonical).sort());
  return JSON.stringify(left) === JSON.stringify(right);
}

function canonical({ kind, count, errno, ports, leak, owner, holders }: Told): string {
  return JSON.stringify([kind, count, errno, ports, leak, owner, [...holders].sort()]);
}
