/** What changed between two recordings, as text. */
import { type Change, type DiffEntry, isWorse, type ReportDiff } from '../report/diff.ts';
import type { Report } from '../report/types.ts';
import { formatDuration } from './duration.ts';
import { escapeText } from './escape.ts';
import { countOf, formatChange, formatCount, formatRate } from './numbers.ts';
import { PLAIN, type Style } from './style.ts';
import { type Column, layOut } from './table.ts';
import { CallPathTexts, withoutPath } from './text/call-path.ts';

const MOST_SHOWN = 40;

const TITLES: Readonly<Record<Change, string>> = {
  new: 'NEW',
  grown: 'GROWN',
  'not-known': 'NOT KNOWN ONE BY ONE',
  shrunk: 'SHRUNK',
  gone: 'GONE',
  unchanged: 'UNCHANGED',
};

const COLUMNS: readonly Column[] = [
  { title: '', align: 'left' },
  { title: 'COUNT', align: 'right' },
  { title: 'CHANGE', align: 'right' },
  { title: 'KIND', align: 'left' },
  { title: 'ERRNO', align: 'left' },
  { title: 'PORTS', align: 'right' },
  { title: 'GROWTH', align: 'right' },
  { title: 'OPENED BY', align: 'left' },
  { title: 'AT', align: 'left' },
];

/**
 * One section for each change that there is.
 * @param reports those that were compared, for the code that their call paths name
 */
export function renderDiff(diff: ReportDiff, reports: readonly Report[], style: Style = PLAIN): string {
  const paths = reports.map((report) => new CallPathTexts(report));
  const sections = (Object.keys(TITLES) as Change[]).flatMap((change) => {
    const entries = diff.findings.filter((entry) => entry.change === change);
    if (entries.length === 0) return [];
    const explained = change === 'not-known' ? indistinctLines(diff) : [];
    return [[style.bold(TITLES[change]), ...explained, ...tableLines(entries, paths, style)]];
  });
  const head = [
    ...headline(diff, style),
    `before: ${sideOf(diff.before)}`,
    `after:  ${sideOf(diff.after)}`,
    ...diff.notes.map(({ what }) => style.yellow(`note:   ${escapeText(what)}`)),
  ];
  const body = sections.length === 0 ? [['no findings in either']] : sections;
  return `${[head, ...body].map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

function headline({ verdict, findings }: ReportDiff, style: Style): string[] {
  switch (verdict.is) {
    case 'leak': {
      const worse = findings.filter(isWorse);
      const fresh = worse.filter(({ before }) => before?.leak !== true).length;
      const parts = [
        ...(fresh > 0 ? [`${countOf(fresh, 'leak')} that ${fresh === 1 ? 'was' : 'were'} none before`] : []),
        ...(worse.length > fresh ? [`${countOf(worse.length - fresh, 'leak')} with more sockets than before`] : []),
        ...(worse.length < verdict.findings.length ? ['more sockets in leaks that are not known one by one'] : []),
      ];
      return [`${style.bold(style.red('LEAK'))}  ${parts.join(', ')}`];
    }
    case 'no-leak':
      return [`${style.bold(style.green('NOTHING NEW'))}  no leak is new, or has grown${remaining(findings)}`];
    case 'not-known':
      return [
        `${style.bold(style.yellow('NOT KNOWN'))}: no leak was found that is new or has grown, but there may be one, because of`,
        ...verdict.because.map((reason) => `  ${escapeText(reason)}`),
      ];
  }
}

function remaining(findings: readonly DiffEntry[]): string {
  const leaks = findings.filter(({ after }) => after?.leak === true).length;
  return leaks === 0 ? '' : `: ${countOf(leaks, 'leak')} as before, or smaller`;
}

function sideOf({ host, window, verdict }: ReportDiff['before']): string {
  return `${escapeText(host.hostname)}, ${window.startedAt} for ${formatDuration(window.durationMs)}: ${verdict.is}`;
}

function indistinctLines({ indistinct }: ReportDiff): string[] {
  return [
    '  these may be the same sockets: what was open before a recording began, it knows neither the kind nor the code of',
    ...indistinct
      .slice(0, MOST_SHOWN)
      .map(
        ({ comm, before, after }) =>
          `  ${escapeText(comm)}: ${formatCount(before)} -> ${formatCount(after)} in all (${formatChange(after - before)})`,
      ),
  ];
}

function tableLines(entries: readonly DiffEntry[], paths: readonly CallPathTexts[], style: Style): string[] {
  const shown = entries.slice(0, MOST_SHOWN);
  const table = layOut(
    COLUMNS,
    shown.map((entry) => cells(entry, paths)),
  );
  const lines = shown.map((entry, i) => {
    const row = `  ${table.rows[i] ?? ''}`;
    return entry.after?.leak === true ? style.red(row) : row;
  });
  const more = entries.length - shown.length;
  return [
    style.dim(`  ${table.title}`),
    ...lines,
    ...(more > 0 ? [`  and ${countOf(more, 'more finding')}: --json lists them all`] : []),
  ];
}

function cells(entry: DiffEntry, paths: readonly CallPathTexts[]): string[] {
  const { kind, errno, comm, before, after } = entry;
  const [then, now] = [before?.count ?? 0, after?.count ?? 0];
  return [
    statusOf(entry),
    fromTo(then, now),
    formatChange(now - then),
    kind,
    errno ?? '-',
    fromTo(before?.ports ?? 0, after?.ports ?? 0),
    formatRate(after?.perMinute ?? null),
    escapeText(comm),
    codeOf(entry, paths),
  ];
}

function statusOf({ kind, before, after }: DiffEntry): string {
  if ((after ?? before)?.leak === true) return 'LEAK';
  return kind === 'released' ? '' : 'suspect';
}

/** `12 -> 29`, or `12` where it is the same. */
function fromTo(before: number, after: number): string {
  return before === after ? formatCount(after) : `${formatCount(before)} -> ${formatCount(after)}`;
}

function codeOf({ openPath }: DiffEntry, paths: readonly CallPathTexts[]): string {
  if (openPath.status !== 'resolved') return withoutPath(openPath);
  const place = paths.map((texts) => texts.placeOf(openPath)).find((text) => text !== null);
  return place ?? 'libraries and runtimes: the report has their frames';
}
