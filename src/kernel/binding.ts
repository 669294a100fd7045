/** The only importer of the native addon: its calls, typed, and its refusals turned into one kind of error. */
import { createRequire } from 'node:module';
import { errnoName } from '../ledger/errno.ts';
import type { Known } from '../ledger/types.ts';
import { packageFile } from '../package-files.ts';
import { inInitialPidNamespace } from '../procfs/pid-namespace.ts';
import { CENSUS_COUNTERS, COUNTERS, type CounterName, layoutDifferences, type NativeLayout } from './layout.ts';

interface NativeFailure {
  step: string;
  errno: number;
  detail: string;
}

type NativeAnswer<T> = ({ ok: true } & T) | { ok: false; error: NativeFailure };

interface NativeTracer {
  open(options: NativeTracerOptions): NativeAnswer<{
    set: string;
    refused: (NativeFailure & { set: string })[];
    unseen: string[];
    failuresRefused: NativeFailure | null;
    pathsRefused: NativeFailure | null;
  }>;
  wantProcess(pid: number, startTicks: number): NativeAnswer<object>;
  addSelector(type: number, value: Uint8Array): NativeAnswer<object>;
  start(): NativeAnswer<object>;
  endSeeding(): NativeAnswer<object>;
  read(walk: number, buffer: Uint8Array): NativeAnswer<{ bytes: number }>;
  takeNews(): NativeAnswer<{ walks: number }>;
  drainEvents(buffer: Uint8Array): NativeAnswer<{ bytes: number }>;
  pumpPaths(): NativeAnswer<PumpedPaths>;
  wantPathNames(path: bigint): NativeAnswer<{ taken: boolean }>;
  offerDebugFile(buildId: Buffer, folder: string, path: string): NativeAnswer<{ taken: boolean }>;
  forgetCode(pid: number, startNs: bigint, execs: number): NativeAnswer<object>;
  counters(): NativeAnswer<{ values: number[] }>;
  misses(names: readonly string[]): NativeAnswer<{ programs: { program: string; misses: number }[] }>;
  close(): void;
}

/** A frame as the unwinder names it; texts are empty and the line 0 where something is not known. */
export interface NativeFrame {
  function: string;
  /** empty: code without a file */
  module: string;
  /** hexadecimal */
  buildId: string;
  offset: bigint;
  file: string;
  line: number;
  /** enum FrameHow of native/unwinder/protocol.h */
  how: number;
}

/** What the unwinder has answered since the last call. Paths are 64-bit fingerprints, 0 when nothing was unwound. */
export interface PumpedPaths {
  /** enum PathQuality of native/unwinder/protocol.h; notes in words */
  unwound: { ref: bigint; path: bigint; quality: number; notes: string[] }[];
  named: { path: bigint; quality: number; notes: string[]; frames: NativeFrame[] }[];
  /** answers to offers; not right: of another build, no ELF file, without DWARF, or the unwinder died of it */
  debugFiles: { buildId: string; isRight: boolean }[];
  /** not answered yet */
  pending: number;
  /** times the unwinder crashed, hung or lied so far */
  deaths: number;
  /** answers of the cache that were checked, and those of them that were wrong, so far */
  audited: number;
  wrong: number;
  /** -1 while none is running */
  unwinderPid: number;
}

/** Whether the unwinder is given a file; `later`: too much is under way. */
export type OfferedFile = { is: 'taken' | 'later' } | { is: 'refused'; reason: string };

interface NativeCensus {
  rows: Uint8Array;
  descriptors: Uint8Array;
  minisocks: Uint8Array;
  counters: number[];
  namespaces: (NativeAnswer<object> & CensusNamespaceTexts)[];
}

interface NativeArgumentReader {
  read(pid: number): NativeAnswer<{ bytes: Buffer }>;
  close(): void;
}

