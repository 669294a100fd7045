/** Inputs for tests: the plainest valid one of each sort, with what a test is about written over it. */
import { NO_PATH_COUNTS } from '../../src/ledger/call-paths.ts';
import type {
  CallFrame,
  CallPath,
  FailureFacts,
  HostCounters,
  LedgerInput,
  PathCounters,
  PathRef,
  ProcessActivity,
  ProcessFacts,
  SessionFacts,
  SocketFacts,
  SocketHistory,
  Sockstat,
  Thresholds,
  TrackedCounters,
} from '../../src/ledger/types.ts';

export const BOOT = '0f5a7e0a-3c1f-4d2e-9a55-0123456789ab';
export const OWNER = `${BOOT}:1234:5000`;
export const OTHER = `${BOOT}:4321:7000`;

export const THRESHOLDS: Thresholds = { minAgeMs: 5_000, leakAgeMs: 30_000, idleLeakAgeMs: 60_000, leakCount: 10 };

export function unavailable(reason = 'not told'): { status: 'unavailable'; reason: string } {
  return { status: 'unavailable', reason };
}

export function measured<T>(value: T): { status: 'measured'; value: T } {
  return { status: 'measured', value };
}

export function history(happened: Partial<SocketHistory> = {}): { status: 'measured'; value: SocketHistory } {
  return measured({ bound: false, connecting: false, established: false, listening: false, ...happened });
}

/** An unused traced socket born at `birthMs` at an address of its own. */
export function socket(number: number, birthMs: number, facts: Partial<SocketFacts> = {}): SocketFacts {
  const address = (0xffff888000000000n + BigInt(number) * 0x40n).toString(16);
  const changedMs = facts.changedMs ?? birthMs;
  return {
    id: `${address}:${BigInt(Math.round(birthMs * 1e6))}`,
    origin: 'traced',
    accepted: measured(false),
    owner: measured(OWNER),
    openedMs: measured(birthMs),
    changedMs,
    version: `${BigInt(Math.round(changedMs * 1e6))}`,
    family: 4,
    state: 'CLOSE',
    port: null,
    ever: history(),
    bindErrno: null,
    connectErrno: null,
    socketErrno: null,
    local: null,
    peer: null,
    released: false,
    releaseState: null,
    heldAtExit: false,
    netns: 4026531840,
    uid: 0,
    openPath: unavailable('this version does not capture call paths'),
    bindPath: null,
    ...facts,
  };
}

export function row(facts: SocketFacts): LedgerInput {
  return { type: 'socket', facts };
}

export function ended(facts: SocketFacts, atMs: number): LedgerInput {
  return { type: 'ended', facts, atMs };
}

export function tick(atMs: number): LedgerInput {
  return { type: 'tick', atMs };
}

/** A walk of descriptors in which OWNER has one descriptor for each of `sockets`, which it had not before, or otherwise. */
export function walk(
  atMs: number,
  sockets: SocketFacts[],
  {
    complete = true,
    bytesMoved = '0',
    gone = [],
  }: { complete?: boolean; bytesMoved?: string; gone?: SocketFacts[] } = {},
): LedgerInput {
  return {
    type: 'holders',
    atMs,
    complete,
    sockets: sockets.map(({ id }, index) => ({
      id,
      holders: [{ process: OWNER, pid: 1234, fd: 10 + index, inode: `${9_000 + index}` }],
      receiveQueue: 0,
      sendQueue: 0,
      bytesMoved,
    })),
    gone: gone.map(({ id }) => id),
  };
}

export function session(facts: Partial<SessionFacts> = {}): LedgerInput {
  return {
    type: 'session',
    session: {
      tool: { name: 'socktrace', version: '0.1.0' },
      host: {
        hostname: 'web7',
        bootId: BOOT,
        kernel: '6.18.44',
        hooks: { set: 'fentry', refused: [], blindSpots: [] },
      },
      target: { pids: [1234], processes: [OWNER], follow: true },
      thresholds: THRESHOLDS,
      clock: { monotonicMs: 0, wallMs: Date.UTC(2026, 10, 23, 3, 0, 0) },
      ...facts,
    },
  };
}

