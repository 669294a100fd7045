/** The ports of each network namespace: how many are in use, by whom, and how many are left. */
import type { Endpoint, Known, ProcessId, SocketKind, Sockstat } from '../ledger/types.ts';
import type { AlikeSockets, Census, CensusSocket, Minisock } from './census.ts';
import { groupBy } from './group-by.ts';
import { isWithin, type PortSpan } from './port-range.ts';
import { kindInState } from './remembered.ts';

/** Of sockets in CLOSE that have a port: their kinds. */
export const CLOSED_USES = [
  'bound-inactive',
  'closed-unknown',
  'disconnected',
  'connect-failed',
  'bind-failed',
  'unused',
] as const satisfies readonly SocketKind[];

/** What a port is in use for, strongest first: a port of several sockets counts for the strongest alone. */
export const PORT_USES = [
  'listening',
  ...CLOSED_USES,
  'connected',
  'close-wait',
  'unaccepted',
  'orphaned',
  'no-holder',
  'time-wait',
] as const;
export type PortUse = (typeof PORT_USES)[number];

export interface PortHolder {
  /** null: no process has it */
  process: ProcessId | null;
  use: PortUse;
  /** distinct ports; those of all holders add up to `inUse` */
  count: number;
  /** of `count`: within the range that bind to port 0 and connect choose from; null when that is not known */
  inRange: number | null;
}

export interface PortDestination {
  address: string;
  port: number;
  /** local ports of the range that are in use towards it */
  count: number;
  /** ports that connect() would still find for it */
  free: number;
}

export interface NamespacePorts {
  netns: number;
  /** where the namespace was found */
  path: string | null;
  /** sockets in its hash tables, as its sockstat files say: TCP and TCP6 "inuse" */
  inuse: Known<number>;
  range: Known<PortSpan>;
  reserved: Known<readonly PortSpan[]>;
  inUse: number;
  /** null when the range is not known, as is `outOfRange` */
  inRange: number | null;
  outOfRange: number | null;
  /** that bind to port 0 would find: in the range, not reserved, not in use */
  free: Known<number>;
  holders: PortHolder[];
  destinations: PortDestination[];
}

/** The kind of a socket. */
type KindOf = (socket: CensusSocket) => SocketKind;

const BOUND_USES: readonly PortUse[] = ['listening', ...CLOSED_USES];
const MOST_DESTINATIONS = 10;

interface Occupant {
  process: ProcessId | null;
  use: PortUse;
}

/**
 * Namespaces by ports in use, most first; those without a port are left out unless all are.
 * @param kindOf of a socket in CLOSE, as findings have it
 */
export function portsOf(census: Census, kindOf: KindOf = kindInState): NamespacePorts[] {
  const sockets = groupBy(
    census.alike.filter(({ one }) => one.port !== null),
    ({ one }) => one.netns,
  );
  const waiting = groupBy(
    census.minisocks.filter(({ state }) => state === 'TIME_WAIT'),
    ({ netns }) => netns,
  );
  const known = new Map(census.namespaces.map((namespace) => [namespace.inode, namespace]));
  const all = new Set([...known.keys(), ...sockets.keys(), ...waiting.keys()]);
  return [...all]
    .map((netns) => {
      const namespace = known.get(netns);
      const unread = { status: 'unavailable', reason: 'the network namespace was not entered' } as const;
      const ports = portsOfNamespace(
        namespace?.portRange ?? unread,
        namespace?.reservedPorts ?? unread,
        sockets.get(netns) ?? [],
        waiting.get(netns) ?? [],
        kindOf,
      );
      return { netns, path: namespace?.path ?? null, inuse: inuseOf(namespace?.sockstat ?? unread), ...ports };
    })
    .sort((a, b) => b.inUse - a.inUse || a.netns - b.netns);
}

/** The processes that `portsOf` may name, and their pids; those with most ports first. */
export function portHoldersOf(census: Census): Map<ProcessId, number> {
  const counts = new Map<ProcessId, { pid: number; count: number }>();
  for (const { one, sockets } of census.alike) {
    const [holder] = one.holders;
    if (one.port === null || holder === undefined) continue;
    const known = counts.get(holder.process) ?? { pid: holder.pid, count: 0 };
    counts.set(holder.process, known);
    known.count += sockets.length;
  }
  return new Map([...counts].sort(([, a], [, b]) => b.count - a.count).map(([process, { pid }]) => [process, pid]));
}

function portsOfNamespace(
  range: Known<PortSpan>,
  reserved: Known<readonly PortSpan[]>,
  alike: readonly AlikeSockets[],
  waiting: readonly Minisock[],
  kindOf: KindOf,
): Omit<NamespacePorts, 'netns' | 'path' | 'inuse'> {
  const occupants = new Map<number, Occupant>();
  for (const { one, sockets } of alike) {
    const ofAll = one.state === 'CLOSE' && kindOf !== kindInState ? null : occupantOf(one, kindOf);
    for (const socket of sockets)
      if (socket.port !== null) occupy(occupants, socket.port, ofAll ?? occupantOf(socket, kindOf));
  }
  for (const { port } of waiting) occupy(occupants, port, { process: null, use: 'time-wait' });
  const span = range.status === 'measured' ? range.value : null;
  const kept = portsIn(reserved);
  const inRange = span === null ? null : [...occupants.keys()].filter((port) => isWithin(port, span)).length;
  return {
    range,
    reserved,
    inUse: occupants.size,
    inRange,
    outOfRange: inRange === null ? null : occupants.size - inRange,
    free:
      range.status === 'measured'
        ? { status: 'measured', value: countFree(range.value, occupants.keys(), kept) }
        : range,
    holders: holdersOf(occupants, span),
    destinations: destinationsOf(alike, waiting, occupants, range, kept),
  };
}

