/** Takes a census of the host's TCP sockets, again where sockets came or went meanwhile. */
import type { Census, CensusSocket } from '../accounting/census.ts';
import { classify } from '../accounting/classes.ts';
import { parsePortRange, parseReservedPorts } from '../accounting/port-range.ts';
import { portHoldersOf, portsOf } from '../accounting/ports.ts';
import { parseSockstat } from '../accounting/sockstat.ts';
import { KernelError, type RawCensus, takeCensus } from '../kernel/binding.ts';
import { decodeCensusSockets, decodeMinisocks } from '../kernel/census.ts';
import { UNKNOWN_COMM } from '../ledger/processes.ts';
import type { Known, LedgerInput, SocketKind } from '../ledger/types.ts';
import { readBootTimeMs } from '../procfs/boot.ts';
import {
  listNetNamespaces,
  type NamespaceList,
  type NamespacePath,
  threadNamespaces,
} from '../procfs/net-namespaces.ts';
import { readProcess } from '../procfs/process.ts';
import { PROC_ROOT } from '../procfs/read.ts';
import { readSockstat } from '../procfs/sockstat.ts';
import { readStat } from '../procfs/stat.ts';
import { monotonicMs } from './clock.ts';
import { HeldWays } from './held-ways.ts';

/** A busy host never stands still: the last try is then as good as any, and `unplaced` says what moved. */
const PATIENT_TRIES = 3;
const HIDDEN =
  'processes that /proc does not list (hidepid, and no CAP_SYS_PTRACE): their names, and network namespaces that only they are in';
const HIDING = 'processes hide their network namespace (permission denied)';
const MOST_HIDING_NAMED = 3;
/** What may not be looked into by one of its sockets may not by any. */
const MOST_SOCKETS_TRIED = 3;
/** A host may have very many that have a port or two. */
const MOST_PORT_HOLDERS = 1_000;
/** Arguments may hold secrets, and nobody asked to trace these. */
const NOT_KEPT = { status: 'unavailable', reason: 'of a process that was not traced: not kept' } as const;
/** Sockets may be opened while it is taken. */
const SPARE_SOCKETS = 4096;

/**
 * @param bootId completes process identities
 * @param mostTries how often to try for one during which no socket came or went
 * @throws KernelError when the kernel refuses the programs of the census
 */
export function readCensus(bootId: string, mostTries: number = PATIENT_TRIES): Census {
  using ways = new HeldWays();
  const list = listNetNamespaces(PROC_ROOT, (path) => ways.hold(path));
  for (let tries = 1; ; tries++) {
    const walk = walkOnce(list.namespaces, ways);
    // What the next try replaces need not be decoded.
    if (!knownEqual(walk.allocBefore, walk.allocAfter) && tries < mostTries) continue;
    const census = censusOf(walk, bootId, list);
    const missing = unlisted(census, list.namespaces, ways);
    if (missing.length === 0 || tries > mostTries) return census;
    list.namespaces.push(...missing);
  }
}

/**
 * A census as the ledger takes it; unavailable when the kernel refuses.
 * @param kindOf of sockets in CLOSE, by what was seen to happen to them
 */
export function censusInput(
  bootId: string,
  kindOf: (socket: CensusSocket) => SocketKind,
): Extract<LedgerInput, { type: 'census' }> {
  try {
    // What a traced process does goes on meanwhile: waiting for it to stand still would stretch the trace.
    const census = readCensus(bootId, 1);
    return withPortHolders(inputOf(census, kindOf), census, bootId);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return { type: 'census', atMs: monotonicMs(), seen: { status: 'unavailable', reason: error.message } };
  }
}

/** Who has ports need not hold a socket that the ledger knows, and may have ended before a report names it. */
function withPortHolders(
  input: Extract<LedgerInput, { type: 'census' }>,
  census: Census,
  bootId: string,
): Extract<LedgerInput, { type: 'census' }> {
  if (input.seen.status === 'unavailable') return input;
  const boot = { bootId, bootTimeMs: readBootTimeMs() };
  const processes = [...portHoldersOf(census)].slice(0, MOST_PORT_HOLDERS).flatMap(([process, pid]) => {
    const read = readProcess(pid, boot, () => NOT_KEPT);
    // A pid that means another process by now says nothing about this one.
    return read.status === 'measured' && read.value.id === process ? [read.value] : [];
  });
  return { ...input, seen: { status: 'measured', value: { ...input.seen.value, processes } } };
}

export function inputOf(
  census: Census,
  kindOf?: (socket: CensusSocket) => SocketKind,
): Extract<LedgerInput, { type: 'census' }> {
  const seen = { classes: classify(census), ports: portsOf(census, kindOf), unseen: census.unseen };
  return { type: 'census', atMs: census.atMs, seen: { status: 'measured', value: seen } };
}

/** One walk as the kernel gave it. */
interface Walk {
  atMs: number;
  raw: RawCensus;
  allocBefore: Known<number>;
  allocAfter: Known<number>;
}

