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

/**
 * All rows that pass the filter: in the order of the state, new ones where they belong, or sorted. Ties go by count,
 * then by identity, so that rows do not jump.
 */
export function rowsOf(live: LiveReport, { sort, reversed, filter, order }: LiveState): Row[] {
  const by = COMPARE[sort];
  const sign = reversed ? -1 : 1;
  const compare = (a: Row, b: Row): number =>
    sign * by(a.finding, b.finding) || b.finding.count - a.finding.count || compareText(a.id, b.id);
  const all = live.rows.filter(({ finding }) => filter === '' || textOf(finding, live).includes(filter.toLowerCase()));
  if (order === null) return all.sort(compare);
  const places = new Map(order.map((id, place) => [id, place]));
  const placeOf = ({ id }: Row): number => places.get(id) ?? Number.NaN;
  const held = all.filter(({ id }) => places.has(id)).sort((a, b) => placeOf(a) - placeOf(b));
  return inserted(held, all.filter(({ id }) => !places.has(id)).sort(compare), compare);
}

/** Each of `added`, which are sorted, before the first of `rows` that comes after it. */
function inserted(rows: readonly Row[], added: readonly Row[], compare: (a: Row, b: Row) => number): Row[] {
  let next = 0;
  const before = (row: Row): Row[] => {
    const from = next;
    while (next < added.length && compare(added[next] ?? row, row) < 0) next += 1;
    return added.slice(from, next);
  };
  return [...rows.flatMap((row) => [...before(row), row]), ...added.slice(next)];
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
