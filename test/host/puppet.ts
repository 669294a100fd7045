// Drives the puppet program (puppet.c): the ground truth of the tests on this host.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';

export type SocketState =
  | 'NONE'
  | 'ESTABLISHED'
  | 'SYN_SENT'
  | 'SYN_RECV'
  | 'FIN_WAIT1'
  | 'FIN_WAIT2'
  | 'TIME_WAIT'
  | 'CLOSE'
  | 'CLOSE_WAIT'
  | 'LAST_ACK'
  | 'LISTEN'
  | 'CLOSING';

export interface GroupStats {
  count: number;
  /** io_uring fixed files: no descriptors, so none of the members below. */
  direct: boolean;
  fds?: number[];
  inodes?: number[];
  /** By getsockname: 0 when never bound; also names ports that the kernel has released. */
  ports?: number[];
  states?: Partial<Record<SocketState, number>>;
}

/** What the puppet's own system calls returned. */
export interface Answer {
  /** Sockets (cycles, for churn) for which the command succeeded. */
  count: number;
  /** The other ones, by the name of their errno. */
  errors: Record<string, number>;
  /** Local ports of the sockets for which bind, listen, connect or accept succeeded. */
  ports: number[];
  /** send, recv */
  bytes?: number;
  /** recv: sockets whose peer has closed */
  eof?: number;
  /** fork: the number to call the child by */
  child?: number;
  /** fork, exec, self */
  pid?: number;
  /** exec, self */
  tid?: number;
  uid?: number;
  /** exec, self, unshare-net */
  netns?: number;
  /** child N exit, child N abort: how it ended */
  exitCode?: number;
  signal?: number;
  /** churn, churn-wait, churn-stop: system calls that succeeded */
  opened?: number;
  bound?: number;
  connected?: number;
  accepted?: number;
  /** diag: of `count` TCP sockets of its network namespace (with TIME_WAIT), those in CLOSE; `ports` are all of theirs */
  boundInactive?: number;
  /** stats */
  groups?: Record<string, GroupStats>;
  /** help */
  commands?: string[];
}

export interface PuppetOptions {
  /** Start in a network namespace of its own, with lo up. */
  netns?: boolean;
  /** Start in the network namespace of another process. */
  netnsOf?: { pid: number };
  /** A copy of the program to start, for processes that must not be of one program. */
  executable?: string;
  env?: Record<string, string>;
  /** How long one command may take; 30 s. */
  timeoutMs?: number;
}

interface Pending {
  what: string;
  timer: NodeJS.Timeout;
  resolve: (answer: unknown) => void;
  reject: (error: Error) => void;
}

/** More than 1 where the machine is emulated: how much longer to wait for it. */
export const PATIENCE = Number(process.env['SOCKTRACE_PATIENCE'] ?? 1);
const DEFAULT_TIMEOUT_MS = 30_000 * PATIENCE;
const CLOSE_TIMEOUT_MS = 5_000;

/** Where the native programs were built. */
export function builtProgram(name: string): string {
  return resolve(process.env['SOCKTRACE_BUILD_DIR'] ?? resolve(import.meta.dirname, '../../build'), name);
}

export class Puppet {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #timeoutMs: number;
  readonly #ended: Promise<void>;
  readonly #pending: Pending[] = [];
  #stderr = '';
  #ending: string | null = null;
  #netns = 0;

