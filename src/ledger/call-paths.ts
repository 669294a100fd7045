/** Call paths by their id, and what became of the sockets of each. */
import type { CallPath, PathCounters, PathId } from './types.ts';

export class CallPathStore {
  readonly #paths = new Map<PathId, CallPath>();
  readonly #counters = new Map<PathId, PathCounters>();

  /** Takes a path, or one whose names are better known by now. */
  apply(path: CallPath): void {
    this.#paths.set(path.id, path);
  }

  /** Takes the totals of one path so far. */
  count(id: PathId, counters: PathCounters): void {
    this.#counters.set(id, counters);
  }

  get(id: PathId): CallPath | undefined {
    return this.#paths.get(id);
  }

  countersOf(id: PathId): PathCounters | undefined {
    return this.#counters.get(id);
  }
}
