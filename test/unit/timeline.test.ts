import { describe, expect, it, vi } from 'vitest';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { Grid, MOST_BUCKETS } from '../../src/report/grid.ts';
import { mergeTimelines } from '../../src/report/merge-timelines.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Timeline } from '../../src/report/timeline.ts';
import { TimelineBuilder } from '../../src/report/timeline-builder.ts';
import type { Report } from '../../src/report/types.ts';
import { BOOT, ended, failure, hostSample, measured, process, row, session, socket, tick } from './facts.ts';
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

  /** Each owner's sockets are a finding of their own. */
  function ownedBy(owner: number, first: number, count: number, atMs: number): LedgerInput[] {
    const id = `${BOOT}:${100 + owner}:1`;
    return [
      process({ id, pid: 100 + owner, exe: measured(`/usr/bin/p${owner}`) }),
      ...Array.from({ length: count }, (_, i) => row(socket(first + i, atMs, { owner: measured(id) }))),
    ];
  }

  it('of more findings than it follows starts none for the smallest, over and over', () => {
    const made = vi.spyOn(Grid.prototype, 'levels');
    const many: LedgerInput[] = [session()];
    for (let owner = 0; owner < 3_000; owner++) many.push(...ownedBy(owner, 10 * owner, owner < 1_500 ? 2 : 1, 0));
    for (let second = 0; second < 40; second++) many.push(tick(second * 1_000));
    const before = made.mock.calls.length;
    const { timeline, report } = timelineOf(many);
    expect(made.mock.calls.length - before).toBeLessThan(2_100);
    expect(report.findings).toHaveLength(3_000);
    expect(timeline.byKind).toMatchObject([{ kind: 'unused' }]);
    expect(timeline.byKind[0]?.counts.at(-1)).toBe(4_500);
    const counts = new Map(report.findings.map(({ key, count }) => [key, count]));
    expect(timeline.findings).toHaveLength(200);
    for (const one of timeline.findings) expect(one).toMatchObject({ reported: true, followedFromMs: null });
    for (const { key, counts: levels } of timeline.findings) expect(levels.at(-1)).toBe(counts.get(key));
    made.mockRestore();
  });

  it('follows one that outgrows the smallest, and says since when', () => {
    const many: LedgerInput[] = [session()];
    for (let owner = 0; owner < 1_200; owner++) many.push(...ownedBy(owner, 10 * owner, owner < 1_000 ? 2 : 1, 0));
    for (let second = 0; second < 20; second++) many.push(tick(second * 1_000));
    many.push(...ownedBy(1_150, 50_000, 5, 20_000));
    for (let second = 20; second < 40; second++) many.push(tick(second * 1_000));
    const { timeline } = timelineOf(many);
    const late = timeline.findings.find(({ program }) => program === '/usr/bin/p1150');
    expect(late?.counts.at(-1)).toBe(6);
    // It is a suspect at an age of five seconds.
    expect(late?.followedFromMs).toBe(timeline.startMs + 25_000);
    expect(timeline.findings.filter(({ followedFromMs }) => followedFromMs === null)).toHaveLength(199);
  });

  it('of processes that share a finding, for some of which there was no room, does not follow it', () => {
    const many: LedgerInput[] = [session()];
    for (let owner = 0; owner < 1_500; owner++) {
      const id = `${BOOT}:${100 + owner}:1`;
      many.push(process({ id, pid: 100 + owner }), row(socket(owner, 0, { owner: measured(id) })));
    }
    for (let second = 0; second < 20; second++) many.push(tick(second * 1_000));
    const { timeline, report } = timelineOf(many);
    expect(report.findings).toMatchObject([{ count: 1_500, processes: 1_500 }]);
    expect(timeline.findings).toEqual([]);
    expect(timeline.byKind[0]?.counts.at(-1)).toBe(1_500);
  });

  it('of network namespaces beyond the most makes no columns', () => {
    const made = vi.spyOn(Grid.prototype, 'levels');
    const many: LedgerInput[] = [session()];
    for (let netns = 1; netns <= 100; netns++) many.push(row(socket(netns, 0, { netns, port: 5_000 })));
    for (let second = 0; second < 100; second++) many.push(tick(second * 1_000));
    const { timeline } = timelineOf(many);
    expect(timeline.sources[0]?.ports).toHaveLength(64);
    expect(made.mock.calls.length).toBeLessThan(200);
    made.mockRestore();
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
