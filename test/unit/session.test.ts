import { describe, expect, it } from 'vitest';
import { COUNTERS, type CounterName } from '../../src/kernel/layout.ts';
import { lossesOf } from '../../src/session/losses.ts';
import { Pace } from '../../src/session/pace.ts';

const NONE = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<CounterName, number>;

describe('losses', () => {
  it('none when nothing was counted', () => {
    expect(
      lossesOf(
        NONE,
        new Map([
          ['state_first', 40],
          ['state_second', 7],
        ]),
        0,
      ),
    ).toEqual([]);
  });

  it('every counter of loss has a code, and only those', () => {
    for (const counter of COUNTERS) {
      const codes = lossesOf({ ...NONE, [counter]: 3 }, new Map(), 0);
      const counts = counter.startsWith('loss_') || counter === 'confirm_repaired' ? [3] : [];
      expect(codes.map(({ count }) => count)).toEqual(counts);
    }
  });

  it('a program that nobody stands in for, and walks that failed', () => {
    expect(lossesOf(NONE, new Map([['syscall_exit', 2]]), 1)).toEqual([
      { code: 'syscall-exit-missed', count: 2 },
      { code: 'iterator-failed', count: 1 },
    ]);
  });
});

describe('pace', () => {
  it('a quick job runs at the shortest interval', () => {
    const pace = new Pace(250, 0);
    expect(pace.isDue(249)).toBe(false);
    expect(pace.isDue(250)).toBe(true);
    pace.ran(250, 251);
    expect(pace.isDue(500)).toBe(false);
    expect(pace.isDue(501)).toBe(true);
  });

  it('a slow job takes a hundredth of the time', () => {
    const pace = new Pace(250, 0);
    pace.ran(1000, 1030);
    expect(pace.isDue(4029)).toBe(false);
    expect(pace.isDue(4030)).toBe(true);
  });
});
