/** The report of a later part of a trace: what happened before it is taken off the totals. */
import type { Known, PathCounters, PathId, ProcessActivity } from '../ledger/types.ts';
import { NOT_SAMPLED } from '../ledger/types.ts';
import { seenFailures } from './failures.ts';
import type { Failure, Finding, PathTotals, Report, ReportPorts, ReportProcess, SockstatReport } from './types.ts';

const MS_PER_MINUTE = 60_000;
/** A shorter time says nothing about a rate. */
const SHORTEST_MS = 10_000;
const NO_CENSUS_THEN = 'where that part of the trace begins, no census of the host was taken';

/** How things were where the part begins. */
export interface Baseline {
  report: Report;
  counters: ReadonlyMap<PathId, PathCounters>;
  /** whether calls are seen as they fail */
  failedCalls: Known<true> | undefined;
}

/**
 * What `after` says, less what had happened until `before`, an earlier time of the same trace. Suspects are those there
 * are at the end, however old; their growth is that of the part. What was lost may have been lost in it.
 */
export function reportSince({ report: before, counters, failedCalls }: Baseline, after: Report): Report {
  const durationMs = after.window.durationMs - before.window.durationMs;
  return {
    ...after,
    window: { ...after.window, startedAt: before.window.endedAt, durationMs },
    sockets: {
      ...after.sockets,
      opened: less(after.sockets.opened, before.sockets.opened),
      accepted: less(after.sockets.accepted, before.sockets.accepted),
      destroyed: less(after.sockets.destroyed, before.sockets.destroyed),
      arrived: less(after.sockets.arrived, before.sockets.arrived),
      preexisting: before.sockets.held,
      ...apartSince(before.sockets, after.sockets),
    },
    processes: processesSince(before.processes, after.processes),
    ...callPathsSince(counters, after),
    findings: findingsSince(before.findings, after.findings, durationMs),
    failures:
      before.failures.status === 'measured' && after.failures.status === 'measured'
        ? seenFailures(failedCalls, failuresSince(before.failures.value, after.failures.value))
        : after.failures,
    sockstat: sockstatSince(before.sockstat, after.sockstat),
    ports:
      after.ports.status === 'measured'
        ? { status: 'measured', value: after.ports.value.map(withoutGrowth) }
        : after.ports,
  };
}

/** Counts that did not belong together where the part begins do not do so at its end either. */
function apartSince(
  { apart: then }: Report['sockets'],
  { apart: now }: Report['sockets'],
): Pick<Report['sockets'], 'apart'> {
  if (then === undefined) return {};
  return { apart: `where this part begins, ${then}${now === undefined ? '' : `; at its end, ${now}`}` };
}

function less(after: number | null, before: number | null): number | null {
  return after === null || before === null ? null : after - before;
}

function processesSince(before: readonly ReportProcess[], after: readonly ReportProcess[]): ReportProcess[] {
  const earlier = new Map(before.map(({ id, activity }) => [id, activity]));
  return after.map((process) => {
    const then = earlier.get(process.id);
    if (process.activity.status === 'unavailable' || then?.status !== 'measured') return process;
    return { ...process, activity: { status: 'measured', value: minus(process.activity.value, then.value) } };
  });
}

function minus<T extends ProcessActivity | Omit<PathTotals, 'held'>>(after: T, before: T): T {
  return Object.fromEntries(
    Object.entries(after).map(([name, count]: [string, number]) => [name, count - (before[name as keyof T] as number)]),
  ) as unknown as T;
}

