/** Where the host's allocated sockets are: each in one named class, until the sum equals `alloc`. */
import type { Known } from '../ledger/types.ts';
import type { Census, CensusSocket } from './census.ts';

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

function classOfHeld({ state, port, receiveQueue, memory }: CensusSocket): SocketClassName {
  switch (state) {
    case 'CLOSE':
      // The end of the stream counts as one byte.
      if (receiveQueue > 1 && memory > 0) return 'closed-unread';
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
export function classify({ sockets, allocAfter }: Census): Classes {
  const members = new Map<SocketClassName, CensusSocket[]>();
  for (const socket of sockets) {
    const name = classOf(socket);
    const others = members.get(name);
    if (others === undefined) members.set(name, [socket]);
    else others.push(socket);
  }
  return {
    alloc: allocAfter,
    classes: SOCKET_CLASSES.flatMap((name) => {
      const all = members.get(name);
      return all === undefined ? [] : [{ name, count: all.length, evidence: evidenceOf(name, all) }];
    }),
    unplaced:
      allocAfter.status === 'measured' ? { status: 'measured', value: allocAfter.value - sockets.length } : allocAfter,
  };
}

/** What was seen, so that a reader can look for himself. */
function evidenceOf(name: SocketClassName, sockets: readonly CensusSocket[]): string {
  const processes = new Set(sockets.flatMap(({ holders }) => holders.map(({ process }) => process))).size;
  const open = `open in ${plural(processes, 'process', 'processes')}`;
  const places = new Set(sockets.map(({ via }) => via)).size;
  const kib = Math.ceil(sockets.reduce((sum, { memory }) => sum + memory, 0) / 1024);
  switch (name) {
    case 'closed':
      return `state CLOSE, in no hash table, no port, ${open}`;
    case 'closed-bound':
      return `state CLOSE, holding a port, ${open}`;
    case 'closed-unread':
      return `state CLOSE, ${kib} KiB of buffers with data that was not read, ${open}`;
    case 'close-wait':
      return `the peer has closed, ${open}`;
    case 'listening':
    case 'connected':
      return open;
    case 'unaccepted':
      return 'connected, and not accepted by their listener';
    case 'unaccepted-reset':
      return `reset by the peer, in the accept queue of ${plural(places, 'listener', 'listeners')}, in no hash table`;
    case 'in-flight':
      return `sent as descriptors to ${plural(places, 'unix socket', 'unix sockets')} that did not receive them`;
    case 'io_uring':
      return `fixed files of ${plural(places, 'io_uring', 'io_urings')}`;
    case 'orphaned': {
      const unsent = sockets.filter(({ sendQueue }) => sendQueue > 0).length;
      return `closed by their process, in the kernel's hands; ${unsent} with data that the peer did not acknowledge`;
    }
    case 'kernel':
      return 'a socket without a file: opened by the kernel (NFS, MPTCP, ...)';
    case 'no-holder':
      return 'a file that no visible process has open: a hidden process, mapped memory, or on its way';
  }
}

function plural(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
