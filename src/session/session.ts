/**
 * One tracing session: opens the tracer, feeds the ledger from its tables, and gives the report. The live command
 * and the library share it; it does no output of its own.
 */
import { hostname } from 'node:os';
import {
  type HintedWalk,
  type HookSetName,
  KernelError,
  Tracer,
  type WalkName,
  type WantedProcess,
} from '../kernel/binding.ts';
import { type DecodedFailure, type DecodedSocket, Decoder, type SocketEvent } from '../kernel/decode.ts';
import { HolderWalks } from '../kernel/holder-walks.ts';
import { BLIND_SPOTS, COUNTING_PROGRAMS } from '../kernel/hook-sets.ts';
import { EVENT_RECORD, HOLDER_RECORD, SOCKET_RECORD } from '../kernel/layout.ts';
import { Ledger } from '../ledger/ledger.ts';
import { pidsFrom } from '../ledger/outside.ts';
import type {
  HeldSocket,
  HookChoice,
  HostCounters,
  Known,
  LedgerInput,
  ProcessFacts,
  SelectedTarget,
  SessionFacts,
  Thresholds,
} from '../ledger/types.ts';
import { readBootId, readBootTimeMs, readKernelRelease } from '../procfs/boot.ts';
import { readSockstat } from '../procfs/sockstat.ts';
import { buildReport } from '../report/report.ts';
import type { Report } from '../report/types.ts';
import { VERSION } from '../version.ts';
import { CallPaths, type UnwinderStats } from './call-paths.ts';
import { censusInput } from './census.ts';
import { monotonicMs, pauseMs } from './clock.ts';
import { Debuginfod } from './debuginfod.ts';
import { Hints } from './hints.ts';
import { agrees, type HostReading, sameCounters, truestReading } from './host-reading.ts';
import { LatePaths } from './late-paths.ts';
import { lossesOf } from './losses.ts';
import { cpuMsSince, Pace, PacedJob } from './pace.ts';
import { ProcessDirectory } from './processes.ts';
import type { Selection } from './selection.ts';
import { StaleCode } from './stale-code.ts';
import { watchedKind } from './watched-kinds.ts';

export interface SessionOptions {
  targets: readonly WantedProcess[];
  /** by what other processes are traced, those to come too */
  selection?: Selection;
  /** what was started to be traced, for the report */
  command?: readonly string[];
  /** patterns of findings that are expected */
  allow?: readonly string[];
  /** trace children too, those that exist and those to come */
  follow: boolean;
  thresholds: Thresholds;
  hooks: 'auto' | HookSetName;
  /** count failures of processes that are not traced */
  victims: boolean;
  hideArguments: boolean;
  /** most sockets followed at a time */
  maxSockets: number;
  maxProcesses: number;
  /** tables and rings of other sizes than usual */
  sizes?: { maxFailures?: number; maxPaths?: number; stackRingBytes?: number };
  /** rows are read at least this far apart */
  sweepMs: number;
  confirmMs: number;
  /** capture call paths */
  callPaths: boolean;
  /** fetch debugging information that the host lacks from the servers of DEBUGINFOD_URLS */
  debuginfod?: boolean;
  /** copy every stack whole, without cache and budget: what a capture costs at most */
  everyStack?: boolean;
  /** bytes of the event ring, a power of two of pages; null: no event stream */
  eventRingBytes: number | null;
}

export const DEFAULT_MAX_SOCKETS = 262_144;
export const DEFAULT_MAX_PROCESSES = 65_536;
export const DEFAULT_SWEEP_MS = 250;
export const DEFAULT_CONFIRM_MS = 2_000;

const BUFFER_BYTES = 1 << 20;
/** Some 1,700 stacks of the usual size: all that the budget of the host lets through in a second. */
const STACK_RING_BYTES = 1 << 24;
/**
 * Everything that is done again and again, the live view too, shares 2% of a core, with some left for the collection of
 * garbage: the sweep may take half of what a Pace permits, looking for who holds the sockets a third.
 */
