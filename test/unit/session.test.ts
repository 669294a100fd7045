import { describe, expect, it } from 'vitest';
import { COUNTERS, type CounterName } from '../../src/kernel/layout.ts';
import { type HostReading, truestReading } from '../../src/session/host-reading.ts';
import { lossesOf } from '../../src/session/losses.ts';
import { Doubling, Pace } from '../../src/session/pace.ts';

const NONE = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<CounterName, number>;

const NOTHING = { failedWalks: 0, mptcpHeld: 0, eventsNotPrinted: 0, paths: { deaths: 0, wrong: 0 } };

/** Counted by the walks that make good for it. */
const FOUND_LATE: readonly CounterName[] = ['confirm_repaired', 'destroy_unseen'];

describe('losses', () => {
  it('none when nothing was counted', () => {
    expect(
      lossesOf(
        NONE,
        new Map([
          ['state_first', 40],
          ['state_second', 7],
        ]),
        NOTHING,
      ),
    ).toEqual([]);
  });

  it('every counter of loss has a code, and only those', () => {
    for (const counter of COUNTERS) {
      const codes = lossesOf({ ...NONE, [counter]: 3 }, new Map(), NOTHING);
      const counts = counter.startsWith('loss_') || FOUND_LATE.includes(counter) ? [3] : [];
      expect(codes.map(({ count }) => count)).toEqual(counts);
    }
  });

  it('a program that nobody stands in for, walks that failed, and sockets of another protocol', () => {
    expect(
      lossesOf(NONE, new Map([['syscall_exit', 2]]), {
        failedWalks: 1,
        mptcpHeld: 3,
        eventsNotPrinted: 4,
        paths: { deaths: 0, wrong: 0 },
      }),
    ).toEqual([
      { code: 'call-result-missed', count: 2 },
      { code: 'iterator-failed', count: 1 },
      { code: 'mptcp-unseen', count: 3 },
      { code: 'event-not-printed', count: 4 },
    ]);
  });
});

describe('pace', () => {
  it('a quick job runs at the shortest interval', () => {
    const pace = new Pace(250, 0);
    expect(pace.isDue(249)).toBe(false);
    expect(pace.isDue(250)).toBe(true);
    pace.ran(1, 251);
    expect(pace.isDue(500)).toBe(false);
    expect(pace.isDue(501)).toBe(true);
  });

  it('what is wanted runs as soon as its cost permits', () => {
    const pace = new Pace(250, 0);
    expect(pace.isDue(1, true)).toBe(true);
    pace.ran(1, 1);
    expect(pace.isDue(100, true)).toBe(false);
    expect(pace.isDue(101, true)).toBe(true);
    expect(pace.isDue(101)).toBe(false);
    pace.ran(30, 1030);
    expect(pace.isDue(4029, true)).toBe(false);
    expect(pace.isDue(4030, true)).toBe(true);
  });

  it('a slow job takes a hundredth of the time', () => {
    const pace = new Pace(250, 0);
    pace.ran(30, 1030);
    expect(pace.isDue(4029)).toBe(false);
    expect(pace.isDue(4030)).toBe(true);
  });
});

describe('readings of the host', () => {
  const reading = (alloc: number, opened: number, still: boolean): HostReading => ({
    sockstat: {
      status: 'measured',
      value: { socketsUsed: 0, tcpInuse: 0, tcp6Inuse: 0, orphan: 0, timeWait: 0, alloc, memPages: 0 },
    },
    counters: { opened, cloned: 0, destroyed: 0 },
    still,
  });

  it('of still ones, the one with the fewest sockets half way', () => {
    const truest = reading(110, 10, true);
    expect(truestReading([reading(112, 11, true), truest, reading(90, 10, false)])).toBe(truest);
  });

  it('of moving ones, the middle', () => {
    const middle = reading(110, 10, false);
    expect(truestReading([reading(109, 10, false), reading(111, 10, false), middle])).toBe(middle);
  });
});

describe('looks that are compared', () => {
  it('are twice as far apart each time, so that one is always within the second quarter of the time', () => {
    const looks = new Doubling(0, 5_000, 0);
    const taken: number[] = [];
    for (let nowMs = 0; nowMs <= 3_600_000; nowMs += 100) {
      if (!looks.isDue(nowMs)) continue;
      looks.ran(0, nowMs);
      taken.push(nowMs / 1_000);
    }
    expect(taken).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560]);
  });

  it('wait longer where they cost more', () => {
    const looks = new Doubling(1_000, 5_000, 900);
    expect(looks.isDue(18_999)).toBe(false);
    expect(looks.isDue(19_000)).toBe(true);
    looks.ran(2_000, 21_000);
    expect(looks.isDue(60_999)).toBe(false);
    expect(looks.isDue(61_000)).toBe(true);
  });
});
