/** Which tables are read: those in which something may have changed, and all of them now and then. */
import type { HintedWalk } from '../kernel/binding.ts';

/** A hint may get lost, and rows of what has gone are removed by walks that nothing asks for. */
const LONGEST_MS = 15_000;
/** A walk passes over what is younger (SETTLE_NS of bpf/table.bpf.h): it is made again. */
const SETTLE_MS = 2;
/** The row of a process is removed by the first walk so long after its exit (sweep_processes). */
const EXITED_MS = 1_000;

interface Table {
  lastMs: number;
  /** a walk after this sees all that there was news of */
  settledMs: number;
}

export class Hints {
  readonly #tables = new Map<HintedWalk, Table>();
  readonly #minAgeMs: number;

  /** @param minAgeMs sockets are told when they have not changed for so long */
  constructor(minAgeMs: number) {
    this.#minAgeMs = minAgeMs;
  }

  /**
   * Whether a table is to be walked now; if so, the caller does.
   * @param hasNews since this was asked last
   */
  isDue(walk: HintedWalk, hasNews: boolean, nowMs: number): boolean {
    const table = this.#tables.get(walk) ?? { lastMs: Number.NEGATIVE_INFINITY, settledMs: nowMs };
    this.#tables.set(walk, table);
    if (hasNews) table.settledMs = nowMs + SETTLE_MS + this.#restMs(walk);
    if (!hasNews && table.lastMs >= table.settledMs && nowMs - table.lastMs < LONGEST_MS) return false;
    table.lastMs = nowMs;
    return true;
  }

  /** How long after a change a table has more to tell. */
  #restMs(walk: HintedWalk): number {
    if (walk === 'sockets') return this.#minAgeMs;
    return walk === 'processes' ? EXITED_MS : 0;
  }
}
