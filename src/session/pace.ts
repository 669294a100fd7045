/** How often the tables are read: rarely enough to stay under 1% of a core, however large they are. */

const SHARE = 100;

/** Says when a repeated job is due, from how long it took last. */
export class Pace {
  readonly #shortestMs: number;
  #dueMs: number;

  /** Due for the first time `shortestMs` after `startMs`. */
  constructor(shortestMs: number, startMs: number) {
    this.#shortestMs = shortestMs;
    this.#dueMs = startMs + shortestMs;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#dueMs;
  }

  /** The job cost `durationMs` and ended at `endedMs`; the next run comes at least 100 times that duration later. */
  ran(durationMs: number, endedMs: number): void {
    this.#dueMs = endedMs + Math.max(this.#shortestMs, SHARE * durationMs);
  }
}
