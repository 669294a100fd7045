/** How often the tables are read: rarely enough to stay under 1% of a core, however large they are. */

const SHARE = 100;

/** Says when a repeated job is due, from how long it took last. */
export class Pace {
  readonly #shortestMs: number;
  #dueMs: number;
  #soonestMs: number;

  /** Due for the first time `shortestMs` after `startMs`. */
  constructor(shortestMs: number, startMs: number) {
    this.#shortestMs = shortestMs;
    this.#dueMs = startMs + shortestMs;
    this.#soonestMs = startMs;
  }

  /** @param isWanted there is a reason to do it before the shortest interval is over, if its cost permits */
  isDue(nowMs: number, isWanted = false): boolean {
    return nowMs >= (isWanted ? this.#soonestMs : this.#dueMs);
  }

  /** The job cost `durationMs` and ended at `endedMs`; the next run comes at least 100 times that duration later. */
  ran(durationMs: number, endedMs: number): void {
    this.#soonestMs = endedMs + SHARE * durationMs;
    this.#dueMs = Math.max(endedMs + this.#shortestMs, this.#soonestMs);
  }
}

/** CPU time of this process since `before`, in ms. Who is stopped in a job has not worked for as long. */
export function cpuMsSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1_000;
}

/**
 * What a job takes: CPU time, since on a busy host the next one would wait for minutes; and of the last two times the
 * smaller, since the first one compiles, and any may collect garbage.
 */
class Cost {
  #lastMs = 0;

  /** Does the job, and returns what it usually takes. */
  of(job: () => void): number {
    const before = process.cpuUsage();
    job();
    const ms = cpuMsSince(before);
    const usual = Math.min(ms, this.#lastMs);
    this.#lastMs = ms;
    return usual;
  }
}

/** A job that is repeated as often as what it costs permits. */
export class PacedJob {
  readonly #pace: Pace;
  readonly #cost = new Cost();
  readonly #clock: () => number;
  readonly #weight: number;

  /**
   * Due for the first time `shortestMs` after `startMs`.
   * @param weight this job may take so many times less than a Pace permits
   */
  constructor(shortestMs: number, startMs: number, clock: () => number, weight = 1) {
    this.#pace = new Pace(shortestMs, startMs);
    this.#clock = clock;
    this.#weight = weight;
  }

  /** Does the job if it is due, or is wanted and its cost permits it. */
  whenDue(job: () => void, isWanted = false): void {
    if (!this.#pace.isDue(this.#clock(), isWanted)) return;
    const costMs = this.#cost.of(job);
    this.#pace.ran(this.#weight * costMs, this.#clock());
  }
}

/**
 * When to look at what is compared with how it was half a trace ago: each time after twice as long as before, so that of
 * all looks together there are few, and later where they cost much.
 */
export class Doubling {
  /** at most 5% of a core until the next */
  static readonly #SHARE = 20;
  readonly #startMs: number;
  #dueMs: number;

  /** @param costMs CPU time of the look at the start */
  constructor(startMs: number, firstAfterMs: number, costMs: number) {
    this.#startMs = startMs;
    this.#dueMs = startMs + Math.max(firstAfterMs, Doubling.#SHARE * costMs);
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#dueMs;
  }

  /** @param costMs CPU time of this look */
  ran(costMs: number, endedMs: number): void {
    this.#dueMs = endedMs + Math.max(endedMs - this.#startMs, Doubling.#SHARE * costMs);
  }
}
