/** The call paths that a report shows, and the sums of all others. */
import type { CallPathStore } from '../ledger/call-paths.ts';
import { compareText } from '../ledger/order.ts';
import { type Known, NOT_SAMPLED, type PathCounters, type PathId, type PathRef } from '../ledger/types.ts';
import type { Failure, Finding, PathTotals, Report, ReportCallPath } from './types.ts';

/** Busy paths fill up to this many; what findings and failures refer to is always listed. */
const MOST_PATHS = 100;

const NONE: PathTotals = {
  opened: 0,
  accepted: 0,
  bound: 0,
  bindFailed: 0,
  connected: 0,
  connectFailed: 0,
  listened: 0,
  closedUnused: 0,
  held: 0,
};

/** @param captured whether call paths were captured at all */
export function reportedCallPaths(
  store: CallPathStore,
  captured: Known<true>,
  findings: readonly Finding[],
  failures: readonly Failure[],
): Pick<Report, 'callPaths' | 'callPathsNotSampled' | 'callPathsNotListed'> {
  if (captured.status === 'unavailable')
    return { callPaths: captured, callPathsNotSampled: null, callPathsNotListed: null };
  const referred = referredPaths(findings, failures);
  const all = [...store.paths()].map((path) => ({ ...path, counters: totalsOf(store.countersOf(path.id)) }));
  const ordered = all.sort((a, b) => Number(referred.has(b.id)) - Number(referred.has(a.id)) || compareBusyness(a, b));
  const listed = ordered.slice(0, Math.max(MOST_PATHS, ordered.findLastIndex(({ id }) => referred.has(id)) + 1));
  const notSampled = totalsOf(store.countersOf(NOT_SAMPLED));
  return {
    callPaths: { status: 'measured', value: listed.sort(compareBusyness) },
    callPathsNotSampled: notSampled,
    callPathsNotListed: restOf(store, new Set(listed.map(({ id }) => id))),
  };
}

function referredPaths(findings: readonly Finding[], failures: readonly Failure[]): Set<PathId> {
  const refs: (PathRef | null)[] = [
    ...findings.flatMap(({ openPath, bindPath }) => [openPath, bindPath]),
    ...failures.map(({ path }) => path),
  ];
  return new Set(refs.flatMap((ref) => (ref?.status === 'resolved' ? [ref.id] : [])));
}

/** Most opened first; of paths that open nothing, those that bind most. */
function compareBusyness(a: ReportCallPath, b: ReportCallPath): number {
  const [left, right] = [a.counters ?? NONE, b.counters ?? NONE];
  return (
    right.opened + right.accepted - (left.opened + left.accepted) ||
    right.held - left.held ||
    right.bound + right.bindFailed - (left.bound + left.bindFailed) ||
    compareText(a.id, b.id)
  );
}

/** Paths whose frames were never told have counters too. */
function restOf(store: CallPathStore, listed: ReadonlySet<PathId>): Report['callPathsNotListed'] {
  const rest = [...store.counted()].filter(([id]) => id !== NOT_SAMPLED && !listed.has(id));
  const uncounted = [...store.paths()].filter(({ id }) => !listed.has(id) && store.countersOf(id) === undefined);
  const paths = rest.length + uncounted.length;
  if (paths === 0) return null;
  return { paths, counters: rest.reduce((sum, [, counters]) => plus(sum, toTotals(counters)), NONE) };
}

function totalsOf(counters: PathCounters | undefined): PathTotals | null {
  return counters === undefined ? null : toTotals(counters);
}

function toTotals({ sockets, ended, ...counters }: PathCounters): PathTotals {
  // The counters of one path are not read in one instant.
  return { ...counters, held: Math.max(0, sockets - ended) };
}

function plus(a: PathTotals, b: PathTotals): PathTotals {
  return {
    opened: a.opened + b.opened,
    accepted: a.accepted + b.accepted,
    bound: a.bound + b.bound,
    bindFailed: a.bindFailed + b.bindFailed,
    connected: a.connected + b.connected,
    connectFailed: a.connectFailed + b.connectFailed,
    listened: a.listened + b.listened,
    closedUnused: a.closedUnused + b.closedUnused,
    held: a.held + b.held,
  };
}