interface NativeAddon {
  layout: NativeLayout;
  tryProgram(name: string): NativeAnswer<object>;
  takeCensus(options: CensusOptions): NativeAnswer<NativeCensus>;
  openSocketNamespace(pid: number, fd: number): NativeAnswer<{ descriptor: number; inode: number }>;
  keepCapabilities(numbers: number[]): NativeAnswer<object>;
  letGo(descriptors: number[]): NativeAnswer<object>;
  passSignalsTo(pid: number): NativeAnswer<object>;
  stopPassingSignals(): NativeAnswer<object>;
  reapHelpers(): boolean;
  ArgumentReader: new (path: string) => NativeArgumentReader;
  Tracer: new () => NativeTracer;
}

export const HOOK_SETS = ['fentry', 'kprobe', 'cgroup'] as const;
export type HookSetName = (typeof HOOK_SETS)[number];

export interface TracerOptions {
  hooks: 'auto' | HookSetName;
  maxSockets: number;
  maxProcesses: number;
  /** rows of failed calls, of traced processes and as many of all others; the addon has a default */
  maxFailures?: number;
  /** captures whose sockets are counted at a time; the addon has a default */
  maxPaths?: number;
  /** a power of two of pages */
  eventRingBytes: number;
  minAgeNs: number;
  followChildren: boolean;
  /** count failures of every process of the host */
  countVictims: boolean;
  streamEvents: boolean;
  callPaths: boolean;
  /** copy every stack whole: no cache, no budget */
  everyStack: boolean;
  /** a power of two of pages */
  stackRingBytes: number;
  /** what `addSelector` may be given while the tracer is open */
  selectBy: readonly SelectorType[];
  /** every process but this one and what it starts for itself */
  selectAll: boolean;
}

type NativeTracerOptions = Omit<TracerOptions, 'selectBy'> & {
  selectTypes: number;
  /** pids are to be those that this process knows, which are not the kernel's */
  nestedPids: boolean;
  unwinder: string;
  codeReader: string;
};

/** enum selector_type of bpf/records.h */
const SELECTOR_TYPES = { comm: 1, cgroup: 2, netns: 3, user: 4 } as const;
export type SelectorType = keyof typeof SELECTOR_TYPES;

/** What processes are matched by: any of them will do, and a process once matched stays selected. */
export type Selector =
  | { by: 'comm'; comm: string }
  /** its id, which is the inode number of its directory: processes in it and below */
  | { by: 'cgroup'; id: bigint }
  /** inode number of the network namespace */
  | { by: 'netns'; inode: number }
  /** effective user, in the initial user namespace */
  | { by: 'user'; uid: number };

/** TASK_COMM_LEN, with the NUL */
const COMM_BYTES = 16;

function selectorValue(selector: Selector): Uint8Array {
  switch (selector.by) {
    case 'comm':
      return Buffer.from(selector.comm, 'utf8').subarray(0, COMM_BYTES - 1);
    case 'cgroup':
      return new Uint8Array(new BigUint64Array([selector.id]).buffer);
    case 'netns':
      return new Uint8Array(new Uint32Array([selector.inode]).buffer);
    case 'user':
      return new Uint8Array(new Uint32Array([selector.uid]).buffer);
  }
}

/** A process to trace, by its identity. */
export interface WantedProcess {
  pid: number;
  /** since boot, in ticks of 10 ms, decimal: as /proc/PID/stat gives it */
  startTicks: string;
}

/** What can be read from the tracer; the numbers are enum Walk of native/tracer.h. */
const WALKS = {
  sockets: 0,
  ended: 1,
  vanished: 2,
  processes: 3,
  failures: 4,
  victims: 5,
  paths: 6,
  descriptors: 7,
  tasks: 8,
} as const;
export type WalkName = keyof typeof WALKS;

/** Of these tables the hooks say that something may have changed. */
export type HintedWalk = Exclude<WalkName, 'vanished' | 'descriptors' | 'tasks'>;

/** A step that the kernel, or the addon on its behalf, refused. */
export class KernelError extends Error {
  override readonly name = 'KernelError';
  readonly step: string;
  /** name of the errno, null when there was none */
  readonly errno: string | null;
  /** the kernel's or libbpf's own words, may be empty */
  readonly detail: string;

  constructor(failure: NativeFailure) {
    super(describeFailure(failure));
    this.step = failure.step;
    this.errno = failure.errno === 0 ? null : errnoName(failure.errno);
    this.detail = failure.detail;
  }
}

