// Every socket has one class, every port one holder, and the sums are those of the kernel.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CENSUS_WAYS, type CensusHolder, type CensusSocket } from '../../src/accounting/census.ts';
import { classify, classOf } from '../../src/accounting/classes.ts';
import { parsePortRange, parseReservedPorts } from '../../src/accounting/port-range.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import { partsOfClosed, summarize } from '../../src/accounting/ss-summary.ts';
import type { TcpState } from '../../src/ledger/types.ts';
import { census, censusSocket, onPort } from './census-facts.ts';
import { OTHER, OWNER } from './facts.ts';

const anySocket = fc
  .record({
    ways: fc.subarray([...CENSUS_WAYS], { minLength: 1 }),
    closed: fc.boolean(),
    hasSocket: fc.boolean(),
    hasFile: fc.boolean(),
    state: fc.constantFrom<TcpState>('CLOSE', 'LISTEN', 'ESTABLISHED', 'CLOSE_WAIT', 'SYN_RECV', 'FIN_WAIT1'),
    receiveQueue: fc.nat(2),
    memory: fc.nat(2),
    port: fc.option(fc.integer({ min: 49_995, max: 50_012 })),
    netns: fc.constantFrom(1, 2),
    holders: fc.constantFrom<CensusHolder[]>(
      [],
      [{ process: OWNER, pid: 12, fd: 3 }],
      [{ process: OTHER, pid: 13, fd: 4 }],
    ),
  })
  .map((facts): CensusSocket => {
    const { port } = facts;
    return censusSocket({ ...facts, local: { address: '0.0.0.0', port: port ?? 0 } });
  });

describe('classes', () => {
  it('every socket is in one, and with what is unplaced they add up to alloc', () => {
    fc.assert(
      fc.property(fc.array(anySocket), fc.nat(100), (sockets, more) => {
        const alloc = { status: 'measured', value: sockets.length + more } as const;
        const { classes, unplaced } = classify(census(sockets, { allocAfter: alloc }));
        expect(classes.reduce((sum, { count }) => sum + count, 0)).toBe(sockets.length);
        expect(unplaced).toEqual({ status: 'measured', value: more });
      }),
    );
  });

  it.each([
    ['kernel', { holders: [], hasFile: false, state: 'ESTABLISHED' }],
    ['orphaned', { holders: [], hasSocket: false, hasFile: false, closed: true, state: 'FIN_WAIT1' }],
    ['unaccepted', { holders: [], hasSocket: false, hasFile: false, state: 'ESTABLISHED' }],
    ['unaccepted-reset', { holders: [], hasSocket: false, hasFile: false, state: 'CLOSE', ways: ['accept-queue'] }],
    ['in-flight', { holders: [], ways: ['flight'] }],
    ['closed', { ways: ['descriptor', 'flight'] }],
    ['io_uring', { holders: [], ways: ['io_uring', 'hash'], state: 'ESTABLISHED' }],
    ['no-holder', { holders: [], ways: ['hash'], state: 'ESTABLISHED' }],
    ['closed-bound', { port: 50_000 }],
    ['closed-unread', { receiveQueue: 10, memory: 2304 }],
    ['closed', { receiveQueue: 1, memory: 768 }],
  ] as [string, Partial<CensusSocket>][])('%s', (name, facts) => {
    expect(classOf(censusSocket(facts))).toBe(name);
  });

  it('says who does not accept, longest queue first', () => {
    const listener = (address: string, port: number, ...pids: number[]): CensusSocket =>
      onPort(port, { address, state: 'LISTEN', holders: pids.map((pid) => ({ process: `b:${pid}:1`, pid, fd: 3 })) });
    const waiting = (port: number, count: number, via: string | null, netns = 1): CensusSocket[] =>
      Array.from({ length: count }, () =>
        onPort(port, { netns, via, holders: [], hasSocket: false, hasFile: false, state: 'ESTABLISHED' }),
      );
    const { classes } = classify(
      census([
        listener('a', 80, 7, 8, 9),
        // Two of one port: only the queue tells them apart.
        listener('b', 443, 12),
        listener('c', 443, 2 ** 31 + 351),
        ...waiting(443, 2, 'c'),
        ...waiting(443, 3, 'b'),
        ...waiting(443, 1, null),
        ...waiting(80, 4, null),
        ...waiting(80, 1, null, 2),
      ]),
    );
    expect(classes.find(({ name }) => name === 'unaccepted')?.evidence).toBe(
      'connected, and not accepted: 4 by pid 7 and 2 more on port 80, 3 by pid 12 on port 443, ' +
        '2 by pid 351 outside on port 443, 2 by 1 more listener',
    );
  });

  it('a host whose alloc cannot be read has no sum', () => {
    const unread = { status: 'unavailable', reason: 'no /proc' } as const;
    expect(classify(census([], { allocAfter: unread })).unplaced).toBe(unread);
  });
});

