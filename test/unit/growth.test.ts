import { describe, expect, it } from 'vitest';
import { GrowthSeries } from '../../src/ledger/growth.ts';

/** A series that had `countAt(second)` suspects at each second from 1 to `seconds`. */
function watched(
  seconds: number,
  countAt: (second: number) => number,
  fromStartAt: (second: number) => number = () => 0,
) {
  const series = new GrowthSeries(0);
  for (let second = 1; second <= seconds; second += 1) {
    series.add(second * 1_000, { count: countAt(second), fromStart: fromStartAt(second) });
  }
  const now = { count: countAt(seconds), fromStart: fromStartAt(seconds) };
  return {
    growing: series.isGrowing(seconds * 1_000, now),
    perMinute: series.perMinute(seconds * 1_000, now),
  };
}

describe('GrowthSeries', () => {
  it('tells a steady leak and its rate, however long it is watched', () => {
    for (const seconds of [12, 60, 3_600, 20_000]) {
      const { growing, perMinute } = watched(seconds, (second) => second);
      expect(growing, `${seconds}s`).toBe(true);
      expect(perMinute, `${seconds}s`).toBeCloseTo(60, 5);
    }
  });

  it('does not call a burst at the start growth that goes on', () => {
    expect(watched(600, (second) => Math.min(second, 30))).toEqual({ growing: false, perMinute: 0 });
    // All in one instant: a rate while it may go on, none when it has not.
    const burst = (second: number) => (second < 6 ? 0 : 539);
    expect(watched(11, burst).perMinute).toBeGreaterThan(1_000);
    for (const seconds of [17, 30, 600, 20_000]) expect(watched(seconds, burst).perMinute, `${seconds}s`).toBe(0);
  });

  it('tells the rate of late, not that of the whole watch', () => {
    expect(watched(600, (second) => Math.max(0, second - 300)).perMinute).toBeCloseTo(60, -1);
    expect(watched(600, (second) => Math.max(0, second - 450)).perMinute).toBeCloseTo(30, -1);
  });

  it('does not call what shrinks or swings growth', () => {
    expect(watched(600, (second) => 600 - second)).toMatchObject({ growing: false });
    expect(watched(600, (second) => 5 + (second % 7 < 3 ? 1 : 0)).growing).toBe(false);
  });

  it('takes no notice of sockets that only come to be known', () => {
    const known = (second: number) => (second < 5 ? 0 : second < 30 ? 40 : 45);
    expect(watched(60, known, known)).toEqual({ growing: false, perMinute: 0 });
  });

  it('counts what goes and is replaced as no growth', () => {
    const old = (second: number) => 41 - second;
    const { growing, perMinute } = watched(30, () => 40, old);
    expect(growing).toBe(false);
    expect(perMinute).toBeCloseTo(0, 5);
  });

  it('compares with the first count when watching had only begun', () => {
    const series = new GrowthSeries(null);
    series.add(0, { count: 7, fromStart: 0 });
    series.add(60_000, { count: 7, fromStart: 0 });
    expect(series.perMinute(60_000, { count: 7, fromStart: 0 })).toBe(0);
    expect(series.isGrowing(60_000, { count: 7, fromStart: 0 })).toBe(false);
  });
});