  private constructor(child: ChildProcessWithoutNullStreams, timeoutMs: number) {
    this.#process = child;
    this.#timeoutMs = timeoutMs;
    child.stdin.on('error', () => {}); // it has ended: "close" tells
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-4096);
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.#answered(line));
    this.#ended = new Promise((done) => {
      child.once('error', (error) => {
        this.#end(error.message);
        done();
      });
      child.once('close', (code, signal) => {
        this.#end(signal === null ? `exit code ${code}` : `signal ${signal}`);
        done();
      });
    });
  }

  static async start(options: PuppetOptions = {}): Promise<Puppet> {
    const program = options.executable ?? builtProgram('puppet');
    const env = { ...process.env, ...options.env };
    const child =
      options.netnsOf === undefined
        ? spawn(program, [], { env })
        : spawn('nsenter', [`--net=/proc/${options.netnsOf.pid}/ns/net`, program], { env });
    const puppet = new Puppet(child, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    try {
      const ready = (await puppet.#expect('its start')) as { netns: number };
      puppet.#netns = ready.netns;
      if (options.netns === true) await puppet.command('unshare-net');
      return puppet;
    } catch (error) {
      await puppet.kill();
      throw error;
    }
  }

  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Error('the puppet has not started');
    return pid;
  }

  /** Inode of the network namespace that it is in. */
  get netns(): number {
    return this.#netns;
  }

  get ended(): boolean {
    return this.#ending !== null;
  }

  /**
   * Runs one command. System calls that failed are in the answer's `errors`; a command that the puppet refuses,
   * that takes too long, or that the puppet does not survive is thrown. `exit` and `abort` resolve when it is gone.
   */
  async command(line: string): Promise<Answer> {
    if (this.#ending !== null) throw new Error(`puppet: "${line}": it has ended (${this.#ending})`);
    if (line.includes('\n')) throw new Error('puppet: one command at a time');
    if (line === 'exit' || line === 'abort') {
      this.#process.stdin.write(`${line}\n`);
      await this.#gone(this.#timeoutMs);
      return { count: 0, errors: {}, ports: [] };
    }
    const answered = this.#expect(`"${line}"`);
    this.#process.stdin.write(`${line}\n`);
    const answer = (await answered) as ({ ok: true } & Answer) | { ok: false; error: string };
    if (!answer.ok) throw new Error(`puppet: "${line}": ${answer.error}`);
    if (line === 'unshare-net' && answer.netns !== undefined) this.#netns = answer.netns;
    return answer;
  }

  /** Runs commands one after another, and gives the answer of the last. */
  async commands(...lines: [string, ...string[]]): Promise<Answer> {
    let answer: Answer | undefined;
    for (const line of lines) answer = await this.command(line);
    return answer as Answer;
  }

  async stats(group: string): Promise<GroupStats> {
    const stats = (await this.command(`stats ${group}`)).groups?.[group];
    if (stats === undefined) throw new Error(`puppet: no statistics of group "${group}"`);
    return stats;
  }

  /** Ends it without a chance to close anything. */
  async kill(): Promise<void> {
    if (this.#ending === null) this.#process.kill('SIGKILL');
    await this.#ended;
  }

  /** Ends it and its children by the end of their standard input. */
  async close(): Promise<void> {
    this.#process.stdin.end();
    await this.#gone(CLOSE_TIMEOUT_MS).catch(() => this.kill());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #gone(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`puppet ${this.pid} did not end within ${timeoutMs} ms`)), timeoutMs);
    });
    await Promise.race([this.#ended, late]).finally(() => clearTimeout(timer));
  }

  #expect(what: string): Promise<unknown> {
    return new Promise((done, reject) => {
      if (this.#ending !== null) {
        reject(this.#lost(what));
        return;
      }
      const timer = setTimeout(() => {
        // Later answers could no longer be told from the late one.
        reject(new Error(`puppet: no answer to ${what} within ${this.#timeoutMs} ms; it was killed`));
        this.#process.kill('SIGKILL');
      }, this.#timeoutMs);
      this.#pending.push({ what, timer, resolve: done, reject });
    });
  }

  #answered(line: string): void {
    const pending = this.#pending.shift();
    if (pending === undefined) return;
    clearTimeout(pending.timer);
    try {
      pending.resolve(JSON.parse(line));
    } catch {
      pending.reject(new Error(`puppet: the answer to ${pending.what} is not JSON: ${line.slice(0, 200)}`));
    }
  }

  #end(how: string): void {
    this.#ending ??= how;
    for (const pending of this.#pending.splice(0)) {
      clearTimeout(pending.timer);
      pending.reject(this.#lost(pending.what));
    }
  }

  #lost(what: string): Error {
    const said = this.#stderr === '' ? '' : `; it said: ${this.#stderr.trim()}`;
    return new Error(`puppet ended (${this.#ending}) before it answered ${what}${said}`);
  }
}
