/** The report document, from a ledger. Deterministic: the same inputs give the same document. */

import { allocMovement } from '../accounting/sockstat.ts';
import { findingsOf } from '../ledger/findings.ts';
import { formatCount } from '../ledger/format-count.ts';
import type { CensusInput, Ledger } from '../ledger/ledger.ts';
import { type Known, LOSS_CODES, type Loss, type LossCode, type SessionFacts } from '../ledger/types.ts';
import { decideVerdict } from '../ledger/verdict.ts';
import { unusedAllowances, withAllowances } from './allow.ts';
import { reportedCallPaths } from './call-paths.ts';
import { reportedFailures, seenFailures } from './failures.ts';
import { NO_CENSUS, portsOf } from './ports.ts';
import { reportedProcesses } from './processes.ts';
import { type Finding, type Report, SCHEMA_VERSION, type SockstatReport } from './types.ts';

const NO_CALL_PATHS = 'this version does not capture call paths';
const NO_SNAPSHOT = 'a trace does not list every socket: socktrace snapshot does';

/**
 * Builds the report of everything that `ledger` holds.
 * @param nowMs the instant to report at, CLOCK_MONOTONIC ms
 * @throws Error when the ledger has had no `session` input: who traced whom is then not known
 */
export function buildReport(ledger: Ledger, nowMs: number = ledger.nowMs): Report {
  const { session } = ledger;
  if (session === null) throw new Error('a report needs the session line, and the ledger has had none');
  const findings = withAllowances(findingsOf(ledger, nowMs), session.allow ?? [], ledger);
  const failures = reportedFailures(ledger.failures());
  const losses = ledger.losses().sort((a, b) => b.count - a.count || (a.code < b.code ? -1 : 1));
  const window = windowOf(session, nowMs);
  const ports = portsOf(ledger);
  return {
    schemaVersion: SCHEMA_VERSION,
    tool: session.tool,
    host: session.host,
    target: session.target,
    window,
    verdict: decideVerdict(
      findings.map((finding) => ({ ...finding, of: ownersOf(ledger, finding) })),
      losses,
      blindnessOf(ledger, window),
    ),
    loss: {
      complete: losses.length === 0,
      reasons: losses.map(({ code, count }) => ({ code, what: LOSS_CODES[code], count })),
    },
    sockets: accountsOf(ledger, session, losses),
    processes: reportedProcesses(ledger, session.target.processes, findings, failures, ports),
    ...reportedCallPaths(ledger.callPaths, session.callPaths ?? unavailable(NO_CALL_PATHS), findings, failures),
    findings,
    ...unusedOf(unusedAllowances(findings, session.allow ?? [], ledger)),
    failures: seenFailures(session.failedCalls, failures),
    sockstat: sockstatOf(ledger),
    ports,
    ...lookedAtOf(ledger, session),
    snapshot: unavailable(NO_SNAPSHOT),
  };
}

function unusedOf(patterns: string[]): Pick<Report, 'unusedAllowances'> {
  return patterns.length === 0 ? {} : { unusedAllowances: patterns };
}

/** `leakyd[1234]`, as verdicts name them. */
export function ownersOf(ledger: Ledger, { process, processes }: Finding): string {
  if (processes > 1) return `${formatCount(processes)} processes`;
  const facts = process.status === 'measured' ? ledger.process(process.value)?.facts : undefined;
  return facts === undefined ? 'an unknown process' : `${facts.comm}[${facts.pid}]`;
}

/** What makes "no leak" uncertain although nothing was lost. */
function blindnessOf(ledger: Ledger, { durationMs, leakAgeMs }: Report['window']): string[] {
  const lives = [...ledger.processes()].some(
    ({ activity, facts }) => activity.status === 'measured' && facts.exitedMs === null,
  );
  return [
    ...(ledger.lastSample === null ? ['the counters of the hooks were never read'] : []),
    ...(ledger.hasTraced ? [] : ['no process that matches what was to be traced: nothing was']),
    // What exited was seen to its end.
    ...(lives && durationMs < leakAgeMs
      ? ['a trace shorter than --leak-age, before which nothing counts as a leak']
      : []),
  ];
}

