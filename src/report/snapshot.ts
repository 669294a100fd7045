/** The report of one look at what exists, without tracing: the same document, with what it can know. */
import type { Census, CensusSocket } from '../accounting/census.ts';
import { classOf } from '../accounting/classes.ts';
import { isWasteful, classify as kindOf, SOCKET_KINDS } from '../ledger/kinds.ts';
import { Ledger } from '../ledger/ledger.ts';
import { compareText } from '../ledger/order.ts';
import type {
  Known,
  LedgerInput,
  ProcessId,
  SessionFacts,
  SocketFacts,
  SocketHistory,
  SocketKind,
  Sockstat,
  Verdict,
} from '../ledger/types.ts';
import { reportedProcesses } from './processes.ts';
import { buildReport, classesOf } from './report.ts';
import type { Report, SnapshotSocket } from './types.ts';

const UNTRACED = { status: 'unavailable', reason: 'nothing was traced: this is one look at what exists' } as const;
const ONE_LOOK = 'one look, which does not tell how long they have been so: trace them';
const NS_PER_MS = 1e6;

export interface SnapshotInputs {
  session: SessionFacts;
  census: Census;
  /** the same census, as the ledger takes it */
  input: Extract<LedgerInput, { type: 'census' }>;
  sockstat: Known<Sockstat>;
  /** everybody who holds a socket that is shown */
  processes: Extract<LedgerInput, { type: 'process' }>[];
  /** show sockets of these kinds only; null for all */
  kinds: readonly SocketKind[] | null;
  /** by uid */
  userNames: ReadonlyMap<number, string>;
}

/** Sockets that a snapshot of `session` shows: those of its targets, or all. */
export function selectSockets(census: Census, session: SessionFacts): CensusSocket[] {
  const wanted = new Set(session.target.processes);
  if (wanted.size === 0) return census.sockets;
  return census.sockets.filter(({ holders }) => holders.some(({ process }) => wanted.has(process)));
}

export function buildSnapshotReport(inputs: SnapshotInputs): Report {
  const { session, census, input, sockstat, processes, kinds, userNames } = inputs;
  const { atMs } = census;
  const selected = selectSockets(census, session).filter((socket) => kinds === null || kinds.includes(kindNow(socket)));
  const ledger = new Ledger();
  ledger.apply({ type: 'session', session });
  for (const process of processes) ledger.apply(process);
  for (const socket of selected) ledger.apply({ type: 'socket', facts: factsOf(socket, atMs) });
  ledger.apply({
    type: 'holders',
    atMs,
    complete: true,
    sockets: selected.map((socket) => ({
      id: idOf(socket, atMs),
      holders: socket.holders.map((holder) => ({ ...holder, inode: socket.inode ?? '0' })),
      receiveQueue: socket.receiveQueue,
      sendQueue: socket.sendQueue,
      bytesMoved: socket.bytesMoved,
    })),
  });
  ledger.apply(input);
  const report = buildReport(ledger, atMs);
  const shown = selected.map((socket) => toSnapshotSocket(socket, atMs, userNames)).sort(byUselessness);
  const holders = new Set<ProcessId>(shown.flatMap((socket) => socket.holders.map(({ process }) => process)));
  return {
    ...report,
    window: { ...report.window, durationMs: census.tookMs },
    verdict: verdictOf(report, census),
    sockets: { ...report.sockets, held: selected.length },
    processes: reportedProcesses(ledger, [...session.target.processes, ...holders], report.findings, []),
    callPaths: UNTRACED,
    callPathsNotSampled: null,
    callPathsNotListed: null,
    failures: UNTRACED,
    sockstat:
      sockstat.status === 'unavailable'
        ? sockstat
        : {
            status: 'measured',
            value: { before: sockstat.value, after: sockstat.value, moved: UNTRACED, ...classesOf(input) },
          },
    snapshot: { status: 'measured', value: shown },
  };
}

/** What a socket is good for, by what the kernel remembers of it. */
export function kindNow(socket: CensusSocket): SocketKind {
  const name = classOf(socket);
  if (name === 'unaccepted' || name === 'unaccepted-reset') return 'unaccepted';
  const kind = kindOf(factsOf(socket, 0));
  return socket.holders.length === 0 && isWasteful(kind) ? 'released' : kind;
}

