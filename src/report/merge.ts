/** One report of several recordings, each finding and failure with the name of its source. */
import { SOCKET_KINDS } from '../ledger/kinds.ts';
import { compareText } from '../ledger/order.ts';
import { type Known, LOSS_CODES, type LossCode, type Verdict } from '../ledger/types.ts';
import type { Failure, Finding, PathTotals, Report, ReportCallPath, ReportSource } from './types.ts';

const OF_ITS_OWN = 'several recordings: each has its own, under `sources`';

export interface NamedReport {
  /** of the recording: unique */
  name: string;
  report: Report;
}

/**
 * Adds up what may be added. What describes one host at one time stays with its source. Times are of the hosts' wall
 * clocks; processes have boot ids in their names, so those of different hosts are different ones.
 */
export function mergeReports(named: readonly [NamedReport, ...NamedReport[]]): Report {
  const reports = named.map(({ report }) => report);
  const [first] = named;
  const { lookedAt: _ofItsOwn, unusedAllowances: _too, ...common } = first.report;
  const findings = named.flatMap(({ name, report }) => report.findings.map((finding) => withSource(finding, name)));
  findings.sort((a, b) => Number(b.leak) - Number(a.leak) || b.count - a.count || compareText(a.key, b.key));
  return {
    ...common,
    host: hostOf(named),
    target: {
      pids: unique(reports.flatMap(({ target }) => target.pids)),
      processes: unique(reports.flatMap(({ target }) => target.processes)),
      follow: reports.some(({ target }) => target.follow),
    },
    window: windowOf(reports),
    verdict: verdictOf(named, findings),
    loss: lossOf(reports),
    sockets: socketsOf(reports),
    processes: [
      ...new Map(reports.flatMap(({ processes }) => processes.map((process) => [process.id, process]))).values(),
    ],
    ...callPathsOf(reports),
    findings,
    ...unusedOf(reports),
    failures: failuresOf(named),
    sockstat: { status: 'unavailable', reason: OF_ITS_OWN },
    ports: { status: 'unavailable', reason: OF_ITS_OWN },
    sources: named.map(sourceOf),
  };
}

/** Patterns that matched nothing in any of them: what one recording has no use for may be for another. */
function unusedOf(reports: readonly Report[]): Pick<Report, 'unusedAllowances'> {
  const [first = [], ...others] = reports.map(({ unusedAllowances = [] }) => unusedAllowances);
  const unused = first.filter((pattern) => others.every((patterns) => patterns.includes(pattern)));
  return unused.length === 0 ? {} : { unusedAllowances: unused };
}

function withSource(finding: Finding, source: string): Finding {
  return { ...finding, key: keyIn(source, finding.key), source };
}

/** Equal findings of two recordings are two findings. */
function keyIn(source: string, key: string): string {
  return `${key}@${source}`;
}

function sourceOf({ name, report }: NamedReport): ReportSource {
  const { tool, host, target, window, verdict, loss, sockets, sockstat, ports, lookedAt } = report;
  const when = lookedAt === undefined ? {} : { lookedAt };
  return { name, tool, host, target, window, verdict, loss, sockets, sockstat, ports, ...when };
}

function hostOf(named: readonly [NamedReport, ...NamedReport[]]): Report['host'] {
  const hosts = named.map(({ report }) => report.host);
  const join = (of: (host: Report['host']) => string): string => unique(hosts.map(of)).join(', ');
  return {
    hostname: join(({ hostname }) => hostname),
    bootId: join(({ bootId }) => bootId),
    kernel: join(({ kernel }) => kernel),
    hooks: {
      set: named[0].report.host.hooks.set,
      refused: named.flatMap(({ name, report }) =>
        report.host.hooks.refused.map(({ set, reason }) => ({ set, reason: `${name}: ${reason}` })),
      ),
      blindSpots: unique(hosts.flatMap(({ hooks }) => hooks.blindSpots)),
    },
  };
}

function windowOf(reports: readonly Report[]): Report['window'] {
  const startMs = Math.min(...reports.map(({ window }) => Date.parse(window.startedAt)));
  const endMs = Math.max(...reports.map(({ window }) => Date.parse(window.endedAt)));
  const least = (of: (window: Report['window']) => number): number =>
    Math.min(...reports.map(({ window }) => of(window)));
  return {
    startedAt: new Date(startMs).toISOString(),
    endedAt: new Date(endMs).toISOString(),
    durationMs: endMs - startMs,
    minAgeMs: least(({ minAgeMs }) => minAgeMs),
    leakAgeMs: least(({ leakAgeMs }) => leakAgeMs),
    idleLeakAgeMs: least(({ idleLeakAgeMs }) => idleLeakAgeMs),
    leakCount: least(({ leakCount }) => leakCount),
  };
}

