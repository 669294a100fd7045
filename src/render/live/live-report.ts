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

/** Calls that found no free port, where the traced processes are. */
export function portlessCalls(report: Report): number {
  if (report.failures.status === 'unavailable') return 0;
  const failing = new FailingProcesses(report);
  return report.failures.value
    .filter((failure) => failure.cause === 'no-free-port' && failing.elsewhere(failure) === null)
    .reduce((sum, { count }) => sum + count, 0);
}

/** Sockets of all findings that are of no use to anybody. */
export function suspectsOf({ findings }: Report): number {
  return findings.reduce((sum, { kind, count }) => (kind === 'released' ? sum : sum + count), 0);
}