function describeFailure(failure: NativeFailure): string {
  const errno = failure.errno === 0 ? '' : `: ${errnoName(failure.errno)}`;
  return `${failure.step}${errno}${failure.detail === '' ? '' : ` (${failure.detail})`}`;
}

/** The path of what the native build made. */
function built(name: string): string {
  return packageFile(`build/${name}`);
}

let loaded: NativeAddon | undefined;

/** @throws Error when the addon is not built, or was built from other sources than this code */
function addon(): NativeAddon {
  if (loaded !== undefined) return loaded;
  const path = built('socktrace.node');
  let candidate: NativeAddon;
  try {
    candidate = createRequire(import.meta.url)(path) as NativeAddon;
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw new Error(`the native addon cannot be loaded (${reason}): build it with "npm run build:native"`);
  }
  const differences = layoutDifferences(candidate.layout);
  if (differences.length > 0)
    throw new Error(`the native addon was built from other sources (${differences.join('; ')}): run "npm run build"`);
  loaded = candidate;
  return candidate;
}

function succeed<T>(answer: NativeAnswer<T>): { ok: true } & T {
  if (!answer.ok) throw new KernelError(answer.error);
  return answer;
}

/**
 * Loads and attaches one BPF program alone and takes it back: what this kernel and this user permit, tried.
 * @returns null when it worked, else the refusal
 */
export function tryProgram(name: string): KernelError | null {
  const answer = addon().tryProgram(name);
  return answer.ok ? null : new KernelError(answer.error);
}

/**
 * Loads and attaches everything with call paths, starts the unwinder, and takes it back.
 * @returns null when it worked, else why a trace would have no call paths
 */
export function tryCallPaths(): string | null {
  try {
    using tracer = Tracer.open({
      hooks: 'auto',
      maxSockets: 1,
      maxProcesses: 1,
      eventRingBytes: 4096,
      minAgeNs: 0,
      followChildren: false,
      countVictims: false,
      streamEvents: false,
      callPaths: true,
      everyStack: false,
      selectBy: [],
      selectAll: false,
      stackRingBytes: 4096,
    });
    return tracer.pathsRefused;
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return error.message;
  }
}

export interface CensusOptions {
  /** most socks that are taken in */
  maxSockets: number;
  /** paths of the network namespaces whose hash tables are walked, one each */
  namespaces: string[];
}

/** What was read inside a network namespace; texts as in /proc, empty where there is no such file. */
export interface CensusNamespaceTexts {
  path: string;
  inode: number;
  portRange: string;
  reservedPorts: string;
  sockstat: string;
  sockstat6: string;
}

/** The records of one census; src/kernel/census.ts decodes them. */
export interface RawCensus {
  rows: Uint8Array;
  descriptors: Uint8Array;
  minisocks: Uint8Array;
  counters: Record<(typeof CENSUS_COUNTERS)[number], number>;
  /** `refusal`: why it could not be walked, null when it was */
  namespaces: (CensusNamespaceTexts & { refusal: string | null })[];
}

/**
 * Walks every descriptor of the host and the hash tables of the namespaces, once. Nothing stays loaded.
 * @throws KernelError when the kernel refuses the programs or a walk breaks off
 */
export function takeCensus(options: CensusOptions): RawCensus {
  const { rows, descriptors, minisocks, counters, namespaces } = succeed(addon().takeCensus(options));
  return {
    rows,
    descriptors,
    minisocks,
    counters: Object.fromEntries(CENSUS_COUNTERS.map((name, i) => [name, counters[i] ?? 0])) as RawCensus['counters'],
    namespaces: namespaces.map(({ path, inode, portRange, reservedPorts, sockstat, sockstat6, ...answer }) => ({
      path,
      inode,
      portRange,
      reservedPorts,
      sockstat,
      sockstat6,
      refusal: answer.ok ? null : describeFailure(answer.error),
    })),
  };
}

/**
 * The network namespace of the socket that is descriptor `fd` of a process, as an open file that the caller closes.
 * @throws KernelError when the socket is not there any more, or the process may not be traced
 */