export const NO_ACTIVITY: ProcessActivity = {
  opened: 0,
  accepted: 0,
  bound: 0,
  connected: 0,
  listened: 0,
  destroyed: 0,
};

export function processFacts(facts: Partial<ProcessFacts> = {}): ProcessFacts {
  return {
    id: OWNER,
    pid: 1234,
    parentPid: 1,
    comm: 'leakyd',
    exe: measured('/usr/sbin/leakyd'),
    cmdline: measured(['/usr/sbin/leakyd', '--serve']),
    namespacePids: measured([1234]),
    startTime: measured('2026-11-22T20:00:00.000Z'),
    unit: measured('leakyd.service'),
    container: measured(null),
    netns: measured(4026531840),
    exitedMs: null,
    ...facts,
  };
}

export function process(facts: Partial<ProcessFacts> = {}, activity: Partial<ProcessActivity> = {}): LedgerInput {
  return { type: 'process', facts: processFacts(facts), activity: measured({ ...NO_ACTIVITY, ...activity }) };
}

export function failure(facts: Partial<FailureFacts> = {}): LedgerInput {
  return {
    type: 'failure',
    facts: {
      process: OTHER,
      pid: 4321,
      comm: 'ftp',
      operation: 'connect',
      errno: 'EADDRNOTAVAIL',
      detail: 'unbound',
      cause: 'no-free-port',
      count: 1,
      firstMs: 1_000,
      lastMs: 2_000,
      netns: 4026531840,
      path: null,
      ...facts,
    },
  };
}

export function sockstat(counters: Partial<Sockstat> = {}): Sockstat {
  return { socketsUsed: 100, tcpInuse: 20, tcp6Inuse: 5, orphan: 0, timeWait: 3, alloc: 25, memPages: 2, ...counters };
}

export function hostSample(
  atMs: number,
  alloc: number,
  counters: Partial<HostCounters> = {},
  tracked: Partial<TrackedCounters> = {},
): LedgerInput {
  return {
    type: 'hostSample',
    atMs,
    sockstat: measured(sockstat({ alloc })),
    counters: { opened: 0, cloned: 0, destroyed: 0, ...counters },
    tracked: { opened: 0, accepted: 0, preexisting: 0, arrived: 0, destroyed: 0, ...tracked },
  };
}

/** A frame of the program itself; `where` is `file:line`. */
export function frame(name: string | null, where: string | null = null, facts: Partial<CallFrame> = {}): CallFrame {
  const [file, line] = where?.split(':') ?? [];
  return {
    function: name,
    module: '/usr/sbin/leakyd',
    buildId: '1f2e3d4c5b6a79880011223344556677',
    offset: '0x1a2b',
    file: file ?? null,
    line: line === undefined ? null : Number(line),
    how: 'cfi',
    ...facts,
  };
}

export function libcFrame(name: string): CallFrame {
  return frame(name, null, { module: '/usr/lib/x86_64-linux-gnu/libc.so.6' });
}

export function path(id: string, frames: CallFrame[], facts: Partial<CallPath> = {}): LedgerInput {
  return { type: 'path', path: { id, quality: 'complete', notes: [], frames, ...facts } };
}

export function resolved(id: string): PathRef {
  return { status: 'resolved', id };
}

export function pathCounters(paths: Readonly<Record<string, Partial<PathCounters>>>): LedgerInput {
  return {
    type: 'pathCounters',
    paths: Object.entries(paths).map(([id, counters]) => {
      const sockets = (counters.opened ?? 0) + (counters.accepted ?? 0);
      return { id, counters: { ...NO_PATH_COUNTS, sockets, ...counters } };
    }),
  };
}