function walkOnce(namespaces: readonly NamespacePath[], ways: HeldWays): Walk {
  const allocBefore = readAlloc();
  const atMs = monotonicMs();
  const raw = takeCensus({
    maxSockets: Math.ceil((allocBefore.status === 'measured' ? allocBefore.value : 0) * 1.25) + SPARE_SOCKETS,
    namespaces: namespaces.map(({ path }) => ways.into(path)),
  });
  return { atMs, raw, allocBefore, allocAfter: readAlloc() };
}

function censusOf({ atMs, raw, allocBefore, allocAfter }: Walk, bootId: string, list: NamespaceList): Census {
  const namespaces = raw.namespaces.map((namespace, i) => ({ ...namespace, path: list.namespaces[i]?.path ?? '' }));
  const { sockets, alike } = decodeCensusSockets(raw.rows, raw.descriptors, bootId);
  const walked = new Set(raw.namespaces.filter(({ refusal }) => refusal === null).map(({ inode }) => inode));
  const beyond = new Set<number>();
  for (const { one } of alike) if (!walked.has(one.netns)) beyond.add(one.netns);
  return {
    atMs,
    tookMs: monotonicMs() - atMs,
    sockets,
    alike,
    minisocks: decodeMinisocks(raw.minisocks),
    namespaces: namespaces.map(namespaceOf),
    allocBefore,
    allocAfter,
    unseen: [
      ...unseenBy({ ...raw, namespaces }, list),
      ...[...beyond].map((netns) => `hashed sockets of network namespace ${netns}: no way into it was found`),
    ],
  };
}

function namespaceOf({
  inode,
  path,
  portRange,
  reservedPorts,
  sockstat,
  sockstat6,
  refusal,
}: RawCensus['namespaces'][number]): Census['namespaces'][number] {
  return {
    inode,
    path,
    portRange: parsePortRange(portRange),
    reservedPorts: parseReservedPorts(reservedPorts),
    sockstat: parseSockstat(sockstat, sockstat6 === '' ? null : sockstat6),
    refusal,
  };
}

/** Ways into namespaces that sockets are in and no process as a whole is: a thread may be, else their sockets lead there. */
function unlisted(census: Census, listed: readonly NamespacePath[], ways: HeldWays): NamespacePath[] {
  const known = new Set(listed.map(({ inode }) => inode));
  const beyond = census.alike.filter(({ one }) => !known.has(one.netns)).flatMap(({ sockets }) => sockets);
  const found = new Map<number, NamespacePath>();
  for (const pid of new Set(beyond.flatMap(({ holders }) => holders.map((holder) => holder.pid))))
    for (const namespace of threadNamespaces(pid))
      if (!known.has(namespace.inode) && ways.hold(namespace.path)) found.set(namespace.inode, namespace);
  const tried = new Map<number, number>();
  for (const { netns, holders } of beyond) {
    const [holder] = holders;
    const tries = tried.get(netns) ?? 0;
    if (found.has(netns) || holder === undefined || tries === MOST_SOCKETS_TRIED) continue;
    tried.set(netns, tries + 1);
    const namespace = ways.holdBySocket(netns, holder);
    if (namespace !== null) found.set(netns, namespace);
  }
  return [...found.values()];
}

function unseenBy({ counters, namespaces }: RawCensus, { unread, hidden }: NamespaceList): string[] {
  const lines: [number, string][] = [
    [counters.tableFull, 'sockets found no room in the table of the census'],
    [counters.unixQueuesCut, 'queues of unix sockets too long to be read whole'],
    [counters.ioUringsCut, 'io_urings with too many fixed files to be read whole'],
    [counters.acceptQueuesCut, 'accept queues too long to be read whole'],
  ];
  return [
    ...(hidden ? [HIDDEN] : []),
    ...lines.filter(([count]) => count > 0).map(([count, what]) => `${what}: ${count}`),
    ...hidingOf(unread),
    ...namespaces.flatMap(({ path, refusal }) => (refusal === null ? [] : [`hashed sockets of ${path}: ${refusal}`])),
  ];
}

/** How many they are, and the first of them. */
function hidingOf(pids: readonly number[]): string[] {
  if (pids.length === 0) return [];
  const named = pids.slice(0, MOST_HIDING_NAMED).map((pid) => {
    const stat = readStat(`${PROC_ROOT}/${pid}`);
    return `${stat.status === 'measured' ? stat.value.comm : UNKNOWN_COMM}[${pid}]`;
  });
  const more = pids.length > named.length ? ', ...' : '';
  return [`${HIDING}: ${pids.length} (${named.join(', ')}${more})`];
}

function readAlloc(): Known<number> {
  const read = readSockstat();
  return read.status === 'measured' ? { status: 'measured', value: read.value.alloc } : read;
}

function knownEqual(a: Known<number>, b: Known<number>): boolean {
  return a.status === 'measured' && b.status === 'measured' && a.value === b.value;
}