function inuseOf(sockstat: Known<Sockstat>): Known<number> {
  if (sockstat.status === 'unavailable') return sockstat;
  return { status: 'measured', value: sockstat.value.tcpInuse + sockstat.value.tcp6Inuse };
}

/** @param taken distinct ports */
function countFree(range: PortSpan, taken: Iterable<number>, reserved: ReadonlySet<number>): number {
  let used = 0;
  for (const port of taken) if (isWithin(port, range) && !reserved.has(port)) used += 1;
  for (const port of reserved) if (isWithin(port, range)) used += 1;
  return range[1] - range[0] + 1 - used;
}

function portsIn(spans: Known<readonly PortSpan[]>): Set<number> {
  const ports = new Set<number>();
  if (spans.status === 'measured')
    for (const [low, high] of spans.value) for (let port = low; port <= high; port++) ports.add(port);
  return ports;
}

function occupantOf(socket: CensusSocket, kindOf: KindOf): Occupant {
  const { state, holders, hasSocket, closed } = socket;
  const process = holders[0]?.process ?? null;
  if (state === 'LISTEN') return { process, use: 'listening' };
  if (process === null) return { process, use: hasSocket ? 'no-holder' : closed ? 'orphaned' : 'unaccepted' };
  if (state === 'CLOSE') return { process, use: closedUse(kindOf(socket)) };
  return { process, use: state === 'CLOSE_WAIT' ? 'close-wait' : 'connected' };
}

/** What has moved on meanwhile is not known any more. */
function closedUse(kind: SocketKind): PortUse {
  return CLOSED_USES.find((use) => use === kind) ?? 'closed-unknown';
}

function occupy(occupants: Map<number, Occupant>, port: number, occupant: Occupant): void {
  const other = occupants.get(port);
  if (other === undefined || PORT_USES.indexOf(occupant.use) < PORT_USES.indexOf(other.use))
    occupants.set(port, occupant);
}

function holdersOf(occupants: ReadonlyMap<number, Occupant>, range: PortSpan | null): PortHolder[] {
  const sums = new Map(PORT_USES.map((use) => [use, new Map<ProcessId | null, PortHolder>()]));
  for (const [port, { process, use }] of occupants) {
    const ofUse = sums.get(use);
    const sum = ofUse?.get(process) ?? { process, use, count: 0, inRange: range === null ? null : 0 };
    if (sum.count === 0) ofUse?.set(process, sum);
    sum.count += 1;
    if (range !== null && sum.inRange !== null && isWithin(port, range)) sum.inRange += 1;
  }
  return [...sums.values()].flatMap((ofUse) => [...ofUse.values()]).sort((a, b) => b.count - a.count);
}

/** Whether a port that it has is among the bound ones, whatever else has it. */
function isBound(socket: CensusSocket): boolean {
  return BOUND_USES.includes(occupantOf(socket, kindInState).use);
}

/**
 * connect() may share a port between destinations, but skips every port that was bound (kernel: __inet_hash_connect,
 * `tb->fastreuse >= 0`); which those are of connected sockets is not recorded, so only idle and listening ones count.
 */
function destinationsOf(
  alike: readonly AlikeSockets[],
  waiting: readonly Minisock[],
  occupants: ReadonlyMap<number, Occupant>,
  range: Known<PortSpan>,
  kept: ReadonlySet<number>,
): PortDestination[] {
  if (range.status === 'unavailable') return [];
  const span = range.value;
  const towards = new Map<string, { address: string; port: number; ports: Set<number> }>();
  const bound = new Set([...occupants].filter(([, { use }]) => BOUND_USES.includes(use)).map(([port]) => port));
  const shareable = (port: number): boolean => isWithin(port, span) && !bound.has(port);
  const occupy = (port: number, peer: Endpoint): void => {
    if (peer.port === 0) return;
    const key = `${peer.address} ${peer.port}`;
    const one = towards.get(key) ?? { ...peer, ports: new Set<number>() };
    one.ports.add(port);
    towards.set(key, one);
  };
  for (const { one, sockets } of alike)
    if (!isBound(one))
      for (const socket of sockets)
        if (socket.port !== null && shareable(socket.port)) occupy(socket.port, socket.peer);
  for (const minisock of waiting) if (shareable(minisock.port)) occupy(minisock.port, minisock.peer);
  const open = countFree(span, bound, kept);
  return [...towards.values()]
    .map(({ address, port, ports }) => ({ address, port, count: ports.size, free: open - ports.size }))
    .sort((a, b) => b.count - a.count)
    .slice(0, MOST_DESTINATIONS);
}
