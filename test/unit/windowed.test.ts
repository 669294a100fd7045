import { describe, expect, it } from 'vitest';
import { FlameTrees } from '../../src/render/html/flame-tree.ts';
import {
  amountIn,
  changeIn,
  failuresIn,
  findingsIn,
  levelAt,
  restOf,
  sumOf,
  timesOf,
  wholeWindow,
  windowOf,
} from '../../src/render/html/windowed.ts';
import type { Timeline, TimelineFinding } from '../../src/report/timeline.ts';
import { measured, OTHER, OWNER, resolved } from './facts.ts';
import { incidentWithPaths, reportOf } from './sample-report.ts';

const START = Date.UTC(2026, 10, 23, 3, 0, 0);
const report = reportOf(incidentWithPaths());

function timeline(facts: Partial<Timeline> = {}): Timeline {
  return {
    startMs: START,
    bucketMs: 10_000,
    buckets: 8,
    sources: [],
    byKind: [],
    findings: [],
    failures: [],
    ...facts,
  };
}

function followed(key: string, facts: Partial<TimelineFinding> = {}): TimelineFinding {
  return {
    key,
    reported: true,
    source: 0,
    kind: 'bind-failed',
    errno: 'EADDRINUSE',
    program: '/usr/sbin/leakyd',
    process: measured(OWNER),
    openPath: resolved('open1'),
    bindPath: resolved('bind1'),
    followedFromMs: null,
    counts: [null, 0, 2, 8, null, 18, 24, 29],
    ports: [0, 0, 0, 0, 0, 0, 0, 0],
    ...facts,
  };
}

describe('levels and amounts', () => {
  it('takes the latest level that was told', () => {
    expect(levelAt([null, 3, null, 5], 0)).toBe(null);
    expect(levelAt([null, 3, null, 5], 2)).toBe(3);
    expect(levelAt([null, 3, null, 5], 9)).toBe(5);
  });

  it('knows a change only between two moments', () => {
    expect(changeIn([1, 4, null, 9], { from: 0, to: 3 })).toBe(8);
    expect(changeIn([1, 4, null, 9], { from: 1, to: 2 })).toBe(0);
    expect(changeIn([null, 4], { from: 0, to: 1 })).toBe(null);
    expect(changeIn([1, 4], { from: 1, to: 1 })).toBe(null);
  });

  it('adds up what happened in the window and nothing else', () => {
    expect(amountIn([1, 2, 4, 8], { from: 1, to: 2 })).toBe(6);
  });

  it('adds levels, of which some are not known', () => {
    expect(
      sumOf([
        [null, 1, 2],
        [null, null, 5],
      ]),
    ).toEqual([null, 1, 7]);
    expect(sumOf([])).toEqual([]);
  });
});

describe('windows', () => {
  it('are whole buckets, at least one, within the timeline', () => {
    const at = (fromS: number, toS: number) => windowOf(timeline(), START + fromS * 1_000, START + toS * 1_000);
    expect(at(12, 35)).toEqual({ from: 1, to: 3 });
    expect(at(10, 30)).toEqual({ from: 1, to: 2 });
    expect(at(12, 13)).toEqual({ from: 1, to: 1 });
    expect(at(-50, 1_000)).toEqual(wholeWindow(timeline()));
    expect(at(500, 600)).toEqual({ from: 7, to: 7 });
  });

  it('end when the watching did', () => {
    expect(timesOf(timeline(), { from: 1, to: 7 }, START + 75_000)).toEqual({
      fromMs: START + 10_000,
      toMs: START + 75_000,
    });
  });
});

