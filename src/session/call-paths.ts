/**
 * Call paths as the ledger wants them: references of captures become paths by what the unwinder answers, and the counts of
 * references become those of their paths.
 */
import type { PumpedPaths } from '../kernel/binding.ts';
import type { DecodedPath } from '../kernel/decode.ts';
import { callPathOf, formatPathId } from '../kernel/unwinder.ts';
import { NO_PATH_COUNTS, PATH_COUNT_NAMES } from '../ledger/call-paths.ts';
import {
  type CallPath,
  type LedgerInput,
  NOT_SAMPLED,
  type PathCounters,
  type PathId,
  type PathRef,
} from '../ledger/types.ts';
import { type DebugFileSource, DebugFiles, type Fetcher } from './debug-files.ts';

/** enum of bpf/callpath_records.h: references below the first name no capture. */
const REF_NONE = 0n;
const REF_NOT_SAMPLED = 1n;
const REF_KERNEL = 2n;
const REF_FIRST = 256n;

/** What the tracer offers of the unwinder. */
export interface PathSource extends DebugFileSource {
  pumpPaths(): PumpedPaths;
  wantPathNames(path: bigint): boolean;
}

export interface UnwinderStats {
  /** times it ended and was started again */
  deaths: number;
  /** answers of the cache that were checked, and those of them that were wrong */
  audited: number;
  wrong: number;
  /** -1 while none is running */
  unwinderPid: number;
}

/** Beyond this many paths, what more come are summed up with what was not sampled. */
const MOST_PATHS = 10_000;
/** References are kept after their last socket, since a failed call may still name them: those asked for last. */
const MOST_REFS = 200_000;

const OFF = 'call paths were not captured';
const KERNEL: PathRef = { status: 'unavailable', reason: 'a thread of the kernel made it: there is no user stack' };
const TOO_MANY: PathRef = {
  status: 'unavailable',
  reason: `there are more than ${MOST_PATHS.toLocaleString('en-US')} call paths`,
};
const PENDING: PathRef = { status: 'pending' };

export class CallPaths {
  readonly #source: PathSource;
  readonly #feed: (input: LedgerInput) => void;
  /** what a reference stands for; one that is being named is not here yet */
  readonly #refs = new Map<bigint, PathRef>();
  /** references that wait for the names of their path */
  readonly #unnamed = new Map<bigint, bigint[]>();
  readonly #toAsk = new Set<bigint>();
  /** what references of a named path stand for: one object, since there may be very many of them */
  readonly #known = new Map<PathId, PathRef>();
  /** the same of those without a path, by the reason: a program that forks or execs all the time has very many */
  readonly #pathless = new Map<string, PathRef>();
  readonly #counts = new Map<bigint, PathCounters>();
  /** last counts of references that went before they stood for anything */
  readonly #early = new Map<bigint, PathCounters>();
  readonly #sums = new Map<PathId, PathCounters>();
  readonly #changed = new Set<PathId>();
  readonly #debugFiles: DebugFiles | null;
  #pending = 0;
  #stats: UnwinderStats = { deaths: 0, audited: 0, wrong: 0, unwinderPid: -1 };

  /** @param fetcher of debugging information that the host lacks; null: nothing is fetched */
  constructor(source: PathSource, feed: (input: LedgerInput) => void, fetcher: Fetcher | null = null) {
    this.#source = source;
    this.#feed = feed;
    const tell = (path: CallPath) => feed({ type: 'path', path });
    const nameAgain = (path: bigint) => this.#toAsk.add(path);
    this.#debugFiles = fetcher && new DebugFiles(fetcher, source, { tell, nameAgain });
  }

  get unwinderStats(): UnwinderStats {
    return this.#stats;
  }

