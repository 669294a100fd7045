/** Failed calls of all processes, in bounded memory however many programs fail and end. */
import { betterKnown } from './path-refs.ts';
import type { FailureFacts } from './types.ts';

/** Failed calls of one process, or of `processes` that are no longer told apart: then `process` is one of them. */
export interface FailureSum extends FailureFacts {
  processes: number;
}

/** Beyond this many, quiet ones are folded. */
const MANY = 20_000;

const OTHERS = '(others)';

/**
 * The kernel side forgets what has been quiet for 30 s (QUIET_NS of iterators.bpf.h) and counts from 0 when it comes
 * again, with another first time. A row that is twice as quiet gets no further total.
 */
const SETTLED_MS = 60_000;

export class FailureStore {
  readonly #rows = new Map<string, FailureFacts>();
  readonly #folded = new Map<string, FailureSum>();
  #foldAbove = MANY;

  /** Takes the total of one row so far. */
  apply(facts: FailureFacts): void {
    const key = `${facts.process}|${facts.operation}|${facts.errno}|${facts.detail}|${facts.firstMs}`;
    const known = this.#rows.get(key);
    if (known === undefined || facts.count > known.count) this.#rows.set(key, facts);
    else if (facts.count === known.count) {
      // The same total again: its call path has been found meanwhile.
      this.#rows.set(key, { ...facts, path: betterKnown(facts.path, known.path) });
    }
  }

  *all(): Generator<FailureSum> {
    for (const facts of this.#rows.values()) yield { ...facts, processes: 1 };
    yield* this.#folded.values();
  }

  get wantsFolding(): boolean {
    return this.#rows.size > this.#foldAbove;
  }

  /** Folds what is settled by comm and cause; rows of processes for which `keeps` holds stay as they are. */
  fold(nowMs: number, keeps: (process: string) => boolean): void {
    for (const [key, facts] of this.#rows) {
      if (nowMs - facts.lastMs < SETTLED_MS || keeps(facts.process)) continue;
      this.#rows.delete(key);
      this.#add(facts);
    }
    this.#foldAbove = Math.max(MANY, 2 * this.#rows.size);
  }

  #add(facts: FailureFacts): void {
    const { comm, operation, errno, detail, netns } = facts;
    const key = `${operation}|${errno}|${detail}|${netns}|${comm}`;
    const sum = this.#folded.get(key);
    if (sum === undefined) {
      // Programs that name themselves anew each time must not fill this table either.
      if (this.#folded.size < MANY || comm === OTHERS) this.#folded.set(key, { ...facts, processes: 1 });
      else this.#add({ ...facts, comm: OTHERS, netns: 0 });
      return;
    }
    sum.count += facts.count;
    // Rows of one process that differ only in their first time count it again: an upper bound.
    sum.processes += 1;
    if (facts.lastMs >= sum.lastMs) sum.path = facts.path;
    sum.firstMs = Math.min(sum.firstMs, facts.firstMs);
    sum.lastMs = Math.max(sum.lastMs, facts.lastMs);
  }
}
