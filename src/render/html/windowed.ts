/** What a report's counts were in a chosen part of its time. Pure: the page shows it, tests hold it against the report. */
import type { PathRef, ProcessId } from '../../ledger/types.ts';
import type { Amounts, Levels, Timeline, TimelineFinding } from '../../report/timeline.ts';
import type { Failure, Finding, Report } from '../../report/types.ts';

/** Buckets of a timeline, both of them in it. */
export interface TimeWindow {
  from: number;
  to: number;
}

export function wholeWindow({ buckets }: Timeline): TimeWindow {
  return { from: 0, to: Math.max(0, buckets - 1) };
}

/** Whole buckets from `fromMs` to `toMs`, at least one; times outside of the timeline are taken to its ends. */
export function windowOf(timeline: Timeline, fromMs: number, toMs: number): TimeWindow {
  const bucketOf = (atMs: number): number => (atMs - timeline.startMs) / timeline.bucketMs;
  const last = wholeWindow(timeline).to;
  const within = (bucket: number): number => Math.min(last, Math.max(0, bucket));
  const from = within(Math.floor(bucketOf(fromMs)));
  return { from, to: Math.max(from, within(Math.ceil(bucketOf(toMs)) - 1)) };
}

/** When a window begins and ends, ms since the epoch. The last bucket may be longer than what there was to watch. */
export function timesOf(timeline: Timeline, { from, to }: TimeWindow, endMs: number): { fromMs: number; toMs: number } {
  const at = (bucket: number): number => Math.min(endMs, timeline.startMs + bucket * timeline.bucketMs);
  return { fromMs: at(from), toMs: at(to + 1) };
}

/** The latest level that was told until then; null when there was none. */
export function levelAt(levels: Levels, bucket: number): number | null {
  for (let i = Math.min(bucket, levels.length - 1); i >= 0; i -= 1) {
    const level = levels[i];
    if (level !== null && level !== undefined) return level;
  }
  return null;
}

/** From the first level that was told in or before the window to its last; null where fewer than two moments were. */
export function changeIn(levels: Levels, { from, to }: TimeWindow): number | null {
  const before = levelAt(levels, from);
  const after = levelAt(levels, to);
  return before === null || after === null || from === to ? null : after - before;
}

export function amountIn(amounts: Amounts, { from, to }: TimeWindow): number {
  let sum = 0;
  for (let i = from; i <= to; i += 1) sum += amounts[i] ?? 0;
  return sum;
}

/** Level by level; null where all are. */
export function sumOf(all: readonly Levels[]): Levels {
  const [first, ...others] = all;
  if (first === undefined) return [];
  return first.map((level, i) =>
    others.reduce<number | null>((sum, levels) => {
      const other = levels[i] ?? null;
      return other === null ? sum : (sum ?? 0) + other;
    }, level),
  );
}

/** `gone`: it had suspects in the window, and none any more when the report was made. */
export type FindingStatus = 'leak' | 'suspect' | 'released' | 'gone';

/** A finding as it was in a window. */
export interface WindowedFinding {
  key: string;
  status: FindingStatus;
  kind: Finding['kind'];
  errno: string | null;
  /** the report's; null of one that is not in it */
  finding: Finding | null;
  program: string | null;
  process: ProcessId | null;
  openPath: PathRef;
  bindPath: PathRef | null;
  /** at the end of the window; null where only the end of the whole is known */
  count: number | null;
  /** within the window */
  change: number | null;
  perMinute: number | null;
  ports: number | null;
  /** wall clock, ms: since when there is one of these, if that is known */
  sinceMs: number | null;
}

/** All findings that had a suspect at the end of the window, or whose suspects then are not known; the greatest first. */
export function findingsIn(report: Report, timeline: Timeline, window: TimeWindow): WindowedFinding[] {
  const followed = new Map(timeline.findings.map((one) => [one.key, one]));
  const atEnd = window.to >= wholeWindow(timeline).to;
  const endMs = Date.parse(report.window.endedAt);
  const reported = report.findings.map((finding): WindowedFinding => {
    const { key, kind, errno, openPath, bindPath, leak, process, oldestMs, oldestIsLowerBound } = finding;
    const levels = followed.get(key);
    return {
      key,
      kind,
      errno,
      openPath,
      bindPath,
      finding,
      status: leak ? 'leak' : kind === 'released' ? 'released' : 'suspect',
      program: levels?.program ?? null,
      process: process.status === 'measured' ? process.value : null,
      sinceMs: oldestIsLowerBound && oldestMs === 0 ? null : endMs - oldestMs,
      ...(levels === undefined
        ? { count: atEnd ? finding.count : null, change: null, perMinute: null, ports: atEnd ? finding.ports : null }
        : levelsIn(levels, timeline, window)),
    };
  });
  const known = new Set(report.findings.map(({ key }) => key));
  const gone = timeline.findings
    .filter(({ key }) => !known.has(key))
    .map((one): WindowedFinding => {
      const first = one.counts.findIndex((count) => count !== null && count > 0);
      return {
        key: one.key,
        kind: one.kind,
        errno: one.errno,
        openPath: one.openPath,
        bindPath: one.bindPath,
        finding: null,
        status: 'gone',
        program: one.program,
        process: one.process.status === 'measured' ? one.process.value : null,
        sinceMs:
          first < 0 || !isFollowed(one, timeline, first - 1) ? null : timeline.startMs + first * timeline.bucketMs,
        ...levelsIn(one, timeline, window),
      };
    });
  return [...reported, ...gone]
    .filter(({ count }) => count !== 0)
    .sort((a, b) => rank(a) - rank(b) || (b.count ?? -1) - (a.count ?? -1));
}

