/** A census: every TCP socket of the host that can be reached without having been traced, as plain facts. */
import type { Endpoint, Known, ProcessId, Sockstat, TcpState } from '../ledger/types.ts';

/** By which way a socket was reached; one may be reached by several. */
export const CENSUS_WAYS = ['descriptor', 'hash', 'accept-queue', 'flight', 'io_uring'] as const;
export type CensusWay = (typeof CENSUS_WAYS)[number];

export interface CensusHolder {
  process: ProcessId;
  pid: number;
  fd: number;
}

export interface CensusSocket {
  /** of the kernel's struct sock, hexadecimal */
  readonly address: string;
  /** of the socket's file, null when it has none */
  readonly inode: string | null;
  readonly ways: readonly CensusWay[];
  /** its socket was closed: the kernel alone keeps it (SOCK_DEAD) */
  readonly closed: boolean;
  readonly hasSocket: boolean;
  readonly hasFile: boolean;
  /** the listener in whose queue it waits, or the unix socket or io_uring by which it was reached; null for none */
  readonly via: string | null;
  readonly family: 4 | 6;
  readonly state: TcpState;
  /** the port it holds now, null for none */
  readonly port: number | null;
  readonly local: Endpoint;
  readonly peer: Endpoint;
  readonly netns: number;
  readonly uid: number;
  /** errno name, null for none */
  readonly error: string | null;
  /** bytes not read; of a listener, connections not accepted */
  readonly receiveQueue: number;
  /** bytes not acknowledged; of a listener, the longest its queue may get */
  readonly sendQueue: number;
  /** bytes of buffers charged to it */
  readonly memory: number;
  /** of `receiveQueue`, there is data in buffers */
  readonly hasUnread: boolean;
  /** CLOCK_MONOTONIC ms of its last segment, null when it never sent or received one */
  readonly activeMs: number | null;
  /** it was established at some time since it was opened or disconnected */
  readonly wasEstablished: boolean;
  /** it sent a segment, if only a SYN */
  readonly hasSent: boolean;
  readonly bytesMoved: string;
  readonly holders: readonly CensusHolder[];
}

/**
 * Sockets that differ in identity, addresses, amounts and times alone. What decides how they are counted is the same:
 * `one` tells of all of them by whom they are held, in which state they are, whether they have a port, and so on.
 */
export interface AlikeSockets {
  readonly one: CensusSocket;
  readonly sockets: readonly CensusSocket[];
}

export function countSockets(alike: readonly AlikeSockets[]): number {
  return alike.reduce((sum, { sockets }) => sum + sockets.length, 0);
}

/** TIME_WAIT and half-open connections: no socket, not in `alloc`. */
export interface Minisock {
  readonly netns: number;
  readonly state: 'TIME_WAIT' | 'NEW_SYN_RECV';
  readonly family: 4 | 6;
  /** its local port */
  readonly port: number;
  readonly local: Endpoint;
  readonly peer: Endpoint;
}

export interface CensusNamespace {
  inode: number;
  /** where it was found, e.g. /proc/1/ns/net */
  path: string;
  portRange: Known<readonly [low: number, high: number]>;
  reservedPorts: Known<readonly (readonly [low: number, high: number])[]>;
  sockstat: Known<Sockstat>;
  /** why its hash tables were not walked; null when they were */
  refusal: string | null;
}

export interface Census {
  /** CLOCK_MONOTONIC ms */
  atMs: number;
  tookMs: number;
  sockets: readonly CensusSocket[];
  /** the same: a host has very many sockets, and few that differ */
  alike: readonly AlikeSockets[];
  minisocks: Minisock[];
  namespaces: CensusNamespace[];
  /** alloc before and after the walks: equal when nothing came or went that the walks could have missed */
  allocBefore: Known<number>;
  allocAfter: Known<number>;
  /** what was not looked at, in words */
  unseen: string[];
}
