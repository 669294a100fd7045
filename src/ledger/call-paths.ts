/** Call paths by their id, and what became of the sockets of each. Inputs may be repeated and overtake each other. */
import { compareText } from './order.ts';
import type { CallPath, PathCounters, PathId } from './types.ts';

export const NO_PATH_COUNTS: Readonly<PathCounters> = {
  sockets: 0,
  ended: 0,
  opened: 0,
  accepted: 0,
  bound: 0,
  bindFailed: 0,
  connected: 0,
  connectFailed: 0,
  listened: 0,
  closedUnused: 0,
};

export const PATH_COUNT_NAMES = Object.keys(NO_PATH_COUNTS) as (keyof PathCounters)[];

export class CallPathStore {
  readonly #paths = new Map<PathId, CallPath>();
  readonly #counters = new Map<PathId, PathCounters>();

  /** Takes a path. Of one told several times, that with the most names and lines stays; of equals, that with most notes. */
  apply(path: CallPath): void {
    const known = this.#paths.get(path.id);
    if (known === undefined || compareKnowledge(path, known) > 0) this.#paths.set(path.id, path);
  }

  /** Takes the totals of one path so far. Totals only grow, so the greater of two is the later one. */
  count(id: PathId, counters: PathCounters): void {
    const known = this.#counters.get(id);
    this.#counters.set(id, known === undefined ? counters : greater(known, counters));
  }

  get(id: PathId): CallPath | undefined {
    return this.#paths.get(id);
  }

  countersOf(id: PathId): PathCounters | undefined {
    return this.#counters.get(id);
  }

  /** Every path, in no given order. */
  paths(): IterableIterator<CallPath> {
    return this.#paths.values();
  }

  /** Every id that has been counted, NOT_SAMPLED among them; its path may not have been told. */
  counted(): IterableIterator<[PathId, PathCounters]> {
    return this.#counters.entries();
  }
}

/** Positive when `a` says more. A total order: which of two stays does not hang on which came first. */
function compareKnowledge(a: CallPath, b: CallPath): number {
  return (
    knowledge(a) - knowledge(b) || a.notes.length - b.notes.length || compareText(JSON.stringify(a), JSON.stringify(b))
  );
}

function knowledge({ frames }: CallPath): number {
  return frames.reduce((sum, frame) => sum + Number(frame.function !== null) + Number(frame.line !== null), 0);
}

function greater(a: PathCounters, b: PathCounters): PathCounters {
  const greatest = { ...a };
  for (const name of PATH_COUNT_NAMES) greatest[name] = Math.max(a[name], b[name]);
  return greatest;
}