describe('findings of a window', () => {
  const [failed] = report.findings;
  const keys = report.findings.map(({ key }) => key);
  const one = timeline({ findings: [followed(failed?.key ?? '')] });

  it('are those of the report at the end of the whole', () => {
    const rows = findingsIn(report, one, wholeWindow(one));
    expect(rows.map(({ key }) => key)).toEqual(keys);
    expect(rows.map(({ count }) => count)).toEqual(report.findings.map(({ count }) => count));
    expect(rows[0]).toMatchObject({ status: 'leak', change: 29, count: 29 });
  });

  it('have the counts of its end, and say what they do not know', () => {
    const rows = findingsIn(report, one, { from: 2, to: 4 });
    expect(rows.find(({ key }) => key === keys[0])).toMatchObject({ count: 8, change: 6, perMinute: 18 });
    expect(rows.find(({ key }) => key === keys[1])).toMatchObject({ count: null, change: null, ports: null });
  });

  it('say of the time before they were followed that it is not known', () => {
    const late = timeline({ findings: [followed(keys[0] ?? '', { followedFromMs: START + 25_000 })] });
    const row = (window: { from: number; to: number }) =>
      findingsIn(report, late, window).find(({ key }) => key === keys[0]);
    const unknown = { count: null, change: null, perMinute: null, ports: null };
    expect(row({ from: 0, to: 1 })).toMatchObject(unknown);
    expect(row({ from: 0, to: 3 })).toMatchObject({ ...unknown, count: 8, ports: 0 });
    expect(row({ from: 2, to: 3 })).toMatchObject({ count: 8, change: 6 });
    expect(row(wholeWindow(late))).toMatchObject({ count: 29, change: null });
  });

  it('leave a rest where not all of them are followed', () => {
    const counts = [0, 0, 2, 8, 12, 18, 24, 40];
    const more = { ...one, byKind: [{ kind: 'bind-failed', counts } as const] };
    const rest = (window: { from: number; to: number }) => restOf(more, window, findingsIn(report, more, window));
    expect(rest({ from: 0, to: 4 })).toEqual([{ kind: 'bind-failed', count: 4 }]);
    expect(rest({ from: 0, to: 3 })).toEqual([]);
    expect(rest(wholeWindow(more))).toEqual([{ kind: 'bind-failed', count: 11 }]);
  });

  it('are left out where they had no socket', () => {
    expect(findingsIn(report, one, { from: 0, to: 1 }).map(({ key }) => key)).toEqual([keys[1]]);
  });

  it('tell of those that were gone before the end', () => {
    const gone = followed('gone', { reported: false, process: measured(OTHER), counts: [0, 5, 9, 0, 0, 0, 0, 0] });
    const both = timeline({ findings: [...one.findings, gone] });
    expect(findingsIn(report, both, wholeWindow(both)).map(({ key }) => key)).not.toContain('gone');
    expect(findingsIn(report, both, { from: 1, to: 2 }).find(({ key }) => key === 'gone')).toMatchObject({
      status: 'gone',
      finding: null,
      count: 9,
      change: 4,
      process: OTHER,
      sinceMs: START + 10_000,
    });
  });
});

describe('failed calls of a window', () => {
  const failing = {
    source: 0,
    comm: 'ftp',
    operation: 'connect',
    errno: 'EADDRNOTAVAIL',
    cause: 'no-free-port',
    path: null,
  } as const;
  const some = timeline({
    failures: [
      { ...failing, counts: [0, 1, 2, 4, 0, 0, 0, 0] },
      { ...failing, path: resolved('open1'), counts: [0, 0, 8, 0, 0, 0, 0, 0] },
      { ...failing, comm: 'cron', counts: [9, 0, 0, 0, 0, 0, 0, 0] },
    ],
  });

  it('are summed by program, with the paths apart and the processes of the report', () => {
    const [ftp, ...others] = failuresIn(report, some, { from: 1, to: 2 });
    expect(others).toEqual([]);
    expect(ftp).toMatchObject({ comm: 'ftp', count: 11 });
    expect(ftp?.paths).toEqual([
      { path: resolved('open1'), count: 8 },
      { path: null, count: 3 },
    ]);
    expect(ftp?.reported.map(({ process }) => process)).toEqual([OTHER]);
  });
});

describe('the tree of a flame graph', () => {
  const trees = new FlameTrees(report);
  const sample = { who: 'leakyd[1234]', path: resolved('open1'), what: 'bind-failed', count: 29 };

  function lineage(node: ReturnType<FlameTrees['of']>): string[] {
    return [node.name, ...(node.children[0] === undefined ? [] : lineage(node.children[0]))];
  }

  it('goes from the process through the callers to what was left', () => {
    const tree = trees.of([sample], false, 'all');
    expect(lineage(tree)).toEqual([
      'all',
      'leakyd[1234]',
      'main leak_worker.c:120',
      'service_loop leak_worker.c:88',
      'acquire_port leak_worker.c:41',
      'bind-failed',
    ]);
    expect(lineage(trees.of([sample], true, 'all')).length).toBeGreaterThan(lineage(tree).length);
  });

  it('joins what has the same beginning, and no box is less than what is in it', () => {
    const tree = trees.of(
      [sample, { ...sample, what: 'bound-inactive', count: 12 }, { ...sample, path: null, count: 1 }],
      false,
      'all',
    );
    expect(tree.value).toBe(42);
    expect(tree.children.map(({ value }) => value)).toEqual([42]);
    expect(tree.children[0]?.children.map(({ name, value }) => [name, value])).toEqual([
      ['main leak_worker.c:120', 41],
      ['call path not known', 1],
    ]);
  });

  it('sums up what is too much to draw', () => {
    const many = Array.from({ length: 500 }, (_, i) => ({ ...sample, who: `p${i}`, count: 1 + (i % 7) }));
    const tree = trees.of(many, false, 'all');
    expect(tree.children.at(-1)?.name).toBe('300 more');
    expect(tree.children.reduce((sum, { value }) => sum + value, 0)).toBe(tree.value);
  });
});
