/** V8 ends a process whose heap is full, and its report would be lost: a trace ends before that. */
import { MemoryGuard } from '../recording/memory.ts';

const LOOK_MS = 1_000;
/** A walk of all descriptors takes more for a moment than what is known of the same sockets, and the report comes after it. */
const MOST_OF_MEMORY = 0.4;

export class Room {
  readonly #guard = new MemoryGuard(MOST_OF_MEMORY);
  #lookedMs = Number.NEGATIVE_INFINITY;

  /** Whether more can be taken. */
  get isLeft(): boolean {
    const now = performance.now();
    if (now - this.#lookedMs < LOOK_MS) return true;
    this.#lookedMs = now;
    return !this.#guard.isUsedUp;
  }
}