function verdictOf({ findings }: Report, { unseen }: Census): Verdict {
  const leaks = findings.filter(({ leak }) => leak).map(({ key }) => key);
  if (leaks.length > 0) return { is: 'leak', findings: leaks };
  const suspects = findings.filter(({ kind }) => kind !== 'released').reduce((sum, { count }) => sum + count, 0);
  const because = [...unseen, ...(suspects > 0 ? [`${suspects} suspects, and ${ONE_LOOK}`] : [])];
  return because.length > 0 ? { is: 'not-known', because } : { is: 'no-leak' };
}

function idOf({ address }: CensusSocket, atMs: number): string {
  return `${address}:${Math.round(atMs * NS_PER_MS)}`;
}

function factsOf(socket: CensusSocket, atMs: number): SocketFacts {
  const owner = socket.holders[0]?.process;
  return {
    id: idOf(socket, atMs),
    origin: 'seeded',
    accepted: UNTRACED,
    owner: owner === undefined ? { status: 'unavailable', reason: 'no process has it open' } : measured(owner),
    openedMs: UNTRACED,
    // Nothing has happened to it since its last segment: a state that a segment brought is that old.
    changedMs: historyOf(socket) === null ? atMs : (socket.activeMs ?? atMs),
    version: '1',
    family: socket.family,
    state: socket.state,
    port: socket.port,
    ever: known(historyOf(socket)),
    bindErrno: null,
    connectErrno: socket.error,
    socketErrno: socket.error,
    local: socket.local,
    peer: socket.peer.port === 0 ? null : socket.peer,
    released: false,
    releaseState: null,
    heldAtExit: false,
    netns: socket.netns,
    uid: socket.uid,
    openPath: { status: 'preexisting' },
    bindPath: socket.port === null ? null : { status: 'preexisting' },
  };
}

/**
 * What the counters of a connection prove: its SYN was sent (segs_out), and acknowledged (bytes_acked). A socket in CLOSE
 * that never sent one may have been bound, or not, and may have been a listener: null.
 */
function historyOf({ state, wasEstablished, hasSent }: CensusSocket): SocketHistory | null {
  const none = { bound: false, connecting: false, established: false, listening: false };
  if (wasEstablished) return { ...none, connecting: true, established: true };
  if (hasSent) return { ...none, connecting: true };
  return state === 'CLOSE' ? null : none;
}

function known(history: SocketHistory | null): SocketFacts['ever'] {
  return history === null
    ? { status: 'unavailable', reason: 'it is closed: what it had been used for is not recorded' }
    : measured(history);
}

function toSnapshotSocket(socket: CensusSocket, atMs: number, userNames: SnapshotInputs['userNames']): SnapshotSocket {
  const { inode, holders, family, state, port, local, peer, error, receiveQueue, sendQueue, memory, netns, uid } =
    socket;
  return {
    inode,
    holders: holders.map(({ process, fd }) => ({ process, fd })),
    kind: kindNow(socket),
    class: classOf(socket),
    family,
    state,
    port,
    local,
    peer,
    error,
    receiveQueue,
    sendQueue,
    memory,
    idleMs:
      socket.activeMs === null
        ? { status: 'unavailable', reason: 'it never sent or received a segment' }
        : measured(Math.max(0, atMs - socket.activeMs)),
    netns,
    uid,
    user: userNames.get(uid) ?? null,
  };
}

const RANK = new Map(SOCKET_KINDS.map((kind, rank) => [kind, rank]));

/** Wasteful ones first, then by kind and holder. */
function byUselessness(a: SnapshotSocket, b: SnapshotSocket): number {
  if (a.kind !== b.kind) return (RANK.get(a.kind) ?? 0) - (RANK.get(b.kind) ?? 0);
  const [first, second] = [a.holders[0], b.holders[0]];
  if (first === undefined || second === undefined) return Number(first === undefined) - Number(second === undefined);
  return compareText(first.process, second.process) || first.fd - second.fd;
}

function measured<T>(value: T): { status: 'measured'; value: T } {
  return { status: 'measured', value };
}