function callPathsSince(
  counters: Baseline['counters'],
  { callPaths, callPathsNotSampled, callPathsNotListed }: Report,
): Pick<Report, 'callPaths' | 'callPathsNotSampled' | 'callPathsNotListed'> {
  if (callPaths.status === 'unavailable') return { callPaths, callPathsNotSampled, callPathsNotListed };
  const listed = new Set([NOT_SAMPLED, ...callPaths.value.map(({ id }) => id)]);
  const rest = [...counters].filter(([id]) => !listed.has(id)).map(([, then]) => then);
  return {
    callPaths: {
      status: 'measured',
      value: callPaths.value.map((path) => ({ ...path, counters: totalsSince(path.counters, counters.get(path.id)) })),
    },
    callPathsNotSampled: totalsSince(callPathsNotSampled, counters.get(NOT_SAMPLED)),
    callPathsNotListed:
      callPathsNotListed === null
        ? null
        : {
            ...callPathsNotListed,
            counters: rest.reduce((sum, then) => totalsSince(sum, then) ?? sum, callPathsNotListed.counters),
          },
  };
}

/** All but `held`, which is how many there are. */
function totalsSince(after: PathTotals | null, before: PathCounters | undefined): PathTotals | null {
  if (after === null || before === undefined) return after;
  const { held, ...totals } = after;
  const { sockets: _sockets, ended: _ended, ...then } = before;
  return { ...minus(totals, then), held };
}

function findingsSince(before: readonly Finding[], after: readonly Finding[], durationMs: number): Finding[] {
  const earlier = new Map(before.map(({ key, count }) => [key, count]));
  return after.map((finding) => ({
    ...finding,
    perMinute:
      durationMs < SHORTEST_MS
        ? null
        : ((finding.count - (earlier.get(finding.key) ?? 0)) / durationMs) * MS_PER_MINUTE,
  }));
}

/**
 * Of each program: rows of processes may have been summed up meanwhile, so what is not found again as a row of its own is
 * part of the sum.
 */
function failuresSince(before: readonly Failure[], after: readonly Failure[]): Failure[] {
  const alone = new Set(after.filter(({ processes }) => processes === 1).map(keyOf));
  const earlier = new Map<string, number>();
  for (const failure of before) {
    const key = alone.has(keyOf(failure)) ? keyOf(failure) : sumKeyOf(failure);
    earlier.set(key, (earlier.get(key) ?? 0) + failure.count);
  }
  return after
    .map((failure) => {
      const then = earlier.get(failure.processes === 1 ? keyOf(failure) : sumKeyOf(failure)) ?? 0;
      return { ...failure, count: failure.count - then };
    })
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count);
}

function keyOf({ process, processes, operation, errno, cause, netns }: Failure): string {
  return `${processes === 1 ? process : ''}|${operation}|${errno}|${cause}|${netns}`;
}

function sumKeyOf({ comm, operation, errno, cause, netns }: Failure): string {
  return `sum of ${comm}|${operation}|${errno}|${cause}|${netns}`;
}

function sockstatSince(before: Report['sockstat'], after: Report['sockstat']): Report['sockstat'] {
  if (after.status === 'unavailable') return after;
  if (before.status === 'unavailable') return before;
  const then = before.value;
  return { status: 'measured', value: { ...after.value, before: then.after, moved: movedSince(then, after.value) } };
}

function movedSince(before: SockstatReport, after: SockstatReport): SockstatReport['moved'] {
  if (after.moved.status === 'unavailable') return after.moved;
  if (before.moved.status === 'unavailable') return before.moved;
  const [then, now] = [before.moved.value, after.moved.value];
  return {
    status: 'measured',
    value: {
      alloc: now.alloc - then.alloc,
      opened: now.opened - then.opened,
      cloned: now.cloned - then.cloned,
      destroyed: now.destroyed - then.destroyed,
      unexplained: now.unexplained - then.unexplained,
    },
  };
}

function withoutGrowth(ports: ReportPorts): ReportPorts {
  const unknown = { status: 'unavailable', reason: NO_CENSUS_THEN } as const;
  const holders = ports.holders.map((holder) => ({ ...holder, before: null, perMinute: null }));
  const isFull = ports.free.status === 'measured' && ports.free.value === 0;
  return { ...ports, holders, perMinute: unknown, msToFull: isFull ? ports.msToFull : unknown };
}