export function openSocketNamespace(pid: number, fd: number): { descriptor: number; inode: number } {
  const { descriptor, inode } = succeed(addon().openSocketNamespace(pid, fd));
  return { descriptor, inode };
}

/**
 * From now on every thread of this process has at most these of the capabilities that it has now, and never gets one
 * back.
 * @param numbers of linux/capability.h
 * @throws KernelError when a thread could not be reached; the others have dropped them
 */
export function keepCapabilities(numbers: readonly number[]): void {
  succeed(addon().keepCapabilities([...numbers]));
}

/**
 * What these descriptors lead to is not kept open by this process any more.
 * @throws KernelError when it is
 */
export function letGo(descriptors: readonly number[]): void {
  succeed(addon().letGo([...descriptors]));
}

/**
 * From now on the signals that would end this process go to a child of it instead, at once, whatever JavaScript does.
 * Those of the terminal's keys reach it by themselves.
 * @throws KernelError when the child has been waited for already
 */
export function passSignalsTo(pid: number): void {
  succeed(addon().passSignalsTo(pid));
}

/** They end this process again. */
export function stopPassingSignals(): void {
  addon().stopPassingSignals();
}

/** The executable that waits for a byte on descriptor 3 and then becomes the command of its arguments. */
export function launcherPath(): string {
  return built('socktrace-launcher');
}

/** Reads the arguments of processes, and does not wait for those that hold the lock it takes. */
export class ArgumentReader {
  readonly #native: NativeArgumentReader = new (addon().ArgumentReader)(built('socktrace-arguments'));

  /** The first 4096 bytes; unavailable, with the reason, also when they did not come in time. */
  read(pid: number): Known<Buffer> {
    const answer = this.#native.read(pid);
    if (answer.ok) return { status: 'measured', value: answer.bytes };
    const name = errnoName(answer.error.errno);
    const why = UNREAD_ARGUMENTS[name] ?? describeFailure(answer.error);
    return { status: 'unavailable', reason: why };
  }

  /** Ends its process. It may be used again. */
  close(): void {
    this.#native.close();
    reapLater();
  }
}

const UNREAD_ARGUMENTS: Readonly<Record<string, string>> = {
  ENOENT: 'the process has ended',
  ESRCH: 'the process has ended',
  EACCES: 'permission denied',
  ETIMEDOUT: 'could not be read in time',
  EBUSY: 'not read: too many processes keep those waiting who read their arguments',
};

const REAP_MS = 1_000;
let reaping: NodeJS.Timeout | null = null;

/**
 * Helpers that wait where no signal reaches them end some time after whoever started them was closed: in a process that
 * goes on, somebody has to ask for their exit status. Nothing waits for it.
 */
function reapLater(): void {
  if (addon().reapHelpers() || reaping !== null) return;
  reaping = setInterval(() => {
    if (reaping === null || !addon().reapHelpers()) return;
    clearInterval(reaping);
    reaping = null;
  }, REAP_MS).unref();
}

/** The loaded programs of one session. Every method throws KernelError when the kernel refuses. */
export class Tracer {
  readonly set: HookSetName;
  readonly refused: { set: string; reason: string }[];
  /** what is not seen because the kernel refused a program that a trace can do without */
  readonly unseen: string[];
  /** why failed calls are not seen, but for connects of traced processes that fail later; null when they are */
  readonly failuresRefused: string | null;
  /** why no call paths are captured although they were asked for; null when they are */
  readonly pathsRefused: string | null;
  readonly #native: NativeTracer;

  private constructor(
    native: NativeTracer,
    chosen: Pick<Tracer, 'set' | 'refused' | 'unseen' | 'failuresRefused' | 'pathsRefused'>,
  ) {
    this.#native = native;
    this.set = chosen.set;
    this.refused = chosen.refused;
    this.unseen = chosen.unseen;
    this.failuresRefused = chosen.failuresRefused;
    this.pathsRefused = chosen.pathsRefused;
  }

