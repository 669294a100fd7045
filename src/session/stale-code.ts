/** Programs that no process runs any more: what the unwinder has open of them can go, once their last stacks are unwound. */
import type { TracedProcess } from '../kernel/decode.ts';
import type { ProcessId } from '../ledger/types.ts';

/** Stacks of a process that has exited may be on their way still. */
const KEEP_MS = 5_000;

/** A program of a process: the one since its `execs`-th exec. */
export interface RunProgram {
  pid: number;
  startNs: bigint;
  execs: number;
}

export class StaleCode {
  readonly #execs = new Map<ProcessId, number>();
  /** the oldest first */
  readonly #stale: (RunProgram & { sinceMs: number })[] = [];

  /** Takes a process whose row has changed. */
  seen({ id, pid, startNs, execs, exitedMs }: TracedProcess, nowMs: number): void {
    const gone = exitedMs !== null;
    for (let old = this.#execs.get(id) ?? execs; gone ? old <= execs : old < execs; old++)
      this.#stale.push({ pid, startNs, execs: old, sinceMs: nowMs });
    if (gone) this.#execs.delete(id);
    else this.#execs.set(id, execs);
  }

  /** Those that have been so for long enough; each once. */
  take(nowMs: number): RunProgram[] {
    const young = this.#stale.findIndex(({ sinceMs }) => nowMs - sinceMs < KEEP_MS);
    return this.#stale.splice(0, young < 0 ? this.#stale.length : young);
  }
}
