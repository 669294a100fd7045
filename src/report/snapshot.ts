/** The report of one look at what exists, without tracing: the same document, with what it can know. */

import { type AlikeSockets, type Census, type CensusSocket, countSockets } from '../accounting/census.ts';
import { classOf } from '../accounting/classes.ts';
import { groupBy } from '../accounting/group-by.ts';
import { kindInState } from '../accounting/remembered.ts';
import { findingsOf } from '../ledger/findings.ts';
import { formatCount } from '../ledger/format-count.ts';
import { isWasteful, SOCKET_KINDS } from '../ledger/kinds.ts';
import { Ledger } from '../ledger/ledger.ts';
import { compareText } from '../ledger/order.ts';
import { sumSuspects } from '../ledger/suspect-sums.ts';
import type { Known, LedgerInput, ProcessId, SessionFacts, SocketKind, Sockstat, Verdict } from '../ledger/types.ts';
import { entriesOf, kindsOf } from './one-look.ts';
import { reportedProcesses } from './processes.ts';
import { buildReport, classesOf, ownersOf } from './report.ts';
import type { Finding, Report, SnapshotSocket } from './types.ts';

const UNTRACED = { status: 'unavailable', reason: 'nothing was traced: this is one look at what exists' } as const;
const ONE_LOOK = 'one look, which does not tell how long they have been so: trace them';

export interface SnapshotInputs {
  session: SessionFacts;
  census: Census;
  /** the same census, as the ledger takes it */
  input: Extract<LedgerInput, { type: 'census' }>;
  sockstat: Known<Sockstat>;
  /** everybody who holds a socket that is shown, or a port */
  processes: Extract<LedgerInput, { type: 'process' }>[];
  /** show sockets of these kinds only; null for all */
  kinds: readonly SocketKind[] | null;
  /** by uid */
  userNames: ReadonlyMap<number, string>;
  /** most sockets that the report describes one by one, all if left out; every sum counts all of them */
  most?: number;
}

/** Sockets that a snapshot of `session` shows: those of its targets, or all. */
export function selectSockets(census: Census, session: SessionFacts): readonly AlikeSockets[] {
  const wanted = new Set(session.target.processes);
  if (wanted.size === 0) return census.alike;
  return census.alike.filter(({ one }) => one.holders.some(({ process }) => wanted.has(process)));
}

/** Every process that has one of the sockets open, and its pid. */
export function holdersOf(alike: readonly AlikeSockets[]): Map<ProcessId, number> {
  const found = new Map<ProcessId, number>();
  for (const { one } of alike) for (const { process, pid } of one.holders) found.set(process, pid);
  return found;
}

export function buildSnapshotReport(inputs: SnapshotInputs): Report {
  const { session, census, input, sockstat, processes, most = Number.POSITIVE_INFINITY } = inputs;
  const { atMs } = census;
  const selected = selectShown(inputs);
  const ledger = new Ledger();
  ledger.apply({ type: 'session', session });
  for (const process of processes) ledger.apply(process);
  ledger.apply(input);
  const report = buildReport(ledger, atMs);
  const findings = findingsOf(
    {
      nowMs: atMs,
      thresholds: session.thresholds,
      suspectSums: (nowMs) => sumSuspects(entriesOf(selected, atMs), nowMs, session.thresholds).sums,
      exitSums: () => [],
      growthOf: () => undefined,
      confirmedAt: null,
      programOf: (owner) => ledger.programOf(owner),
    },
    atMs,
  );
  return {
    ...report,
    window: { ...report.window, durationMs: census.tookMs },
    verdict: verdictOf(findings, census, ledger),
    sockets: { ...report.sockets, held: countSockets(selected), byKind: kindsOf(selected) },
    processes: reportedProcesses(
      ledger,
      [...session.target.processes, ...holdersOf(selected).keys()],
      findings,
      [],
      report.ports,
    ),
    findings,
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
    snapshot: {
      status: 'measured',
      value: first(most, describeSockets(inputs)),
    },
  };
}

/** The sockets that a snapshot shows, described one by one, wasteful ones first; those of a large host are many. */
export function* describeSockets(inputs: SnapshotInputs): Generator<SnapshotSocket> {
  for (const socket of mostUseless(selectShown(inputs)))
    yield toSnapshotSocket(socket, inputs.census.atMs, inputs.userNames);
}

function selectShown({ census, session, kinds }: SnapshotInputs): AlikeSockets[] {
  return selectSockets(census, session).filter(({ one }) => kinds === null || kinds.includes(kindNow(one)));
}

/** What a socket is good for, by what the kernel remembers of it. */
export function kindNow(socket: CensusSocket): SocketKind {
  const name = classOf(socket);
  if (name === 'unaccepted' || name === 'unaccepted-reset') return 'unaccepted';
  const kind = kindInState(socket);
  return socket.holders.length === 0 && isWasteful(kind) ? 'released' : kind;
}

function verdictOf(findings: readonly Finding[], { unseen }: Census, ledger: Ledger): Verdict {
  const leaks = findings.filter(({ leak }) => leak).map(({ key }) => key);
  if (leaks.length > 0) return { is: 'leak', findings: leaks };
  const suspects = findings.filter(({ kind }) => kind !== 'released').reduce((sum, { count }) => sum + count, 0);
  const owners = new Set(
    findings.filter(({ kind }) => kind !== 'released').map((finding) => ownersOf(ledger, finding)),
  );
  const [most] = owners;
  const of = most === undefined ? '' : ` of ${most}${owners.size > 1 ? ' and others' : ''}`;
  const because = [...unseen, ...(suspects > 0 ? [`${formatCount(suspects)} suspects${of}, and ${ONE_LOOK}`] : [])];
  return because.length > 0 ? { is: 'not-known', because } : { is: 'no-leak' };
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

/** Wasteful ones first, then by kind, holder and descriptor; those that nobody holds after the others of their kind. */
function* mostUseless(alike: readonly AlikeSockets[]): Generator<CensusSocket> {
  const byKind = groupBy(alike, ({ one }) => kindNow(one));
  for (const kind of SOCKET_KINDS)
    for (const ofHolder of byHolder(byKind.get(kind) ?? []))
      yield* ofHolder.flatMap(({ sockets }) => sockets).sort((a, b) => fdOf(a) - fdOf(b));
}

function first<T>(most: number, all: Iterable<T>): T[] {
  const found: T[] = [];
  if (most > 0)
    for (const one of all) {
      found.push(one);
      if (found.length >= most) break;
    }
  return found;
}

function byHolder(alike: readonly AlikeSockets[]): AlikeSockets[][] {
  const groups = groupBy(alike, ({ one }) => one.holders[0]?.process);
  const processes = [...groups.keys()].filter((process) => process !== undefined).sort(compareText);
  return [...processes, undefined].flatMap((process) => {
    const group = groups.get(process);
    return group === undefined ? [] : [group];
  });
}

function fdOf({ holders }: CensusSocket): number {
  return holders[0]?.fd ?? -1;
}

function measured<T>(value: T): { status: 'measured'; value: T } {
  return { status: 'measured', value };
}