  /** Chooses hooks by trying, loads and attaches them. Nothing is recorded before start(). */
  static open(options: TracerOptions): Tracer {
    const native = new (addon().Tracer)();
    const { selectBy, ...rest } = options;
    const selectTypes = selectBy.reduce((types, name) => types | (1 << SELECTOR_TYPES[name]), 0);
    const nestedPids = !inInitialPidNamespace();
    const helpers = { unwinder: built('socktrace-unwinder'), codeReader: built('socktrace-reader') };
    const opened = native.open({ ...rest, selectTypes, nestedPids, ...helpers });
    reapLater();
    const answer = succeed(opened);
    const set = HOOK_SETS.find((name) => name === answer.set);
    if (set === undefined) throw new Error(`the addon chose an unknown hook set: ${answer.set}`);
    const { refused, unseen, failuresRefused, pathsRefused } = answer;
    return new Tracer(native, {
      set,
      refused: refused.map((failure) => ({ set: failure.set, reason: describeFailure(failure) })),
      unseen,
      failuresRefused: failuresRefused && describeFailure(failuresRefused),
      pathsRefused: pathsRefused && describeFailure(pathsRefused),
    });
  }

  /** Selects a process; it is followed once `tasks` has been walked, if the pid is still that process's. */
  wantProcess({ pid, startTicks }: WantedProcess): void {
    succeed(this.#native.wantProcess(pid, Number(startTicks)));
  }

  /** Processes that match it are followed from the next fork or exec, or walk of `tasks`, on. */
  addSelector(selector: Selector): void {
    succeed(this.#native.addSelector(SELECTOR_TYPES[selector.by], selectorValue(selector)));
  }

  /** Switches the hooks on. */
  start(): void {
    succeed(this.#native.start());
  }

  /** What walks of descriptors find from now on did not exist when the trace began. */
  endSeeding(): void {
    succeed(this.#native.endSeeding());
  }

  /**
   * Reads whole records into `buffer` and returns the bytes read; 0 ends the pass, and the next call starts another.
   */
  read(walk: WalkName, buffer: Uint8Array): number {
    return succeed(this.#native.read(WALKS[walk], buffer)).bytes;
  }

  /** Which tables may have changed since this was asked last: a hint that may come late, or get lost. */
  takeNews(): (walk: HintedWalk) => boolean {
    const { walks } = succeed(this.#native.takeNews());
    return (walk) => (walks & (1 << WALKS[walk])) !== 0;
  }

  /** Takes event records from the ring; returns the bytes read. */
  drainEvents(buffer: Uint8Array): number {
    return succeed(this.#native.drainEvents(buffer)).bytes;
  }

  /** Hands captured stacks to the unwinder, and takes what it has answered. */
  pumpPaths(): PumpedPaths {
    return succeed(this.#native.pumpPaths());
  }

  /** Asks for the names of a path; false when too much is under way: ask again. */
  wantPathNames(path: bigint): boolean {
    return succeed(this.#native.wantPathNames(path)).taken;
  }

  /** Offers a file inside of a folder as debugging information of a build-id (hexadecimal). */
  offerDebugFile(buildId: string, folder: string, path: string): OfferedFile {
    const answer = this.#native.offerDebugFile(Buffer.from(buildId, 'hex'), folder, path);
    if (!answer.ok) return { is: 'refused', reason: describeFailure(answer.error) };
    return { is: answer.taken ? 'taken' : 'later' };
  }

  /** The process has gone: its code need not be kept. */
  forgetCode(pid: number, startNs: bigint, execs: number): void {
    succeed(this.#native.forgetCode(pid, startNs, execs));
  }

  /** Sums over the CPUs. */
  counters(): Record<CounterName, number> {
    const { values } = succeed(this.#native.counters());
    return Object.fromEntries(COUNTERS.map((name, index) => [name, values[index] ?? 0])) as Record<CounterName, number>;
  }

  /**
   * How often the kernel skipped each program because it was already running on that CPU.
   * @param names of programs; none: all of them
   */
  misses(...names: string[]): Map<string, number> {
    return new Map(succeed(this.#native.misses(names)).programs.map(({ program, misses }) => [program, misses]));
  }

  /** Detaches and unloads everything. May be called again. */
  close(): void {
    this.#native.close();
    reapLater();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
