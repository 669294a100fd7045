/**
 * Sockets that ended because their process exited with them. They stay to be reported, in bounded memory however many
 * children come and go: the latest one by one, the others as sums for each program.
 */
import { knownKey, type SocketEntry, type Traits } from './entry.ts';
import type { Instant } from './identity.ts';
import { pathKey } from './path-refs.ts';
import type { Known, ProcessId, SocketId } from './types.ts';

/** One that ended: few enough to be objects. */
export interface ExitEntry extends SocketEntry {
  /** canonical: see formatSocketId() */
  readonly id: SocketId;
  /** of the facts that it was last given */
  version: Instant;
  traits: Traits;
  endedMs: number;
}

/** Beyond this many, they are summed. */
const MANY = 5_000;

/** Programs that name themselves anew each time must not fill this table either. */
const MOST_SUMS = 10_000;
const OTHERS = '(others)';

/** The oldest few are kept to show. */
const EXAMPLES = 5;

/** Sockets of one kind, errno, pair of call paths and program, whose processes are no longer told apart. */
export interface ExitSum {
  /** of one of them */
  traits: Traits;
  program: string;
  count: number;
  /** sockets that held one */
  ports: number;
  /** an upper bound: a process whose sockets were summed at two times counts twice */
  processes: number;
  /** longest time in its kind, ms */
  oldestMs: number;
  examples: SocketEntry[];
}

export class ExitStore {
  readonly #entries = new Map<SocketId, ExitEntry>();
  readonly #sums = new Map<string, ExitSum>();
  /** the latest of them, so that a late record of the same socket is not counted again */
  #summed: ReadonlySet<SocketId> = new Set();

  get size(): number {
    return this.#entries.size;
  }

  get(id: SocketId): ExitEntry | undefined {
    return this.#entries.get(id);
  }

  add(entry: ExitEntry): void {
    this.#entries.set(entry.id, entry);
  }

  /** Whether a socket has gone into the sums of late. */
  wasSummed(id: SocketId): boolean {
    return this.#summed.has(id);
  }

  entries(): IterableIterator<ExitEntry> {
    return this.#entries.values();
  }

  sums(): IterableIterator<ExitSum> {
    return this.#sums.values();
  }

  get wantsSumming(): boolean {
    return this.#entries.size > MANY;
  }

  /** Turns all entries into sums by what `programOf` calls their owner. */
  sumUp(programOf: (owner: Known<ProcessId>) => string): void {
    const owners = new Map<ExitSum, Set<string>>();
    for (const entry of this.#entries.values()) {
      const sum = this.#sumFor(entry.traits, programOf(entry.traits.owner));
      const ageMs = entry.endedMs - entry.sinceMs;
      sum.count += 1;
      if (entry.port !== 0) sum.ports += 1;
      sum.oldestMs = Math.max(sum.oldestMs, ageMs);
      if (sum.examples.length < EXAMPLES) sum.examples.push(entry);
      const known = owners.get(sum) ?? new Set<string>();
      owners.set(sum, known.add(knownKey(entry.traits.owner)));
    }
    for (const [sum, known] of owners) sum.processes += known.size;
    this.#summed = new Set(this.#entries.keys());
    this.#entries.clear();
  }

  #sumFor(traits: Traits, program: string): ExitSum {
    const { kind, errno, openPath, bindPath } = traits;
    const key = `${kind}|${errno ?? '-'}|${pathKey(openPath)}|${pathKey(bindPath)}|${program}`;
    let sum = this.#sums.get(key);
    if (sum === undefined) {
      if (this.#sums.size >= MOST_SUMS && program !== OTHERS) return this.#sumFor(traits, OTHERS);
      sum = { traits, program, count: 0, ports: 0, processes: 0, oldestMs: 0, examples: [] };
      this.#sums.set(key, sum);
    }
    return sum;
  }
}
