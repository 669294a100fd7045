/**
 * The ledger: everything that was observed, folded into the present state. Pure: time comes in as inputs, so a
 * replayed recording gives the same ledger as the live run did.
 */
import { CallPathStore } from './call-paths.ts';
import { countByKind, type KindCount, type SocketEntry } from './entry.ts';
import type { ExitSum } from './exits.ts';
import { FailureStore, type FailureSum } from './failure-store.ts';
import { GrowthSeries, type SuspectCount } from './growth.ts';
import { PortGrowth } from './port-growth.ts';
import { type KnownProcess, ProcessStore } from './processes.ts';
import { SocketStore } from './sockets.ts';
import type { SuspectSum } from './suspect-sums.ts';
import { groupTallies, programId, sumBy } from './suspects.ts';
import { DEFAULT_THRESHOLDS } from './thresholds.ts';
import type { Known, LedgerInput, Loss, LossCode, ProcessId, SessionFacts, Thresholds } from './types.ts';

export type CensusInput = Extract<LedgerInput, { type: 'census' }>;
export type HostSample = Extract<LedgerInput, { type: 'hostSample' }>;

/** Growth is sampled at most this often, and so rarely that at most SAMPLED_PER_MS sockets a ms are walked for it. */
const SHORTEST_SAMPLE_INTERVAL_MS = 1_000;
const SAMPLED_PER_MS = 100;

const UNTRACED = { status: 'unavailable', reason: 'the process was not traced' } as const;

export class Ledger {
  readonly #sockets = new SocketStore();
  readonly #processes = new ProcessStore();
  readonly #failures = new FailureStore();
  readonly callPaths = new CallPathStore();
  readonly portGrowth = new PortGrowth();
  readonly #losses = new Map<LossCode, number>();
  #growth = new Map<string, GrowthSeries>();
  #session: SessionFacts | null = null;
  #firstSample: HostSample | null = null;
  #lastSample: HostSample | null = null;
  #firstCensus: CensusInput | null = null;
  #lastCensus: CensusInput | null = null;
  #nowMs = Number.NEGATIVE_INFINITY;
  #watchedSinceMs = Number.POSITIVE_INFINITY;
  #lastSampledMs = Number.NEGATIVE_INFINITY;

  /**
   * Takes one input. Inputs of one socket may be repeated or overtake each other.
   * @throws TypeError when a socket's id is malformed
   */
  apply(input: LedgerInput): void {
    switch (input.type) {
      case 'session':
        this.#session = input.session;
        return;
      case 'socket':
        return this.#sockets.update(input.facts, this.#watchedSinceMs);
      case 'ended':
        this.#advance(input.atMs);
        return this.#sockets.end(input.facts, input.atMs);
      case 'process':
        return this.#processes.update(input.facts, input.activity);
      case 'holders':
        this.#advance(input.atMs);
        return this.#sockets.confirm(input);
      case 'failure':
        return this.#failures.apply(input.facts);
      case 'path':
        return this.callPaths.apply(input.path);
      case 'pathCounters':
        for (const { id, counters } of input.paths) this.callPaths.count(id, counters);
        return;
      case 'hostSample':
        this.#advance(input.atMs);
        return this.#applyHostSample(input);
      case 'census':
        this.#advance(input.atMs);
        this.#firstCensus ??= input;
        this.#lastCensus = input;
        if (input.seen.status === 'unavailable') return;
        this.portGrowth.add(input.atMs, input.seen.value.ports);
        for (const facts of input.seen.value.processes ?? []) this.#processes.update(facts, UNTRACED);
        return;
      case 'loss':
        for (const loss of input.losses) this.#applyLoss(loss);
        return;
      case 'tick':
        return this.#tick(input.atMs);
      default:
        return unknownInput(input);
    }
  }