const SWEEP_WEIGHT = 2;
const CONFIRM_WEIGHT = 3;
const HOST_SAMPLE_MS = 1_000;
/** Each takes about 0.2 ms. */
const SAMPLE_READINGS = 9;

/** At the end, for the unwinder: the debugging information of a large program takes a second or two to read. */
const SETTLE_PATHS_MS = 10_000;
/** So long finish() stands still for what came last. */
const LAST_PATHS_MS = 500;
export interface CallPathStats extends UnwinderStats {
  sampled: number;
  cached: number;
  notSampled: number;
}

export interface SessionSinks {
  /** every input, after the ledger has taken it */
  input?: (input: LedgerInput) => void;
  /** false: it was not taken, which is counted as loss */
  event?: (event: SocketEvent) => boolean;
}

/** None of the processes asked for was there any more when the hooks went on; its pid may be another's by now. */
export class TargetGoneError extends Error {
  override readonly name = 'TargetGoneError';
}

export class Session {
  readonly ledger = new Ledger();
  readonly hooks: HookChoice;
  readonly #tracer: Tracer;
  readonly #bootId: string;
  readonly #decoder: Decoder;
  readonly #processes: ProcessDirectory;
  readonly #sinks: SessionSinks;
  readonly #paths: CallPaths;
  readonly #debuginfod: Debuginfod | null;
  readonly #late: LatePaths;
  readonly #stale = new StaleCode();
  readonly #options: SessionOptions;
  readonly #buffer = new Uint8Array(BUFFER_BYTES - (BUFFER_BYTES % (SOCKET_RECORD.size * HOLDER_RECORD.size)));
  readonly #sweepPace: Pace;
  readonly #holderWalks = new HolderWalks();
  /** Taking in what has changed costs as much again where much has. */
  readonly #confirmJob: PacedJob;
  readonly #samplePace: Pace;
  readonly #selectors = new Set<string>();
  readonly #hints: Hints;
  #lastReading: HostReading | null = null;
  #failedWalks = 0;
  #mptcpHeld = 0;
  #eventsNotPrinted = 0;
  /** time spent in iterators so far */
  #walkedMs = 0;
  /** when the ledger was last told of all suspects, CLOCK_MONOTONIC */
  #sweptMs = Number.NEGATIVE_INFINITY;

  /**
   * Attaches, switches on, and seeds what the processes hold already.
   * @throws KernelError when the kernel refuses, TargetGoneError when the processes have ended meanwhile; nothing stays
   * attached then
   */
  static open(options: SessionOptions, sinks: SessionSinks = {}): Session {
    const bootId = readBootId();
    if (bootId.status === 'unavailable') throw new Error(`no boot id, which process identities need: ${bootId.reason}`);
    const tracer = Tracer.open({
      hooks: options.hooks,
      maxSockets: options.maxSockets,
      maxProcesses: options.maxProcesses,
      eventRingBytes: options.eventRingBytes ?? 4096,
      minAgeNs: Math.round(options.thresholds.minAgeMs * 1e6),
      followChildren: options.follow,
      countVictims: options.victims,
      streamEvents: options.eventRingBytes !== null,
      callPaths: options.callPaths,
      everyStack: options.everyStack ?? false,
      stackRingBytes: STACK_RING_BYTES,
      ...options.sizes,
      selectBy: options.selection?.types ?? [],
      selectAll: options.selection?.all ?? false,
    });
    const session = new Session(tracer, bootId.value, options, sinks);
    try {
      session.#start();
      return session;
    } catch (error) {
      session.close();
      throw error;
    }
  }

