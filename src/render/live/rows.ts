/** Findings in the order and choice of the viewer. */
import { compareText } from '../../ledger/order.ts';
import type { Finding } from '../../report/types.ts';
import type { LiveReport, Row } from './live-report.ts';
import type { LiveState, Sort } from './state.ts';

/** Greatest first; kinds by name. */
const COMPARE: Readonly<Record<Sort, (a: Finding, b: Finding) => number>> = {
  count: (a, b) => b.count - a.count,
  ports: (a, b) => b.ports - a.ports,
  age: (a, b) => b.oldestMs - a.oldestMs,
  growth: (a, b) => (rateOf(a) === rateOf(b) ? 0 : rateOf(b) - rateOf(a)),
  kind: (a, b) => compareText(a.kind, b.kind),
};

/** All rows that pass the filter, sorted. Ties go by count, then by identity, so that rows do not jump. */
export function rowsOf(live: LiveReport, { sort, reversed, filter }: LiveState): Row[] {
  const compare = COMPARE[sort];
  const sign = reversed ? -1 : 1;
  return live.rows
    .filter(({ finding }) => filter === '' || textOf(finding, live).includes(filter.toLowerCase()))
    .sort(
      (a, b) => sign * compare(a.finding, b.finding) || b.finding.count - a.finding.count || compareText(a.id, b.id),
    );
}

/** What the filter looks at. */
function textOf(finding: Finding, { names, paths }: LiveReport): string {
  const { kind, errno, openPath, bindPath } = finding;
  return [
    flagOf(finding),
    kind,
    errno ?? '',
    names.ofOwners(finding),
    paths.placeOf(openPath) ?? '',
    paths.placeOf(bindPath) ?? '',
  ]
    .join(' ')
    .toLowerCase();
}

export function flagOf({ leak, kind }: Finding): string {
  return leak ? 'LEAK' : kind === 'released' ? '' : 'suspect';
}

/** What is not known yet comes last. */
function rateOf({ perMinute }: Finding): number {
  return perMinute ?? Number.NEGATIVE_INFINITY;
}
