import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { MOST_BUCKETS } from '../../src/report/grid.ts';
import { mergeTimelines } from '../../src/report/merge-timelines.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Timeline } from '../../src/report/timeline.ts';
import { TimelineBuilder } from '../../src/report/timeline-builder.ts';
import type { Report } from '../../src/report/types.ts';
import { ended, failure, hostSample, row, session, socket, tick } from './facts.ts';
import { incidentWithPaths } from './sample-report.ts';

function timelineOf(inputs: readonly LedgerInput[]): { timeline: Timeline; report: Report } {
  const ledger = new Ledger();
  const builder = new TimelineBuilder(ledger);
  for (const input of inputs) {
    ledger.apply(input);
    builder.take(input);
  }
  const report = buildReport(ledger);
  const timeline = builder.finish(report);
  if (timeline === null) throw new Error('no timeline');
  return { timeline, report };
}

describe('the timeline', () => {
  it('ends where the report is: each finding, each kind, each sum', () => {
    const { timeline, report } = timelineOf(incidentWithPaths());
    expect(
      timeline.findings.map(({ key, reported, counts, ports }) => [key, reported, counts.at(-1), ports.at(-1)]),
    ).toEqual(report.findings.map(({ key, count, ports }) => [key, true, count, ports]));
    expect(new Map(timeline.byKind.map(({ kind, counts }) => [kind, counts.at(-1)]))).toEqual(
      new Map([
        ['bind-failed', 29],
        ['bound-inactive', 12],
      ]),
    );
    expect(timeline.sources[0]?.alloc.at(-1)).toBe(1_856);
    expect(timeline.sources[0]?.opened.reduce((sum, count) => sum + count, 0)).toBe(41);
    const failures = report.failures.status === 'measured' ? report.failures.value : [];
    const total = (counts: readonly number[]): number => counts.reduce((sum, count) => sum + count, 0);
    expect(timeline.failures.reduce((sum, { counts }) => sum + total(counts), 0)).toBe(
      failures.reduce((sum, { count }) => sum + count, 0),
    );
    expect(timeline.startMs).toBe(Date.parse(report.window.startedAt));
    expect(timeline).toMatchObject({ bucketMs: 1_000, buckets: 81 });
  });

  it('tells when each of them came, and that some have gone', () => {
    const sockets = [socket(1, 2_000), socket(2, 10_000)];
    const { timeline } = timelineOf([
      session(),
      ...Array.from({ length: 30 }, (_, second): LedgerInput[] => [
        ...sockets.filter(({ changedMs }) => changedMs === second * 1_000).map(row),
        ...(second === 25 ? sockets.map((facts) => ended(facts, 25_000)) : []),
        tick(second * 1_000),
      ]).flat(),
    ]);
    const [finding] = timeline.findings;
    expect(finding?.reported).toBe(false);
    expect(finding?.counts.slice(6, 8)).toEqual([0, 1]);
    expect(finding?.counts.slice(14, 16)).toEqual([1, 2]);
    expect(finding?.counts.slice(24, 26)).toEqual([2, 0]);
  });

  it('counts failed calls in the bucket in which they were told', () => {
    const { timeline } = timelineOf([
      session(),
      tick(1_000),
      failure({ count: 3 }),
      tick(5_500),
      failure({ count: 10 }),
      failure({ count: 10 }),
      tick(9_000),
    ]);
    expect(timeline.failures).toHaveLength(1);
    expect(timeline.failures[0]?.counts).toEqual([0, 3, 0, 0, 0, 7, 0, 0, 0, 0]);
  });

  it('of any length stays small, and keeps its sums', () => {
    const inputs: LedgerInput[] = [session(), row(socket(1, 0))];
    const seconds = 20_000;
    for (let second = 0; second < seconds; second++)
      inputs.push(
        hostSample(second * 1_000, second, {}, { opened: 2 * second, destroyed: second }),
        tick(second * 1_000),
      );
    const { timeline } = timelineOf(inputs);
    expect(timeline.buckets).toBeLessThanOrEqual(MOST_BUCKETS);
    expect(timeline.buckets).toBeGreaterThan(MOST_BUCKETS / 2);
    const [source] = timeline.sources;
    expect(source?.opened.reduce((sum, count) => sum + count, 0)).toBe(2 * (seconds - 1));
    expect(source?.alloc.at(-1)).toBe(seconds - 1);
    expect(source?.alloc).not.toContain(null);
    expect(timeline.findings[0]?.counts.filter((count) => count === 1).length).toBeGreaterThan(MOST_BUCKETS / 2);
  });

  it('of several recordings has one axis, by the wall clock', () => {
    const later = session({ clock: { monotonicMs: 500_000, wallMs: Date.UTC(2026, 10, 23, 3, 1, 0) } });
    const a = timelineOf([session(), hostSample(0, 5), tick(0), hostSample(40_000, 7), tick(40_000)]).timeline;
    const b = timelineOf([
      later,
      hostSample(500_000, 100),
      tick(500_000),
      hostSample(530_000, 90),
      tick(530_000),
    ]).timeline;
    const merged = mergeTimelines([a, b], ['a', 'b']);
    expect(merged.startMs).toBe(a.startMs);
    expect(merged.sources.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(merged.sources[0]?.alloc[40]).toBe(7);
    expect(merged.sources[1]?.alloc[60]).toBe(100);
    expect(merged.sources[1]?.alloc[90]).toBe(90);
    expect(merged.buckets).toBe(91);
  });
});