function windowOf({ clock, thresholds }: SessionFacts, nowMs: number): Report['window'] {
  const durationMs = Math.max(0, nowMs - clock.monotonicMs);
  return {
    startedAt: new Date(clock.wallMs).toISOString(),
    // Elapsed time is the monotonic clock's, so a clock that was set meanwhile does not stretch the window.
    endedAt: new Date(clock.wallMs + durationMs).toISOString(),
    durationMs,
    ...thresholds,
  };
}

/** Sockets that could not be followed are in no sum. */
const UNCOUNTED: readonly LossCode[] = ['socket-table-full', 'socket-insert-failed', 'process-table-full'];

function accountsOf(ledger: Ledger, session: SessionFacts, losses: readonly Loss[]): Report['sockets'] {
  const tracked = ledger.lastSample?.tracked;
  return {
    opened: tracked?.opened ?? null,
    accepted: tracked?.accepted ?? null,
    destroyed: tracked?.destroyed ?? null,
    held:
      tracked === undefined || losses.some(({ code }) => UNCOUNTED.includes(code))
        ? null
        : tracked.opened + tracked.accepted + tracked.preexisting + tracked.arrived - tracked.destroyed,
    preexisting: tracked?.preexisting ?? null,
    arrived: tracked?.arrived ?? null,
    ...apartOf(ledger, session),
    byKind: ledger.countByKind(),
  };
}

/** At the end both are read at one time. On the way there, each is as old as its last reading. */
function apartOf(ledger: Ledger, session: SessionFacts): Pick<Report['sockets'], 'apart'> {
  const { lastSample } = ledger;
  if (lastSample === null) return {};
  const { opened, accepted } = ledger.activityTotals();
  const { tracked, atMs } = lastSample;
  if (opened === tracked.opened && accepted === tracked.accepted) return {};
  return {
    apart: `these were counted at ${wallTimeOf(session, atMs)}, what the processes did at another time: opened ${formatCount(opened)}, accepted ${formatCount(accepted)}`,
  };
}

/** The census at the end comes after the last sample. */
function lookedAtOf({ lastSample, lastCensus }: Ledger, session: SessionFacts): Pick<Report, 'lookedAt'> {
  if (lastSample === null || lastCensus === null || lastCensus.atMs >= lastSample.atMs) return {};
  return { lookedAt: wallTimeOf(session, lastCensus.atMs) };
}

function wallTimeOf({ clock }: SessionFacts, atMs: number): string {
  return new Date(clock.wallMs + (atMs - clock.monotonicMs)).toISOString();
}

function sockstatOf({ firstSample, lastSample, lastCensus }: Ledger): Known<SockstatReport> {
  if (firstSample === null || lastSample === null || firstSample === lastSample) {
    return unavailable('/proc/net/sockstat was read less than twice');
  }
  if (firstSample.sockstat.status === 'unavailable') return firstSample.sockstat;
  if (lastSample.sockstat.status === 'unavailable') return lastSample.sockstat;
  const before = firstSample.sockstat.value;
  const after = lastSample.sockstat.value;
  return {
    status: 'measured',
    value: {
      before,
      after,
      moved: {
        status: 'measured',
        value: allocMovement(before, after, firstSample.counters, lastSample.counters),
      },
      ...classesOf(lastCensus),
    },
  };
}

/** What a census says of `alloc`. */
export function classesOf(
  census: CensusInput | null,
): Pick<SockstatReport, 'classes' | 'unplaced' | 'allocWhenClassified' | 'unseen'> {
  const seen = census?.seen ?? unavailable(NO_CENSUS);
  if (seen.status === 'unavailable') return { classes: seen, unplaced: seen, allocWhenClassified: seen, unseen: [] };
  const { classes, unplaced, alloc } = seen.value.classes;
  return { classes: measured(classes), unplaced, allocWhenClassified: alloc, unseen: seen.value.unseen };
}

function measured<T>(value: T): Known<T> {
  return { status: 'measured', value };
}

function unavailable(reason: string): { status: 'unavailable'; reason: string } {
  return { status: 'unavailable', reason };
}
