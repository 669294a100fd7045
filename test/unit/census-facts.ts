// Sockets of a census, plain and whole, for tests to change.
import type { Census, CensusSocket } from '../../src/accounting/census.ts';
import { OWNER } from './facts.ts';

export function censusSocket(changed: Partial<CensusSocket> = {}): CensusSocket {
  return {
    address: 'ffff888000000001',
    inode: '4711',
    ways: ['descriptor'],
    closed: false,
    hasSocket: true,
    hasFile: true,
    via: null,
    family: 4,
    state: 'CLOSE',
    port: null,
    local: { address: '0.0.0.0', port: 0 },
    peer: { address: '0.0.0.0', port: 0 },
    netns: 1,
    uid: 0,
    error: null,
    receiveQueue: 0,
    sendQueue: 0,
    memory: 0,
    hasUnread: (changed.receiveQueue ?? 0) > 1 && (changed.memory ?? 0) > 0,
    activeMs: null,
    wasEstablished: false,
    hasSent: false,
    bytesMoved: '0',
    holders: [{ process: OWNER, pid: 12, fd: 3 }],
    ...changed,
  };
}

export function census(sockets: CensusSocket[], changed: Partial<Census> = {}): Census {
  const alloc = { status: 'measured', value: sockets.length } as const;
  return {
    atMs: 100_000,
    tookMs: 90,
    sockets,
    alike: sockets.map((socket) => ({ one: socket, sockets: [socket] })),
    minisocks: [],
    namespaces: [
      {
        inode: 1,
        path: '/proc/1/ns/net',
        portRange: { status: 'measured', value: [50_000, 50_009] },
        reservedPorts: { status: 'measured', value: [[50_009, 50_009]] },
        sockstat: { status: 'unavailable', reason: 'not read' },
        refusal: null,
      },
    ],
    allocBefore: alloc,
    allocAfter: alloc,
    unseen: [],
    ...changed,
  };
}

/** Holding a port, which is also what it says its local port is. */
export function onPort(port: number, changed: Partial<CensusSocket> = {}): CensusSocket {
  return censusSocket({ port, local: { address: '0.0.0.0', port }, ...changed });
}