function verdictOf(named: readonly NamedReport[], findings: readonly Finding[]): Verdict {
  const leaks = findings.filter(({ leak }) => leak).map(({ key }) => key);
  if (leaks.length > 0) return { is: 'leak', findings: leaks };
  const because = named.flatMap(({ name, report: { verdict } }) =>
    verdict.is === 'not-known' ? verdict.because.map((reason) => `${name}: ${reason}`) : [],
  );
  return because.length > 0 ? { is: 'not-known', because } : { is: 'no-leak' };
}

function lossOf(reports: readonly Report[]): Report['loss'] {
  const counts = new Map<LossCode, number>();
  for (const { loss } of reports)
    for (const { code, count } of loss.reasons) counts.set(code, (counts.get(code) ?? 0) + count);
  return {
    complete: reports.every(({ loss }) => loss.complete),
    reasons: [...counts]
      .map(([code, count]) => ({ code, what: LOSS_CODES[code], count }))
      .sort((a, b) => b.count - a.count || compareText(a.code, b.code)),
  };
}

function socketsOf(reports: readonly Report[]): Report['sockets'] {
  const all = reports.map(({ sockets }) => sockets);
  const sum = (of: (sockets: Report['sockets']) => number | null): number | null =>
    all.reduce<number | null>((total, sockets) => {
      const count = of(sockets);
      return total === null || count === null ? null : total + count;
    }, 0);
  return {
    opened: sum(({ opened }) => opened),
    accepted: sum(({ accepted }) => accepted),
    destroyed: sum(({ destroyed }) => destroyed),
    held: sum(({ held }) => held),
    preexisting: sum(({ preexisting }) => preexisting),
    arrived: sum(({ arrived }) => arrived),
    byKind: SOCKET_KINDS.map((kind) => ({
      kind,
      count: all.reduce((total, { byKind }) => total + (byKind.find((one) => one.kind === kind)?.count ?? 0), 0),
    })).filter(({ count }) => count > 0),
  };
}

/** A path has the same id wherever the same program ran. */
function callPathsOf(
  reports: readonly Report[],
): Pick<Report, 'callPaths' | 'callPathsNotSampled' | 'callPathsNotListed'> {
  const captured = reports.flatMap(({ callPaths }) => (callPaths.status === 'measured' ? [callPaths.value] : []));
  const byId = new Map<string, ReportCallPath>();
  for (const path of captured.flat()) {
    const known = byId.get(path.id);
    byId.set(path.id, known === undefined ? path : { ...known, counters: addTotals(known.counters, path.counters) });
  }
  const made = ({ counters }: ReportCallPath): number => (counters?.opened ?? 0) + (counters?.accepted ?? 0);
  const notListed = reports.flatMap(({ callPathsNotListed }) => callPathsNotListed ?? []);
  const callPaths: Known<ReportCallPath[]> =
    captured.length > 0
      ? { status: 'measured', value: [...byId.values()].sort((a, b) => made(b) - made(a) || compareText(a.id, b.id)) }
      : (reports[0]?.callPaths ?? { status: 'unavailable', reason: 'no recordings' });
  return {
    callPaths,
    callPathsNotSampled: reports
      .map(({ callPathsNotSampled }) => callPathsNotSampled)
      .reduce((sum, totals) => addTotals(sum, totals), null),
    callPathsNotListed: notListed.reduce<Report['callPathsNotListed']>(
      (sum, { paths, counters }) => ({
        paths: (sum?.paths ?? 0) + paths,
        counters: addTotals(sum?.counters ?? null, counters) ?? counters,
      }),
      null,
    ),
  };
}

function addTotals(a: PathTotals | null, b: PathTotals | null): PathTotals | null {
  if (a === null || b === null) return a ?? b;
  return Object.fromEntries(
    Object.entries(a).map(([name, count]: [string, number]) => [name, count + b[name as keyof PathTotals]]),
  ) as unknown as PathTotals;
}

/** Not known when no recording knows of any, and at least one could not have. */
function failuresOf(named: readonly NamedReport[]): Known<Failure[]> {
  const failures = named.flatMap(({ name, report }) =>
    report.failures.status === 'measured' ? report.failures.value.map((failure) => ({ ...failure, source: name })) : [],
  );
  const unseen = named.map(({ report }) => report.failures).find(({ status }) => status === 'unavailable');
  return failures.length === 0 && unseen !== undefined
    ? unseen
    : { status: 'measured', value: failures.sort((a, b) => b.count - a.count) };
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
