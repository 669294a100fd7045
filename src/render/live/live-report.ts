/** One report, with what finds names and call paths in it: built once a report, not once a key. */
import type { Finding, Report } from '../../report/types.ts';
import { FailingProcesses } from '../failing-processes.ts';
import { identitiesOf } from '../finding-identity.ts';
import { ProcessNames } from '../names.ts';
import { CallPathTexts } from '../text/call-path.ts';

export interface Row {
  id: string;
  finding: Finding;
}

export class LiveReport {
  readonly report: Report;
  readonly names: ProcessNames;
  readonly paths: CallPathTexts;
  /** all findings */
  readonly rows: readonly Row[];
  /** some finding has an errno */
  readonly hasErrnos: boolean;

  constructor(report: Report) {
    this.report = report;
    this.names = new ProcessNames(report);
    this.paths = new CallPathTexts(report);
    const ids = identitiesOf(report.findings);
    this.rows = report.findings.map((finding, i) => ({ id: ids[i] ?? '', finding }));
    this.hasErrnos = report.findings.some(({ errno }) => errno !== null);
  }
}

/** Calls that found no free port, by the network namespaces of the traced processes; unknown ones are nobody's. */
export type PortlessCalls = ReadonlyMap<number, number>;

export function portlessCalls(report: Report): PortlessCalls {
  const calls = new Map<number, number>();
  if (report.failures.status === 'unavailable') return calls;
  const failing = new FailingProcesses(report);
  for (const failure of report.failures.value) {
    const { cause, netns, count } = failure;
    if (cause === 'no-free-port' && netns !== null && failing.isNear(failure))
      calls.set(netns, (calls.get(netns) ?? 0) + count);
  }
  return calls;
}

/** Those of `now` that are not among those of `then`. */
export function portlessCallsSince(then: PortlessCalls, now: PortlessCalls): PortlessCalls {
  const since = [...now].map(([netns, count]) => [netns, count - (then.get(netns) ?? 0)] as const);
  return new Map(since.filter(([, count]) => count > 0));
}

/** Sockets of all findings that are of no use to anybody. */
export function suspectsOf({ findings }: Report): number {
  return findings.reduce((sum, { kind, count }) => (kind === 'released' ? sum : sum + count), 0);
}