function rank({ status }: WindowedFinding): number {
  return status === 'leak' ? 0 : status === 'suspect' ? 1 : 2;
}

/** Whether it is known how many there were at the end of a bucket. */
function isFollowed({ followedFromMs }: TimelineFinding, { startMs, bucketMs }: Timeline, bucket: number): boolean {
  return followedFromMs === null || startMs + (bucket + 1) * bucketMs > followedFromMs;
}

function levelsIn(
  followed: TimelineFinding,
  timeline: Timeline,
  window: TimeWindow,
): Pick<WindowedFinding, 'count' | 'change' | 'perMinute' | 'ports'> {
  if (!isFollowed(followed, timeline, window.to)) return { count: null, change: null, perMinute: null, ports: null };
  const { counts, ports } = followed;
  const change = isFollowed(followed, timeline, window.from)
    ? (changeIn(counts, window) ?? (levelAt(counts, window.from) === null ? levelAt(counts, window.to) : null))
    : null;
  const minutes = ((window.to - window.from) * timeline.bucketMs) / 60_000;
  return {
    count: levelAt(counts, window.to) ?? 0,
    change,
    perMinute: change === null || minutes <= 0 ? null : change / minutes,
    ports: levelAt(ports, window.to) ?? 0,
  };
}

/** Suspects at the end of the window that are in none of its findings: the timeline does not follow the smallest. */
export function restOf(
  timeline: Timeline,
  window: TimeWindow,
  findings: readonly WindowedFinding[],
): { kind: Finding['kind']; count: number }[] {
  const told = new Map<Finding['kind'], number>();
  for (const { kind, count } of findings) told.set(kind, (told.get(kind) ?? 0) + (count ?? 0));
  return timeline.byKind
    .map(({ kind, counts }) => ({ kind, count: (levelAt(counts, window.to) ?? 0) - (told.get(kind) ?? 0) }))
    .filter(({ count }) => count > 0);
}

/** Failed calls of all processes of one name within a window. */
export interface WindowedFailure extends Pick<Failure, 'comm' | 'operation' | 'errno' | 'cause'> {
  count: number;
  /** by call path, the most frequent first */
  paths: { path: PathRef | null; count: number }[];
  /** those of the report: whose they are */
  reported: Failure[];
}

/** The most frequent first. */
export function failuresIn(report: Report, timeline: Timeline, window: TimeWindow): WindowedFailure[] {
  const reported = new Map<string, Failure[]>();
  for (const failure of report.failures.status === 'measured' ? report.failures.value : []) {
    const same = reported.get(failureKey(failure));
    if (same === undefined) reported.set(failureKey(failure), [failure]);
    else same.push(failure);
  }
  const sums = new Map<string, WindowedFailure>();
  for (const one of timeline.failures) {
    const count = amountIn(one.counts, window);
    if (count === 0) continue;
    const { comm, operation, errno, cause, path } = one;
    const key = failureKey(one);
    const sum = sums.get(key) ?? {
      comm,
      operation,
      errno,
      cause,
      count: 0,
      paths: [],
      reported: reported.get(key) ?? [],
    };
    sum.count += count;
    sum.paths.push({ path, count });
    sums.set(key, sum);
  }
  for (const { paths } of sums.values()) paths.sort((a, b) => b.count - a.count);
  return [...sums.values()].sort((a, b) => b.count - a.count);
}

function failureKey({
  comm,
  operation,
  errno,
  cause,
}: Pick<Failure, 'comm' | 'operation' | 'errno' | 'cause'>): string {
  return `${operation}|${errno}|${cause}|${comm}`;
}