  /** Whether nothing is on its way: no stack that is unwound, no names, no debugging information. */
  get isSettled(): boolean {
    const isNamed = this.#pending === 0 && this.#unnamed.size === 0 && this.#toAsk.size === 0;
    return isNamed && (this.#debugFiles?.isSettled ?? true);
  }

  /** Takes what the unwinder has answered. Returns whether any reference stands for something now. */
  pump(): boolean {
    for (const path of this.#toAsk) if (this.#source.wantPathNames(path)) this.#toAsk.delete(path);
    const { unwound, named, pending, debugFiles, ...stats } = this.#source.pumpPaths();
    this.#pending = pending;
    this.#stats = stats;
    for (const { ref, path, notes } of unwound) this.#unwound(ref, path, notes);
    for (const path of named) this.#named(path.path, callPathOf(path));
    this.#debugFiles?.take({ debugFiles, unwinderPid: stats.unwinderPid });
    return unwound.length > 0 || named.length > 0;
  }

  /** Debugging information that has not come by now is not waited for any more. */
  endFetching(): void {
    this.#debugFiles?.end();
  }

  /** What a row's reference stands for now. */
  of(ref: bigint): PathRef {
    if (ref === REF_NONE) return { status: 'unavailable', reason: OFF };
    if (ref === REF_NOT_SAMPLED) return { status: 'not-sampled' };
    if (ref === REF_KERNEL) return KERNEL;
    const known = this.#refs.get(ref);
    if (known === undefined) return PENDING;
    // What is asked for is kept: the oldest reference may be the one that the cache answers with all the time.
    this.#refs.delete(ref);
    this.#refs.set(ref, known);
    return known;
  }

  /** Takes the counts of one reference so far. */
  count({ ref, gone, counters }: DecodedPath): void {
    if (ref >= REF_FIRST && this.of(ref).status === 'pending') {
      if (gone) this.#early.set(ref, plus(counters, this.#early.get(ref)));
      if (gone) this.#counts.delete(ref);
      else this.#counts.set(ref, counters);
      return;
    }
    this.#add(ref, counters, this.#counts.get(ref));
    // It may be born again, and then counts from 0.
    if (gone) this.#counts.delete(ref);
    else this.#counts.set(ref, counters);
  }

  /** Tells the ledger of the counts that changed. */
  flush(): void {
    if (this.#changed.size === 0) return;
    const paths = [...this.#changed].map((id) => ({ id, counters: { ...this.#sumOf(id) } }));
    this.#changed.clear();
    this.#feed({ type: 'pathCounters', paths });
  }

  #unwound(ref: bigint, path: bigint, notes: readonly string[]): void {
    if (path === 0n) {
      this.#resolve(ref, this.#withoutPath(notes.join('; ') || 'the stack could not be read'));
      return;
    }
    const id = formatPathId(path);
    const known = this.#known.get(id);
    if (known !== undefined) {
      this.#resolve(ref, known);
      return;
    }
    if (this.#known.size >= MOST_PATHS) {
      this.#resolve(ref, TOO_MANY);
      return;
    }
    const waiting = this.#unnamed.get(path);
    if (waiting !== undefined) {
      waiting.push(ref);
      return;
    }
    this.#unnamed.set(path, [ref]);
    if (!this.#source.wantPathNames(path)) this.#toAsk.add(path);
  }

  #withoutPath(reason: string): PathRef {
    const known = this.#pathless.get(reason) ?? { status: 'unavailable', reason };
    this.#pathless.set(reason, known);
    return known;
  }

  #named(path: bigint, callPath: CallPath): void {
    // Without frames it was forgotten before it could be named: the next sample of it asks again.
    const named = this.#known.get(callPath.id) ?? ({ status: 'resolved', id: callPath.id } as const);
    if (callPath.frames.length > 0) this.#known.set(callPath.id, named);
    this.#feed({ type: 'path', path: this.#debugFiles?.named(path, callPath) ?? callPath });
    const waiting = this.#unnamed.get(path) ?? [];
    this.#unnamed.delete(path);
    for (const ref of waiting) this.#resolve(ref, named);
  }

  #resolve(ref: bigint, to: PathRef): void {
    this.#refs.set(ref, to);
    if (this.#refs.size > MOST_REFS) this.#forgetOldest();
    for (const counted of [this.#early.get(ref), this.#counts.get(ref)])
      if (counted !== undefined) this.#add(ref, counted, undefined);
    this.#early.delete(ref);
  }

  #forgetOldest(): void {
    for (const ref of this.#refs.keys()) {
      this.#refs.delete(ref);
      this.#counts.delete(ref);
      return;
    }
  }

  #add(ref: bigint, counters: PathCounters, before: PathCounters | undefined): void {
    const of = this.of(ref);
    const id = of.status === 'resolved' ? of.id : NOT_SAMPLED;
    const sum = this.#sumOf(id);
    for (const name of PATH_COUNT_NAMES) sum[name] += counters[name] - (before?.[name] ?? 0);
    this.#changed.add(id);
  }

  #sumOf(id: PathId): PathCounters {
    let sum = this.#sums.get(id);
    if (sum === undefined) {
      sum = { ...NO_PATH_COUNTS };
      this.#sums.set(id, sum);
    }
    return sum;
  }
}

function plus(a: PathCounters, b: Readonly<PathCounters> = NO_PATH_COUNTS): PathCounters {
  const sum = { ...a };
  for (const name of PATH_COUNT_NAMES) sum[name] += b[name];
  return sum;
}