  private constructor(tracer: Tracer, bootId: string, options: SessionOptions, sinks: SessionSinks) {
    this.#tracer = tracer;
    this.#bootId = bootId;
    this.#options = options;
    this.#sinks = sinks;
    this.#debuginfod = options.debuginfod ? new Debuginfod() : null;
    this.#paths = new CallPaths(tracer, (input) => this.#feed(input), this.#debuginfod);
    this.#decoder = new Decoder(bootId, (ref) => this.#paths.of(ref));
    this.#late = new LatePaths(this.#decoder, {
      socket: (socket) => this.#tellSocket(socket),
      failure: (failure) => this.#tellFailure(failure),
    });
    this.#processes = new ProcessDirectory({ bootId, bootTimeMs: readBootTimeMs() }, options.hideArguments);
    this.hooks = {
      set: tracer.set,
      refused: tracer.refused,
      blindSpots: [...BLIND_SPOTS[tracer.set], ...tracer.unseen],
    };
    const now = monotonicMs();
    this.#sweepPace = new Pace(options.sweepMs, now);
    this.#confirmJob = new PacedJob(options.confirmMs, now, monotonicMs, CONFIRM_WEIGHT);
    this.#samplePace = new Pace(HOST_SAMPLE_MS, now);
    this.#hints = new Hints(options.thresholds.minAgeMs);
  }

  /** Whether something is on its way that poll() wants to take soon. */
  get isBusy(): boolean {
    return this.#options.eventRingBytes !== null || !(this.#pathsOff || this.#paths.isSettled);
  }

  /** Does what is due. Call it often; it decides by itself what to read. */
  poll(): void {
    if (this.#options.eventRingBytes !== null) this.#drainEvents();
    this.#pumpPaths();
    this.#whenDue(this.#sweepPace, () => this.#sweepNews());
    this.#confirmJob.whenDue(() => this.#confirm());
    this.#whenDue(this.#samplePace, () => this.#sampleHost());
    this.#feed({ type: 'tick', atMs: monotonicMs() });
  }

  /**
   * Paced by what the walks cost, which grows with the tables and comes again each time; taking in what they brought
   * does not, and a batch of news must not put the next walk off.
   */
  #whenDue(pace: Pace, job: () => void): void {
    if (!pace.isDue(monotonicMs())) return;
    const before = this.#walkedMs;
    job();
    pace.ran(SWEEP_WEIGHT * (this.#walkedMs - before), monotonicMs());
  }

  /** Whether every traced process has exited, and no other can come. */
  get targetsGone(): boolean {
    if (this.#options.selection !== undefined) return false;
    return this.#traced().every(({ exitedMs }) => exitedMs !== null);
  }

  /** Who is traced, as the report has it. */
  get target(): SelectedTarget {
    const { targets, follow, selection, command } = this.#options;
    return {
      pids: targets.map(({ pid }) => pid),
      processes: targets.map(({ pid, startTicks }) => `${this.#bootId}:${pid}:${startTicks}`),
      follow,
      ...(selection === undefined ? {} : { selectors: [...selection.asked] }),
      ...(command === undefined ? {} : { command: [...command] }),
    };
  }

  /** Sockets of the traced processes that have not been destroyed, as counted now. */
  get held(): number {
    const now = this.#tracer.counters();
    const came = now.tracked_opened + now.tracked_accepted + now.tracked_seeded + now.tracked_arrived;
    return came - now.tracked_destroyed;
  }

  /**
   * Waits, not for ever, for call paths that are being unwound: to be called before finish(), which does not wait long.
   * @param pause stands between two looks, and may end early
   */
  async settle(pause: (ms: number) => Promise<void>): Promise<void> {
    if (this.#pathsOff) return;
    const endMs = monotonicMs() + SETTLE_PATHS_MS;
    this.#pumpPaths();
    while (!this.#paths.isSettled && monotonicMs() < endMs) {
      await pause(5);
      this.#pumpPaths();
    }
  }

  /**
   * Reads everything a last time, and reports. Ends come after the confirm pass: a socket closed in between would
   * look as if no descriptor held it. New suspects do not: nobody would have confirmed them.
   * @param census look a last time where every socket of the host is
   */
  finish({ census = false }: { census?: boolean } = {}): Report {
    if (this.#options.eventRingBytes !== null) this.#drainEvents();
    // First: what is waited for must not age the sockets, nor miss what becomes of them.
    this.#settlePaths();
    this.#sweep(() => true);
    this.#late.tellKnown(0);
    this.#confirm();
    this.#readEnded();
    this.#late.tellKnown(0);
    this.#readPathCounters();
    this.#paths.flush();
    this.#sampleHost();
    this.#readProcesses();
    this.#feedLosses();
    if (census) this.takeCensus();
    this.#feed({ type: 'tick', atMs: monotonicMs() });
    return buildReport(this.ledger);
  }

  /** Looks where every socket of the host is: takes about half a second. A kernel that refuses it is in the report. */
  takeCensus(): void {
    const sweptAfterMs = this.#sweptMs - (this.ledger.session?.clock.monotonicMs ?? 0);
    this.#feed(censusInput(this.#bootId, (socket) => watchedKind(this.ledger, socket, sweptAfterMs)));
  }

  /** The report as of now, with the session going on. */
  report(): Report {
    // Otherwise known once a second: what is reported now must not look complete meanwhile.
    this.#feedLosses();
    return buildReport(this.ledger);
  }

  /** How often the kernel skipped each program because it was already running on that CPU. */
  programMisses(): ReadonlyMap<string, number> {
    return this.#tracer.misses();
  }

  /** How the capture of call paths went: stacks copied, known to the cache, over the budget; audits of the cache. */
  callPathStats(): CallPathStats {
    const { paths_sampled, paths_cached, paths_not_sampled } = this.#tracer.counters();
    return {
      ...this.#paths.unwinderStats,
      sampled: paths_sampled,
      cached: paths_cached,
      notSampled: paths_not_sampled,
    };
  }

  /** Detaches. May be called again. */
  close(): void {
    this.#debuginfod?.close();
    this.#processes.close();
    this.#tracer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #facts(): SessionFacts {
    const kernel = readKernelRelease();
    return {
      tool: { name: 'socktrace', version: VERSION },
      host: {
        hostname: hostname(),
        bootId: this.#bootId,
        kernel: kernel.status === 'measured' ? kernel.value : 'unknown',
        hooks: this.hooks,
      },
      target: this.target,
      thresholds: this.#options.thresholds,
      clock: { monotonicMs: monotonicMs(), wallMs: Date.now() },
      callPaths: this.#callPaths(),
      failedCalls: orRefused(this.#tracer.failuresRefused),
      ...(this.#options.allow === undefined ? {} : { allow: [...this.#options.allow] }),
    };
  }

  /**
   * Processes first, then the switch, then processes again (children forked until then), then what they hold: from
   * the switch on, whatever is opened makes its own row, so seeding afterwards leaves no gap.
   */
  #start(): void {
    this.#feed({ type: 'session', session: this.#facts() });
    for (const target of this.#options.targets) this.#tracer.wantProcess(target);
    this.#addSelectors();
    this.#read('tasks', () => {});
    this.#tracer.start();
    this.#read('tasks', () => {});
    this.#walkDescriptors(() => {});
    this.#tracer.endSeeding();
    this.#readProcesses();
    if (this.#options.selection === undefined && this.#traced().length === 0)
      throw new TargetGoneError('the processes to trace have ended');
    this.#sampleHost();
  }

  /** A cgroup that was made again has another id. */
  #addSelectors(): void {
    for (const selector of this.#options.selection?.now() ?? []) {
      const known = Object.values(selector).join(':');
      if (this.#selectors.has(known)) continue;
      this.#tracer.addSelector(selector);
      this.#selectors.add(known);
    }
  }

  /** Most processes come to match by a fork or an exec, which hooks see; a move or another user only a walk does. */
  #selectAgain(): void {
    if (this.#options.selection === undefined) return;
    this.#addSelectors();
    this.#read('tasks', () => {});
  }

  #sweepNews(): void {
    const hasNews = this.#tracer.takeNews();
    const nowMs = monotonicMs();
    this.#sweep((walk) => this.#hints.isDue(walk, hasNews(walk), nowMs));
  }

  #sweep(isDue: (walk: HintedWalk) => boolean): void {
    const startedMs = monotonicMs();
    if (isDue('processes')) this.#readProcesses();
    if (isDue('paths')) this.#readPathCounters();
    if (!isDue('sockets') || this.#read('sockets', (bytes) => this.#sockets(bytes))) this.#sweptMs = startedMs;
    if (isDue('ended')) this.#readEnded();
    if (isDue('failures')) this.#read('failures', (bytes) => this.#failures(bytes));
    if (isDue('victims')) this.#read('victims', (bytes) => this.#failures(bytes));
    // Of references whose path has become known meanwhile.
    this.#paths.flush();
  }

  #failures(bytes: number): void {
    for (const failure of this.#decoder.failures(this.#buffer, bytes)) this.#late.failure(failure);
  }

  #feedLosses(): void {
    const losses = lossesOf(this.#tracer.counters(), this.#tracer.misses(), {
      failedWalks: this.#failedWalks,
      mptcpHeld: this.#mptcpHeld,
      eventsNotPrinted: this.#eventsNotPrinted,
      paths: this.#paths.unwinderStats,
    });
    this.#feed({ type: 'loss', losses });
  }

  #traced(): ProcessFacts[] {
    return [...this.ledger.processes()]
      .filter(({ activity }) => activity.status === 'measured')
      .map(({ facts }) => facts);
  }

  #readEnded(): void {
    this.#read('ended', (bytes) => this.#sockets(bytes));
  }

  #readProcesses(): void {
    this.#read('processes', (bytes) => {
      for (const row of this.#decoder.processes(this.#buffer, bytes)) {
        this.#feed(this.#processes.traced(row));
        this.#stale.seen(row, monotonicMs());
      }
    });
  }

  #sockets(bytes: number): void {
    for (const socket of this.#decoder.sockets(this.#buffer, bytes)) this.#late.socket(socket);
  }

  #tellFailure({ facts }: DecodedFailure): void {
    this.#introduce(facts.process, facts.pid, facts.comm);
    this.#feed({ type: 'failure', facts: { ...facts, pid: pidsFrom(facts.pid).pid } });
  }

  #tellSocket({ facts, destroyed, ownerPid }: DecodedSocket): void {
    if (facts.owner.status === 'measured') this.#introduce(facts.owner.value, ownerPid, null);
    this.#feed(destroyed ? { type: 'ended', facts, atMs: facts.changedMs } : { type: 'socket', facts });
  }

  #pumpPaths(): void {
    if (this.#pathsOff) return;
    this.#paths.pump();
    this.#late.tellKnown();
    for (const { pid, startNs, execs } of this.#stale.take(monotonicMs())) this.#tracer.forgetCode(pid, startNs, execs);
  }

  /** Waits, not for ever, for what is being unwound. */
  #settlePaths(): void {
    if (this.#pathsOff) return;
    this.#paths.endFetching();
    const endMs = monotonicMs() + LAST_PATHS_MS;
    this.#paths.pump();
    while (!this.#paths.isSettled && monotonicMs() < endMs) {
      pauseMs(2);
      this.#paths.pump();
    }
  }

  #readPathCounters(): void {
    if (this.#pathsOff) return;
    this.#read('paths', (bytes) => {
      for (const path of this.#decoder.paths(this.#buffer, bytes)) this.#paths.count(path);
    });
  }

  get #pathsOff(): boolean {
    return this.#callPaths().status === 'unavailable';
  }

  #callPaths(): Known<true> {
    if (!this.#options.callPaths) return { status: 'unavailable', reason: 'switched off by --no-paths' };
    return orRefused(this.#tracer.pathsRefused);
  }

  /** One pass over all descriptors of the host: who holds the sockets that the ledger knows. */
  #confirm(): void {
    this.#selectAgain();
    const atMs = monotonicMs();
    const complete = this.#walkDescriptors((bytes) => this.#holderWalks.take(this.#buffer, bytes));
    const held = new Map<string, HeldSocket>();
    const gone = this.#holderWalks.end(complete, (records) => {
      for (const { socket, holder } of this.#decoder.holders(records, records.length)) {
        this.#introduce(holder.process, holder.pid, null);
        const known = held.get(socket.id);
        if (known === undefined) held.set(socket.id, { ...socket, holders: [holder] });
        else known.holders.push(holder);
      }
    });
    this.#feed({ type: 'holders', atMs, complete, sockets: [...held.values()], gone });
    this.#read('vanished', (bytes) => this.#sockets(bytes));
  }

  #sampleHost(): void {
    const { sockstat, counters } = this.#hostReading();
    const now = this.#tracer.counters();
    this.#feedLosses();
    this.#feed({
      type: 'hostSample',
      atMs: monotonicMs(),
      sockstat,
      counters,
      tracked: {
        opened: now.tracked_opened,
        accepted: now.tracked_accepted,
        preexisting: now.tracked_seeded,
        arrived: now.tracked_arrived,
        destroyed: now.tracked_destroyed,
      },
    });
  }

  /** sockstat and counters, as near to one moment as can be had: both go on moving on a busy host. */
  #hostReading(): HostReading {
    const readings: HostReading[] = [];
    let before = this.#hostCounters();
    for (let i = 0; i < SAMPLE_READINGS; i++) {
      const sockstat = readSockstat();
      const counters = this.#hostCounters();
      const reading = { sockstat, counters, still: sameCounters(before, counters) };
      if (i === 0 && this.#lastReading !== null && agrees(reading, this.#lastReading)) return reading;
      readings.push(reading);
      before = counters;
    }
    this.#lastReading = truestReading(readings);
    return this.#lastReading;
  }

  /**
   * One program of each pair counts every event it runs for, the kernel counts those it skipped, and what was neither
   * run nor counted shows by its consequences, where the socket was traced.
   */
  #hostCounters(): HostCounters {
    const counting = COUNTING_PROGRAMS[this.#tracer.set];
    const counters = this.#tracer.counters();
    const misses = this.#tracer.misses(...[counting.opened, counting.destroyed].filter((program) => program !== null));
    const skipped = (program: string | null): number => (program === null ? 0 : (misses.get(program) ?? 0));
    return {
      opened: counters.host_opened + skipped(counting.opened),
      cloned: counters.host_cloned,
      destroyed: counters.host_destroyed + skipped(counting.destroyed) + counters.destroy_unseen,
    };
  }

  #drainEvents(): void {
    let bytes: number;
    do {
      bytes = this.#tracer.drainEvents(this.#buffer);
      for (const event of this.#decoder.events(this.#buffer, bytes))
        if (this.#sinks.event?.(event) === false) this.#eventsNotPrinted++;
    } while (bytes > this.#buffer.byteLength - 2 * EVENT_RECORD.size);
  }

  #introduce(id: string, pid: number, comm: string | null): void {
    const input = this.#processes.stranger(id, pid, comm);
    if (input !== null) this.#feed(input);
  }

  #walkDescriptors(take: (bytes: number) => void): boolean {
    const before = this.#tracer.counters().mptcp_held;
    const complete = this.#read('descriptors', take);
    this.#mptcpHeld = Math.max(this.#mptcpHeld, this.#tracer.counters().mptcp_held - before);
    return complete;
  }

  /** One whole pass of an iterator. An error ends it, is counted as loss, and makes the answer false. */
  #read(walk: WalkName, take: (bytes: number) => void): boolean {
    try {
      for (let bytes = this.#readPart(walk); bytes > 0; bytes = this.#readPart(walk)) take(bytes);
      return true;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#failedWalks++;
      return false;
    }
  }

  #readPart(walk: WalkName): number {
    const before = process.cpuUsage();
    try {
      return this.#tracer.read(walk, this.#buffer);
    } finally {
      this.#walkedMs += cpuMsSince(before);
    }
  }

  #feed(input: LedgerInput): void {
    this.ledger.apply(input);
    this.#sinks.input?.(input);
  }
}

function orRefused(reason: string | null): Known<true> {
  return reason === null ? { status: 'measured', value: true } : { status: 'unavailable', reason };
}
