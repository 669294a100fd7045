/** Which debugging information the call paths lack, what has become of fetching it, and what the unwinder makes of it. */
import type { OfferedFile, PumpedPaths } from '../kernel/binding.ts';
import type { CallFrame, CallPath } from '../ledger/types.ts';
import type { Fetched } from './debuginfod.ts';

/** What the tracer offers of the unwinder. */
export interface DebugFileSource {
  offerDebugFile(buildId: string, folder: string, path: string): OfferedFile;
}

/** What fetches. */
export interface Fetcher {
  fetch(buildId: string): Promise<Fetched>;
}

/** What comes of it for one path. */
export interface DebugFileSinks {
  /** a path of which more is said */
  tell: (path: CallPath) => void;
  /** the names of this path are worth asking for again */
  nameAgain: (path: bigint) => void;
}

type Build =
  | { is: 'fetching' }
  | { is: 'fetched' | 'offered' | 'used'; folder: string; path: string; offers: number }
  | { is: 'missing'; reason: string };

/** A file of which unwinders die must not go on killing them. */
const MOST_OFFERS = 3;

export class DebugFiles {
  readonly #fetcher: Fetcher;
  readonly #source: DebugFileSource;
  readonly #sinks: DebugFileSinks;
  /** by build-id */
  readonly #builds = new Map<string, Build>();
  readonly #fetched: { buildId: string; fetched: Fetched }[] = [];
  /** paths that lack what is on its way */
  readonly #waiting = new Map<bigint, CallPath>();
  #unwinderPid = -1;
  #ended = false;

  constructor(fetcher: Fetcher, source: DebugFileSource, sinks: DebugFileSinks) {
    this.#fetcher = fetcher;
    this.#source = source;
    this.#sinks = sinks;
  }

  /** Whether nothing is on its way. */
  get isSettled(): boolean {
    return [...this.#builds.values()].every(isDecided);
  }

  /** Takes a path as the unwinder names it, and fetches what it lacks. Returns it, with notes on what is not to be had. */
  named(id: bigint, path: CallPath): CallPath {
    for (const buildId of lackedBy(path)) if (!this.#builds.has(buildId)) this.#fetch(buildId);
    if (this.#lacks(path, (build) => !isDecided(build))) this.#waiting.set(id, path);
    return this.#withNotes(path, this.#uselessFor(path));
  }

  /** Takes what has come from the network and from the unwinder since, and offers the one to the other. */
  take({ debugFiles, unwinderPid }: Pick<PumpedPaths, 'debugFiles' | 'unwinderPid'>): void {
    for (const { buildId, fetched } of this.#fetched.splice(0))
      if (fetched.ok) this.#builds.set(buildId, { ...fetched, is: 'fetched', offers: 0 });
      else this.#miss(buildId, fetched.reason);
    for (const { buildId, isRight } of debugFiles) this.#answered(buildId, isRight);
    if (unwinderPid > 0) this.#servedBy(unwinderPid);
    for (const [buildId, build] of this.#builds) if (build.is === 'fetched') this.#offer(buildId, build);
    this.#tellDecided();
  }

  /** What has not come by now is not waited for any more. */
  end(): void {
    this.#ended = true;
    this.#fetched.length = 0;
    for (const [buildId, build] of this.#builds)
      if (!isDecided(build)) this.#miss(buildId, 'no answer before the trace ended');
    this.#tellDecided();
  }

  #fetch(buildId: string): void {
    if (this.#ended) {
      this.#miss(buildId, 'met when the trace ended');
      return;
    }
    this.#builds.set(buildId, { is: 'fetching' });
    // Taken when the unwinder is asked next: the ledger is told of nothing in between.
    this.#fetcher
      .fetch(buildId)
      .catch((error: unknown) => ({ ok: false as const, reason: String(error) }))
      .then((fetched) => {
        if (!this.#ended) this.#fetched.push({ buildId, fetched });
      });
  }

  #answered(buildId: string, isRight: boolean): void {
    const build = this.#builds.get(buildId);
    if (build?.is !== 'offered') return;
    if (isRight) this.#builds.set(buildId, { ...build, is: 'used' });
    else this.#miss(buildId, 'what a server gave is no debugging information of this build: refused');
  }

  /** Another unwinder has been told of no file. */
  #servedBy(pid: number): void {
    if (pid === this.#unwinderPid) return;
    this.#unwinderPid = pid;
    for (const [buildId, build] of this.#builds)
      if (build.is === 'used') this.#builds.set(buildId, { ...build, is: 'fetched' });
  }

  #offer(buildId: string, build: Extract<Build, { is: 'fetched' | 'offered' | 'used' }>): void {
    if (build.offers >= MOST_OFFERS) {
      this.#miss(buildId, 'the unwinder died more than once while it was used');
      return;
    }
    const offered = this.#source.offerDebugFile(buildId, build.folder, build.path);
    if (offered.is === 'taken') this.#builds.set(buildId, { ...build, is: 'offered', offers: build.offers + 1 });
    else if (offered.is === 'refused') this.#miss(buildId, offered.reason);
  }

  #miss(buildId: string, reason: string): void {
    this.#builds.set(buildId, { is: 'missing', reason });
  }

  #tellDecided(): void {
    for (const [id, path] of this.#waiting) {
      if (this.#lacks(path, (build) => !isDecided(build))) continue;
      this.#waiting.delete(id);
      if (this.#lacks(path, ({ is }) => is === 'missing')) this.#sinks.tell(this.#withNotes(path));
      if (this.#lacks(path, ({ is }) => is === 'used')) this.#sinks.nameAgain(id);
    }
  }

  #lacks(path: CallPath, which: (build: Build) => boolean): boolean {
    return [...lackedBy(path)].some((buildId) => {
      const build = this.#builds.get(buildId);
      return build !== undefined && which(build);
    });
  }

  /** Builds of which the unwinder has a file, and yet no line for this path, which it has named since. */
  #uselessFor(path: CallPath): Set<string> {
    const lacked = lackedBy(path);
    for (const { buildId, line } of path.frames) if (buildId !== null && line !== null) lacked.delete(buildId);
    return new Set([...lacked].filter((buildId) => this.#builds.get(buildId)?.is === 'used'));
  }

  /** One note a reason, with all modules that it is true of. */
  #withNotes(path: CallPath, useless: ReadonlySet<string> = new Set()): CallPath {
    const modules = new Map<string, Set<string>>();
    for (const { buildId, module } of path.frames.filter(lacksLine)) {
      const build = this.#builds.get(buildId);
      const reason = build?.is === 'missing' ? build.reason : useless.has(buildId) ? 'none in what was fetched' : null;
      if (reason === null) continue;
      const named = modules.get(reason) ?? new Set();
      modules.set(reason, named.add(module?.replace(/^.*\//s, '') ?? '?'));
    }
    if (modules.size === 0) return path;
    const notes = [...modules].map(([reason, names]) => `debuginfod: no lines of ${[...names].join(', ')} (${reason})`);
    return { ...path, notes: [...path.notes, ...notes] };
  }
}

function isDecided({ is }: Build): boolean {
  return is === 'used' || is === 'missing';
}

function lacksLine(frame: CallFrame): frame is CallFrame & { buildId: string } {
  return frame.buildId !== null && frame.line === null;
}

function lackedBy({ frames }: CallPath): Set<string> {
  return new Set(frames.filter(lacksLine).map(({ buildId }) => buildId));
}