  /** The latest time that any input told, CLOCK_MONOTONIC ms; the session's own time before that, else 0. */
  get nowMs(): number {
    if (this.#nowMs !== Number.NEGATIVE_INFINITY) return this.#nowMs;
    return this.#session?.clock.monotonicMs ?? 0;
  }

  get session(): SessionFacts | null {
    return this.#session;
  }

  /** When it was last looked who holds the sockets, RFC 3339; null before the first time. */
  get confirmedAt(): string | null {
    const { confirmedMs } = this.#sockets;
    if (confirmedMs === null || this.#session === null) return null;
    const { monotonicMs, wallMs } = this.#session.clock;
    return new Date(wallMs + (confirmedMs - monotonicMs)).toISOString();
  }

  get thresholds(): Readonly<Thresholds> {
    return this.#session?.thresholds ?? DEFAULT_THRESHOLDS;
  }

  get firstSample(): HostSample | null {
    return this.#firstSample;
  }

  get lastSample(): HostSample | null {
    return this.#lastSample;
  }

  get firstCensus(): CensusInput | null {
    return this.#firstCensus;
  }

  get lastCensus(): CensusInput | null {
    return this.#lastCensus;
  }

  /** Sockets that are alive and were shown to user space, and those that were held at exit. In no given order. */
  sockets(): Iterable<SocketEntry> {
    return this.#sockets.entries();
  }

  /** The suspects among `sockets()` at a time. */
  suspectSums(nowMs: number): SuspectSum[] {
    return this.#sockets.suspectSums(nowMs, this.thresholds);
  }

  /** The socket at an address of the kernel, of those that were told of and live. */
  socketAt(address: string): SocketEntry | undefined {
    return this.#sockets.livingAt(address);
  }

  /** Sockets held at exit whose processes are no longer told apart; `sockets()` does not have them. */
  exitSums(): Iterable<ExitSum> {
    return this.#sockets.exits.sums();
  }

  /**
   * What an owner is known by across processes: its executable, else its comm. The kernel appends "(deleted)" when an
   * upgrade replaced the file; it is the same program still.
   */
  programOf(owner: Known<ProcessId>): string {
    const process = owner.status === 'measured' ? this.#processes.get(owner.value) : undefined;
    const exe = process?.facts.exe;
    return (exe?.status === 'measured' ? exe.value.replace(/ \(deleted\)$/, '') : process?.facts.comm) ?? 'unknown';
  }

  /** How many sockets of each kind there are among `sockets()`; kinds without any are left out. */
  countByKind(): KindCount[] {
    return countByKind(this.#sockets.kinds());
  }

  process(id: ProcessId): KnownProcess | undefined {
    return this.#processes.get(id);
  }

  processes(): Iterable<KnownProcess> {
    return this.#processes.all();
  }

  /** False while nothing matches what was selected. */
  get hasTraced(): boolean {
    return this.#processes.hasTraced;
  }

  /** What all traced processes together opened and accepted, as far as they have told. */
  activityTotals(): { opened: number; accepted: number } {
    return this.#processes.totals();
  }

  failures(): Iterable<FailureSum> {
    return this.#failures.all();
  }

  /** Totals by code; codes without loss are left out. */
  losses(): Loss[] {
    return [...this.#losses].map(([code, count]) => ({ code, count })).filter(({ count }) => count > 0);
  }

  /**
   * How suspects developed; undefined when no tick has seen them yet.
   * @param id of a group of suspects, or what it shares with the owner's other groups or the program's other processes
   */
  growthOf(id: string): GrowthSeries | undefined {
    return this.#growth.get(id);
  }

  #advance(atMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  #applyHostSample(sample: HostSample): void {
    if (this.#firstSample === null || sample.atMs < this.#firstSample.atMs) this.#firstSample = sample;
    if (this.#lastSample === null || sample.atMs >= this.#lastSample.atMs) this.#lastSample = sample;
  }

  #applyLoss({ code, count }: Loss): void {
    this.#losses.set(code, Math.max(this.#losses.get(code) ?? 0, count));
  }

  #tick(atMs: number): void {
    this.#advance(atMs);
    this.#watchedSinceMs = Math.min(this.#watchedSinceMs, atMs);
    const intervalMs = Math.max(SHORTEST_SAMPLE_INTERVAL_MS, this.#sockets.size / SAMPLED_PER_MS);
    if (atMs - this.#lastSampledMs >= intervalMs) this.#sampleGrowth(atMs);
    if (this.#sockets.exits.wantsSumming) this.#sockets.exits.sumUp((owner) => this.programOf(owner));
    if (this.#failures.wantsFolding) this.#failures.fold(atMs, (process) => this.#isTraced(process));
    if (this.#processes.wantsPruning) this.#processes.prune(atMs, this.#referencedProcesses());
  }

  #isTraced(process: ProcessId): boolean {
    return this.#processes.get(process)?.activity.status === 'measured';
  }

  #sampleGrowth(atMs: number): void {
    const emptyAtMs = this.#lastSampledMs === Number.NEGATIVE_INFINITY ? null : this.#lastSampledMs;
    // Only groups that exist now are carried over, so groups of the past take no memory.
    const growth = new Map<string, GrowthSeries>();
    const sample = (id: string, count: SuspectCount): void => {
      const series = this.#growth.get(id) ?? new GrowthSeries(emptyAtMs);
      series.add(atMs, count);
      growth.set(id, series);
    };
    const groups = groupTallies(this.#sockets.tallySuspects(atMs, this.thresholds.minAgeMs));
    for (const group of groups) sample(group.id, group);
    // A leak that goes through several call paths may grow too slowly in each of them to be seen there.
    for (const [id, count] of sumBy(groups, ({ ofOwner }) => ofOwner)) sample(id, count);
    // One that goes through several processes, each of which has its share at once and no more, grows in none of them.
    const ofProgram = sumBy(groups, ({ kind, traits }) => programId(kind, traits, this.programOf(traits.owner)));
    for (const [id, count] of ofProgram) sample(id, count);
    this.#growth = growth;
    this.#lastSampledMs = atMs;
  }

  #referencedProcesses(): Set<ProcessId> {
    const referenced = new Set<ProcessId>();
    for (const { traits, holders } of this.#sockets.entries()) {
      if (traits.owner.status === 'measured') referenced.add(traits.owner.value);
      for (const holder of holders ?? []) referenced.add(holder);
    }
    for (const { process } of this.#failures.all()) referenced.add(process);
    for (const id of this.#session?.target.processes ?? []) referenced.add(id);
    return referenced;
  }
}

function unknownInput(input: never): never {
  throw new TypeError(`not a ledger input: ${JSON.stringify(input)}`);
}
