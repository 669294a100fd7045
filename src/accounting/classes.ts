/** Where the host's allocated sockets are: each in one named class, until the sum equals `alloc`. */

import { formatCount } from '../ledger/format-count.ts';
import { pidsFrom } from '../ledger/outside.ts';
import type { Known, ProcessId } from '../ledger/types.ts';
import { type AlikeSockets, type Census, type CensusSocket, countSockets } from './census.ts';
import { groupBy } from './group-by.ts';

/** What keeps a socket allocated, in the order of a report. */
export const SOCKET_CLASSES = [
  'closed',
  'closed-bound',
  'closed-unread',
  'close-wait',
  'listening',
  'connected',
  'unaccepted',
  'unaccepted-reset',
  'in-flight',
  'io_uring',
  'orphaned',
  'kernel',
  'no-holder',
] as const;
export type SocketClassName = (typeof SOCKET_CLASSES)[number];

const MOST_QUEUES = 3;

export interface SocketClass {
  name: SocketClassName;
  count: number;
  evidence: string;
}

export interface Classes {
  /** right after the walks */
  alloc: Known<number>;
  classes: SocketClass[];
  /** of `alloc`: in no class. Negative: sockets that were closed while they were counted. */
  unplaced: Known<number>;
}

/** Total: every socket of a census has exactly one class. */
export function classOf(socket: CensusSocket): SocketClassName {
  if (socket.holders.length > 0) return classOfHeld(socket);
  if (socket.ways.includes('flight')) return 'in-flight';
  if (socket.ways.includes('io_uring')) return 'io_uring';
  if (!socket.hasSocket) {
    if (socket.closed) return 'orphaned';
    return socket.state === 'CLOSE' ? 'unaccepted-reset' : 'unaccepted';
  }
  return socket.hasFile ? 'no-holder' : 'kernel';
}

function classOfHeld({ state, port, hasUnread }: CensusSocket): SocketClassName {
  switch (state) {
    case 'CLOSE':
      if (hasUnread) return 'closed-unread';
      return port === null ? 'closed' : 'closed-bound';
    case 'CLOSE_WAIT':
      return 'close-wait';
    case 'LISTEN':
      return 'listening';
    default:
      return 'connected';
  }
}

/** Classes that have sockets. */
export function classify({ sockets, alike, allocAfter }: Census): Classes {
  const members = groupBy(alike, ({ one }) => classOf(one));
  const listeners = members.get('listening') ?? [];
  return {
    alloc: allocAfter,
    classes: SOCKET_CLASSES.flatMap((name) => {
      const all = members.get(name);
      return all === undefined ? [] : [{ name, count: countSockets(all), evidence: evidenceOf(name, all, listeners) }];
    }),
    unplaced:
      allocAfter.status === 'measured' ? { status: 'measured', value: allocAfter.value - sockets.length } : allocAfter,
  };
}

/** What was seen, so that a reader can look for himself. */
function evidenceOf(name: SocketClassName, alike: readonly AlikeSockets[], listeners: readonly AlikeSockets[]): string {
  switch (name) {
    case 'closed':
      return `state CLOSE, in no hash table, no port, ${openIn(alike)}`;
    case 'closed-bound':
      return `state CLOSE, holding a port, ${openIn(alike)}`;
    case 'closed-unread': {
      const kib = Math.ceil(allOf(alike).reduce((sum, { memory }) => sum + memory, 0) / 1024);
      return `state CLOSE, ${formatCount(kib)} KiB of buffers with data that was not read, ${openIn(alike)}`;
    }
    case 'close-wait':
      return `the peer has closed, ${openIn(alike)}`;
    case 'listening':
    case 'connected':
      return openIn(alike);
    case 'unaccepted':
      return `connected, and not accepted: ${queues(allOf(alike), allOf(listeners))}`;
    case 'unaccepted-reset':
      return `reset by the peer, in no hash table, not accepted: ${queues(allOf(alike), allOf(listeners))}`;
    case 'in-flight':
      return `sent as descriptors to ${places(allOf(alike), 'unix socket')} that did not receive them`;
    case 'io_uring':
      return `fixed files of ${places(allOf(alike), 'io_uring')}`;
    case 'orphaned': {
      const unsent = allOf(alike).filter(({ sendQueue }) => sendQueue > 0).length;
      return `closed by their process, in the kernel's hands; ${formatCount(unsent)} with data that the peer did not acknowledge`;
    }
    case 'kernel':
      return 'a socket without a file: opened by the kernel (NFS, MPTCP, ...)';
    case 'no-holder':
      return 'a file that no visible process has open: a hidden process, mapped memory, or on its way';
  }
}

function allOf(alike: readonly AlikeSockets[]): CensusSocket[] {
  return alike.flatMap(({ sockets }) => sockets);
}

function openIn(alike: readonly AlikeSockets[]): string {
  const processes = new Set<ProcessId>();
  for (const { one } of alike) for (const { process } of one.holders) processes.add(process);
  return `open in ${plural(processes.size, 'process', 'processes')}`;
}

/**
 * Where connections wait, longest queue first: `37 by pid 812 on port 443, 2 by an unknown listener`. By the listener in
 * whose queue they were found; of those found in a hash table only, by port.
 */
function queues(sockets: readonly CensusSocket[], listeners: readonly CensusSocket[]): string {
  const byAddress = new Map(listeners.map((listener) => [listener.address, listener]));
  const byPort = groupBy(listeners, portKey);
  const waiting = groupBy(sockets, (socket) => {
    const [only, second] = byPort.get(portKey(socket)) ?? [];
    const listener = byAddress.get(socket.via ?? '') ?? (second === undefined ? only : undefined);
    const [holder] = listener?.holders ?? [];
    if (listener === undefined || holder === undefined) return 'an unknown listener';
    const others = new Set(listener.holders.map(({ process }) => process)).size - 1;
    return `pid ${pidText(holder.pid)}${others === 0 ? '' : ` and ${others} more`} on port ${listener.local.port}`;
  });
  const queues = [...waiting].sort(([, a], [, b]) => b.length - a.length);
  const shown = queues.slice(0, MOST_QUEUES).map(([who, { length }]) => `${formatCount(length)} by ${who}`);
  const rest = queues.slice(MOST_QUEUES);
  const more = rest.reduce((sum, [, { length }]) => sum + length, 0);
  return `${shown.join(', ')}${rest.length === 0 ? '' : `, ${formatCount(more)} by ${plural(rest.length, 'more listener', 'more listeners')}`}`;
}

function pidText(number: number): string {
  const { pid, namespacePids } = pidsFrom(number);
  return namespacePids?.status === 'measured' ? `${namespacePids.value[0]} outside` : String(pid);
}

function portKey({ netns, local }: CensusSocket): string {
  return `${netns} ${local.port}`;
}

/** By which they were reached. */
function places(sockets: readonly CensusSocket[], one: string): string {
  return plural(new Set(sockets.map(({ via }) => via)).size, one, `${one}s`);
}

function plural(count: number, one: string, many: string): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
