/** What is held for nothing: one row a finding, as it was at the end of the chosen window. */

import type { Finding, Report } from '../../../report/types.ts';
import { formatDuration } from '../../duration.ts';
import { escapeText } from '../../escape.ts';
import { ProcessNames } from '../../names.ts';
import { countOf, formatChange, formatCount, formatRate } from '../../numbers.ts';
import { CallPathTexts } from '../../text/call-path.ts';
import { describeExample, unconfirmedText } from '../../text/findings.ts';
import { command } from '../../text/processes.ts';
import { KIND_MEANING } from '../../words.ts';
import { findingsIn, restOf, type WindowedFinding } from '../windowed.ts';
import { clock } from './clock.ts';
import { el, facts, section } from './dom.ts';
import { DataTable } from './table.ts';
import type { View } from './view.ts';

const STATUS_WORDS = { leak: 'LEAK', suspect: 'suspect', released: 'released', gone: 'gone' } as const;

const ALL = 'all kinds';

/** The table with its search and filters. */
export function findingsSection(view: View): HTMLElement {
  const { report } = view;
  const texts = new FindingTexts(report, view.spanMs);
  const table = new DataTable<WindowedFinding>({
    label: 'Findings',
    columns: [
      {
        title: '',
        cell: ({ status }) => el('span', { class: `badge ${status}` }, STATUS_WORDS[status]),
        sortBy: ({ status }) => STATUS_WORDS[status],
      },
      {
        title: 'Sockets',
        help: 'at the end of the window',
        align: 'right',
        cell: ({ count }) => (count === null ? '?' : formatCount(count)),
        sortBy: ({ count }) => count,
      },
      {
        title: 'Change',
        help: 'within the window',
        align: 'right',
        cell: ({ change }) => (change === null ? '?' : formatChange(change)),
        sortBy: ({ change }) => change,
      },
      {
        title: 'Growth',
        help: 'within the window',
        align: 'right',
        cell: ({ perMinute }) => formatRate(perMinute),
        sortBy: ({ perMinute }) => perMinute,
      },
      {
        title: 'Kind',
        cell: ({ kind, errno }) => el('span', { class: `kind ${kind}` }, `${kind}${errno === null ? '' : ` ${errno}`}`),
        sortBy: ({ kind, errno }) => `${kind} ${errno ?? ''}`,
      },
      {
        title: 'Ports',
        help: 'distinct ports that they hold',
        align: 'right',
        cell: ({ ports }) => (ports === null ? '?' : formatCount(ports)),
        sortBy: ({ ports }) => ports,
      },
      {
        title: 'Since',
        help: 'UTC: the oldest of them',
        cell: (row) => texts.since(row),
        sortBy: ({ sinceMs }) => sinceMs,
      },
      { title: 'Opened by', cell: (row) => texts.owner(row), sortBy: (row) => texts.owner(row) },
      { title: 'Where', cell: (row) => el('code', {}, texts.place(row)), sortBy: (row) => texts.place(row) },
    ],
    keyOf: ({ key }) => key,
    textOf: (row) => texts.searched(row),
    classOf: ({ status }) => status,
    details: (row) => texts.details(row),
    empty: `none older than ${formatDuration(report.window.minAgeMs)} at the end of this window`,
  });
  const search = el('input', {
    type: 'search',
    id: 'search',
    placeholder: 'process, argument, function, file, errno',
    'aria-label': 'Search findings',
  });
  const kinds = [...new Set([...report.findings, ...view.timeline.findings].map(({ kind }) => kind))].sort();
  const kind = el(
    'select',
    { id: 'kind', 'aria-label': 'Kind' },
    ...[ALL, ...kinds].map((name) => el('option', {}, name)),
  );
  const onlyLeaks = el('input', { type: 'checkbox', id: 'leaks' });
  const filter = (): void =>
    table.filter(
      search.value,
      (row) => (kind.value === ALL || row.kind === kind.value) && (!onlyLeaks.checked || row.status === 'leak'),
    );
  for (const control of [search, kind, onlyLeaks]) control.addEventListener('input', filter);
  const summary = el(
    'p',
    { class: 'hint', 'aria-live': 'polite' },
    '-',
    el('span', { class: 'how' }, ' Enter or a click opens a row.'),
  );
  const update = (): void => {
    const rows = findingsIn(report, view.timeline, view.window);
    const sockets = rows.reduce((sum, { count }) => sum + (count ?? 0), 0);
    const unknown = rows.filter(({ count }) => count === null).length;
    const others = restOf(view.timeline, view.window, rows).reduce((sum, { count }) => sum + count, 0);
    const rest =
      others === 0 ? '' : `, and ${countOf(others, 'socket')} in smaller findings, of which only the end is known (?)`;
    summary.firstChild?.replaceWith(
      `${countOf(sockets, 'socket')} in ${countOf(rows.length - unknown, 'finding')} at ${clock(view.times.toMs, view.spanMs)} UTC${rest}.`,
    );
    table.update(rows);
  };
  view.onChange(update);
  update();
  return section(
    'findings',
    'Findings',
    el('div', { class: 'controls' }, search, kind, el('label', {}, onlyLeaks, ' leaks only')),
    summary,
    table.element,
  );
}

