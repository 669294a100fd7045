// The processes of scripts/lib/soak-tracer.mjs, as promises.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { SocketKind, TcpState } from '../../src/ledger/types.ts';

/** What the ledger of the session holds. */
export interface Seen {
  /** suspects that live, and what nobody holds */
  sockets: { inode: number; kind: SocketKind; holders: number[] | null }[];
  heldAtExit: number;
  failures: Record<string, number>;
  tracked?: { opened: number; accepted: number; preexisting: number; arrived: number; destroyed: number };
  held: number;
  losses: { code: string; count: number }[];
  /** readings of the tables, and walks of all descriptors, so far */
  sweeps: number;
  walks: number;
}

export interface CensusRow {
  inode: number;
  netns: number;
  family: 4 | 6;
  state: TcpState;
  class: string;
  hashed: boolean;
  /** pids, one a descriptor */
  holders: number[];
}

/** Bytes. */
export interface Memory {
  rss: number;
  /** of JavaScript, without garbage: a part of `rss` */
  live: number;
  /** of `rss`, what V8 has not taken for JavaScript: the addon, libraries, BPF maps, code, stacks */
  outside: number;
  /** the unwinder and the code readers */
  helpers: number;
  bpf: number;
}

/** Whoever has not answered by then hangs. */
const PATIENCE_MS = 300_000;

interface Answers {
  open: true;
  look: Seen;
  memory: Memory;
  census: CensusRow[];
}

export class Watcher {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>();
  #asked = 0;

  constructor(program: string) {
    this.#child = fork(program, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], execArgv: ['--expose-gc'] });
    this.#child.on('message', ({ id, answer }: { id: number; answer: unknown }) => {
      this.#waiting.get(id)?.resolve(answer as never);
      this.#waiting.delete(id);
    });
    this.#child.once('exit', (code, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the tracer ended (${signal ?? code})`));
    });
  }

  ask<What extends keyof Answers>(what: What, more: object = {}): Promise<Answers[What]> {
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new Error('the tracer has ended'));
        return;
      }
      const late = setTimeout(() => reject(new Error(`the tracer does not answer "${what}"`)), PATIENCE_MS);
      const settled =
        <Value>(settle: (value: Value) => void) =>
        (value: Value): void => {
          clearTimeout(late);
          settle(value);
        };
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this.#child.send({ id, ask: what, ...more });
    });
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.disconnect();
    await once(this.#child, 'exit');
  }
}