describe('ports', () => {
  it('each port in use has one holder, in range or out of it', () => {
    fc.assert(
      fc.property(fc.array(anySocket), (sockets) => {
        for (const { netns, inUse, inRange, outOfRange, holders } of portsOf(census(sockets))) {
          expect(holders.reduce((sum, { count }) => sum + count, 0)).toBe(inUse);
          // The range of the second is not known.
          expect(inRange === null).toBe(netns === 2);
          if (inRange === null) continue;
          expect(holders.reduce((sum, holder) => sum + (holder.inRange ?? 0), 0)).toBe(inRange);
          expect(inRange + (outOfRange ?? 0)).toBe(inUse);
        }
      }),
    );
  });

  it('a listener and its connections are one port, and time-wait holds one', () => {
    const listener = onPort(443, { state: 'LISTEN' });
    const child = onPort(443, { state: 'ESTABLISHED', peer: { address: '10.0.0.2', port: 50_001 } });
    const peer = { address: '10.0.0.9', port: 80 };
    const minisock = { netns: 1, family: 4, port: 50_002, local: { address: '10.0.0.1', port: 50_002 }, peer } as const;
    const [ports] = portsOf(
      census([listener, child], {
        minisocks: [
          { ...minisock, state: 'TIME_WAIT' },
          { ...minisock, state: 'NEW_SYN_RECV', port: 50_003, local: { address: '10.0.0.1', port: 50_003 } },
        ],
      }),
    );
    expect(ports).toMatchObject({ inUse: 2, inRange: 1, free: { value: 8 } });
    expect(ports?.holders).toEqual([
      { process: OWNER, use: 'listening', count: 1, inRange: 0 },
      { process: null, use: 'time-wait', count: 1, inRange: 1 },
    ]);
    expect(ports?.destinations).toEqual([{ address: '10.0.0.9', port: 80, count: 1, free: 8 }]);
  });

  it('bound ports starve every destination, connected ones their own', () => {
    const to = (port: number, peerPort: number): CensusSocket =>
      onPort(port, { state: 'ESTABLISHED', peer: { address: '10.0.0.9', port: peerPort } });
    const [ports] = portsOf(census([onPort(50_000), to(50_001, 80), to(50_001, 81), to(50_002, 80)]));
    expect(ports?.destinations).toEqual([
      { address: '10.0.0.9', port: 80, count: 2, free: 6 },
      { address: '10.0.0.9', port: 81, count: 1, free: 7 },
    ]);
  });

  it('reads the range and the reserved ports', () => {
    expect(parsePortRange('32768\t60999\n')).toEqual({ status: 'measured', value: [32_768, 60_999] });
    expect(parsePortRange('60999 32768')).toMatchObject({ status: 'unavailable' });
    expect(parseReservedPorts('8080,9148-9150\n')).toEqual({
      status: 'measured',
      value: [
        [8080, 8080],
        [9148, 9150],
      ],
    });
    expect(parseReservedPorts('\n')).toEqual({ status: 'measured', value: [] });
    expect(parseReservedPorts('1-2-3')).toMatchObject({ status: 'unavailable' });
  });
});

describe('ss -s', () => {
  it('the figures of incident A, and what its closed is made of', () => {
    const sockstat =
      'sockets: used 42639\nTCP: inuse 81 orphan 0 tw 6 alloc 41019 mem 286\nUDP: inuse 387 mem 3\nRAW: inuse 2\nFRAG: inuse 0 memory 0\n';
    const sockstat6 = 'TCP6: inuse 4\nUDP6: inuse 2\nRAW6: inuse 0\nFRAG6: inuse 0 memory 0\n';
    const summary = summarize(sockstat, sockstat6, 'Tcp: RtoMin CurrEstab\nTcp: 200 74\n');
    expect(summary).toMatchObject({
      value: { total: 42_639, tcp: 41_025, estab: 74, closed: 40_940, timewait: 6, orphaned: 0 },
    });
    if (summary.status === 'unavailable') throw new Error(summary.reason);
    expect(partsOfClosed(summary.value, 30)).toEqual({ unhashed: 40_904, timewait: 6, elsewhere: 30 });
  });

  it('says which figure is missing', () => {
    expect(summarize('', '', '')).toMatchObject({
      status: 'unavailable',
      reason: expect.stringContaining('TCP alloc'),
    });
  });
});