class FindingTexts {
  readonly #report: Report;
  readonly #names: ProcessNames;
  readonly #paths: CallPathTexts;
  readonly #spanMs: number;

  constructor(report: Report, spanMs: number) {
    this.#report = report;
    this.#names = new ProcessNames(report);
    this.#paths = new CallPathTexts(report);
    this.#spanMs = spanMs;
  }

  owner({ finding, process, program }: WindowedFinding): string {
    if (finding !== null) {
      const source = finding.source === undefined ? '' : ` in ${escapeText(finding.source)}`;
      return `${this.#names.ofOwners(finding)}${source}`;
    }
    if (process !== null && this.#names.find(process) !== undefined) return this.#names.of(process);
    return program === null ? 'unknown process' : escapeText(program);
  }

  place({ openPath, bindPath }: WindowedFinding): string {
    return this.#paths.placeOf(openPath) ?? this.#paths.placeOf(bindPath) ?? '';
  }

  since({ sinceMs, finding }: WindowedFinding): string {
    if (sinceMs === null) return '?';
    const startMs = Date.parse(this.#report.window.startedAt);
    const bound = finding?.oldestIsLowerBound === true ? 'before ' : '';
    return `${bound}${clock(sinceMs, Math.max(this.#spanMs, startMs - sinceMs))}`;
  }

  searched(row: WindowedFinding): string {
    const process = row.process === null ? undefined : this.#names.find(row.process);
    return [
      row.key,
      row.kind,
      row.errno ?? '',
      this.owner(row),
      ...(process === undefined ? [] : [command(process)]),
      ...this.#paths.linesOf(asFinding(row)),
    ].join('\n');
  }

  details(row: WindowedFinding): Node {
    const { finding, kind, process } = row;
    const known = process === null ? undefined : this.#names.find(process);
    const holders = finding?.holders
      .slice(0, 10)
      .map((one) => `${this.#names.of(one.process)} ${formatCount(one.count)}`);
    const since = finding?.unconfirmed === undefined ? [] : [unconfirmedText(finding.unconfirmed)];
    const examples = finding?.examples.map((example) => describeExample(example, this.#names)) ?? [];
    const paths = this.#paths.linesOf(asFinding(row));
    return el(
      'div',
      {},
      el('p', {}, KIND_MEANING[kind]),
      paths.length > 0 ? el('pre', {}, paths.join('\n')) : null,
      facts([
        ['command', known === undefined ? null : el('code', {}, command(known))],
        ['held by', holders === undefined || holders.length === 0 ? null : [...holders, ...since].join(', ')],
        ['held at exit', finding === null || finding.heldAtExit === 0 ? null : formatCount(finding.heldAtExit)],
        ['oldest', finding === null || finding.oldestMs === 0 ? null : formatDuration(finding.oldestMs)],
        ['examples', examples.length === 0 ? null : examples.join('; ')],
        ['key', el('code', {}, escapeText(row.key))],
      ]),
    );
  }
}

function asFinding({ openPath, bindPath, kind }: WindowedFinding): Pick<Finding, 'openPath' | 'bindPath' | 'kind'> {
  return { openPath, bindPath, kind };
}
