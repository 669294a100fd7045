/** The suspects of one look, by process: there is no leak to begin with, and they are what was asked for. */
import type { Finding, Report } from '../../report/types.ts';
import { ProcessNames } from '../names.ts';
import { countOf, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';

const MOST_PROCESSES = 5;

/** `432 SUSPECTS  python3[11464] holds 420 closed-unknown (120 ports), 12 close-wait (12 ports)`: most first; none without. */
export function suspectLines(report: Report, style: Style): string[] {
  const names = new ProcessNames(report);
  const byOwners = new Map<string, Finding[]>();
  for (const finding of report.findings.filter(({ kind }) => kind !== 'released')) {
    const owners = `${names.ofOwners(finding)} ${finding.processes > 1 ? 'hold' : 'holds'}`;
    byOwners.set(owners, [...(byOwners.get(owners) ?? []), finding]);
  }
  const all = [...byOwners].sort(([, a], [, b]) => countIn(b) - countIn(a));
  if (all.length === 0) return [];
  const total = countIn([...byOwners.values()].flat());
  const title = `${formatCount(total)} ${total === 1 ? 'SUSPECT' : 'SUSPECTS'}`;
  const lines = all.slice(0, MOST_PROCESSES).map(([owners, findings]) => `${owners} ${kindsOf(findings)}`);
  if (all.length > MOST_PROCESSES) lines.push(`and ${countOf(all.length - MOST_PROCESSES, 'more holder')}, below`);
  return lines.map((line, i) =>
    i === 0 ? `${style.bold(style.yellow(title))}  ${line}` : `${' '.repeat(title.length)}  ${line}`,
  );
}

function kindsOf(findings: readonly Finding[]): string {
  const kinds = new Map<Finding['kind'], { count: number; ports: number }>();
  for (const { kind, count, ports } of findings) {
    const sum = kinds.get(kind) ?? { count: 0, ports: 0 };
    kinds.set(kind, { count: sum.count + count, ports: sum.ports + ports });
  }
  return [...kinds]
    .sort(([, a], [, b]) => b.count - a.count)
    .map(
      ([kind, { count, ports }]) => `${formatCount(count)} ${kind}${ports === 0 ? '' : ` (${countOf(ports, 'port')})`}`,
    )
    .join(', ');
}

function countIn(findings: readonly Finding[]): number {
  return findings.reduce((sum, { count }) => sum + count, 0);
}
