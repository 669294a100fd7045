/** What changed between two recordings, as text. */
import type { Change, DiffEntry, DiffSide, ReportDiff } from '../report/diff.ts';
import { formatDuration } from './duration.ts';
import { escapeText } from './escape.ts';
import { countOf, formatChange, formatCount, formatRate } from './numbers.ts';
import { PLAIN, type Style } from './style.ts';
import { type Column, layOut } from './table.ts';

const MOST_SHOWN = 40;

const TITLES: Readonly<Record<Change, string>> = {
  new: 'NEW',
  grown: 'GROWN',
  shrunk: 'SHRUNK',
  gone: 'GONE',
  unchanged: 'UNCHANGED',
};

const COLUMNS: readonly Column[] = [
  { title: '', align: 'left' },
  { title: 'BEFORE', align: 'right' },
  { title: 'AFTER', align: 'right' },
  { title: 'CHANGE', align: 'right' },
  { title: 'PORTS', align: 'right' },
  { title: 'GROWTH', align: 'right' },
  { title: 'FINDING', align: 'left' },
];

/** One section for each change that there is. */
export function renderDiff(diff: ReportDiff, style: Style = PLAIN): string {
  const sections = (Object.keys(TITLES) as Change[]).flatMap((change) => {
    const entries = diff.findings.filter((entry) => entry.change === change);
    return entries.length === 0 ? [] : [section(TITLES[change], entries, style)];
  });
  const head = [`before: ${sideOf(diff.before)}`, `after:  ${sideOf(diff.after)}`];
  const body = sections.length === 0 ? [['no findings in either']] : sections;
  return `${[head, ...body].map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

function sideOf({ host, window, verdict }: ReportDiff['before']): string {
  return `${escapeText(host.hostname)}, ${window.startedAt} for ${formatDuration(window.durationMs)}: ${verdict.is}`;
}

function section(title: string, entries: readonly DiffEntry[], style: Style): string[] {
  const shown = entries.slice(0, MOST_SHOWN);
  const table = layOut(COLUMNS, shown.map(cells));
  const lines = shown.map((entry, i) => {
    const row = `  ${table.rows[i] ?? ''}`;
    return entry.after?.leak === true ? style.red(row) : row;
  });
  const more = entries.length - shown.length;
  return [
    style.bold(title),
    style.dim(`  ${table.title}`),
    ...lines,
    ...(more > 0 ? [`  and ${countOf(more, 'more finding')}: --json lists them all`] : []),
  ];
}

function cells({ key, before, after }: DiffEntry): string[] {
  const count = (side: DiffSide | null): string => (side === null ? '-' : formatCount(side.count));
  return [
    (after ?? before)?.leak === true ? 'LEAK' : 'suspect',
    count(before),
    count(after),
    formatChange((after?.count ?? 0) - (before?.count ?? 0)),
    formatChange((after?.ports ?? 0) - (before?.ports ?? 0)),
    formatRate(after?.perMinute ?? null),
    escapeText(key),
  ];
}
