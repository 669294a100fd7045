/** The whole screen of the live view as lines, from a report and what the viewer chose. */
import { escapeText } from '../escape.ts';
import { countOf, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';
import { detailLines } from './detail.ts';
import { type HeaderFacts, headerLines } from './header.ts';
import { joined, type Line, paint, plain, toned } from './line.ts';
import type { LiveReport, Row } from './live-report.ts';
import { rowsOf } from './rows.ts';
import { selectedText } from './selected.ts';
import { firstOf, type LiveState, rowOf, type Shown } from './state.ts';
import { tableLines } from './table.ts';
import { cut, widthOf, wrap } from './width.ts';

export interface Size {
  columns: number;
  rows: number;
}

export interface Frame {
  /** at most `rows` lines of at most `columns` columns, with their emphasis */
  lines: string[];
  /** what keys refer to */
  shown: Shown;
}

interface Page {
  lines: Line[];
  shown: Shown;
  hint: string;
}

const FEWEST_ROWS = 3;

const HELP = [
  'up down j k   select; in a finding: scroll',
  'PgUp PgDn     by the screen; Home and End',
  'enter         open a finding: its call paths, sockets and holders',
  'esc           back; in the table: no filter (backspace goes back too)',
  's  S          sort by the next column; the other way round',
  '/             filter by kind, errno, process, code, leak or suspect',
  'p             pause the display; tracing goes on',
  'r             record the trace, from its beginning, into a file here; end that',
  'q  Ctrl-C     stop tracing and print the report',
  'Ctrl-Z        to the shell; fg comes back',
  '?             this page',
];

export function frameOf(
  live: LiveReport,
  state: LiveState,
  header: Omit<HeaderFacts, 'report' | 'paused'>,
  { columns, rows }: Size,
  style: Style,
): Frame {
  const above = headerLines({ ...header, report: live.report, paused: state.paused }, columns);
  // The footer, the title of the table and some rows come before the rest of the header.
  const head = above.slice(0, Math.max(0, Math.min(above.length, rows - 2 - FEWEST_ROWS)));
  const height = Math.max(0, rows - head.length - 1);
  const page = pageOf(live, state, columns, height);
  const body = page.lines.slice(0, height);
  const padding = Array.from({ length: height - body.length }, () => plain(''));
  const lines = [...head, ...body, ...padding, toned('dim', page.hint)].slice(0, rows);
  return { lines: lines.map((line) => paint(line, columns, style)), shown: page.shown };
}

function pageOf(live: LiveReport, state: LiveState, columns: number, height: number): Page {
  const rows = rowsOf(live, state);
  switch (state.page.is) {
    case 'findings':
      return findingsPage(live, state, rows, columns, height);
    case 'finding':
      return findingPage(live, state, rows, columns, height, state.page.scroll);
    case 'help': {
      const lines = HELP.flatMap((text) => wrap(text, columns, ' '.repeat(14)).map(plain));
      return { lines: [...lines, ...lossLines(live, columns)], shown: shownOf(rows, { height }), hint: 'esc back' };
    }
  }
}

/** What the header has no room for: what was not observed, as the report tells it. */
function lossLines({ report: { loss } }: LiveReport, columns: number): Line[] {
  if (loss.reasons.length === 0) return [];
  const texts = loss.reasons.map(({ what, count }) => `LOSS ${formatCount(count)} ${escapeText(what)}`);
  return [plain(''), ...texts.flatMap((text) => wrap(text, columns, '     ').map((line) => toned('yellow', line)))];
}

function findingsPage(live: LiveReport, state: LiveState, rows: readonly Row[], columns: number, height: number): Page {
  // The title; and the line of the selected row, where the rows have room without it.
  const hasLine = height > FEWEST_ROWS + 1;
  const fitting = Math.max(1, height - (hasLine ? 2 : 1));
  const at = rowOf(
    state,
    rows.map(({ id }) => id),
  );
  const first = firstOf(state, at, fitting, rows.length);
  const shown = rows.slice(first, first + fitting);
  const { title, rows: lines, hasPorts } = tableLines(live, shown, at - first, state.sort, columns);
  const body = [title, ...(rows.length === 0 ? [toned('dim', noRows(live, state))] : lines)];
  const selected = rows[at];
  if (hasLine && selected !== undefined) {
    while (body.length < height - 1) body.push(plain(''));
    body.push(plain(selectedText(selected, live, columns, !hasPorts)));
  }
  return {
    lines: body,
    shown: shownOf(rows, { height: fitting, first }),
    hint: findingsHint(live, state, at, rows.length, columns),
  };
}

function noRows({ report }: LiveReport, { filter }: LiveState): string {
  if (filter === '' || report.findings.length === 0) return '  no suspects yet';
  return `  none of ${report.findings.length} findings matches`;
}

function findingsHint(live: LiveReport, state: LiveState, at: number, count: number, columns: number): string {
  if (state.typing) return `/${endOf(state.filter, columns - 2)}_`;
  const place = count === 0 ? [] : [`${at + 1}/${count}`];
  const keys = ['q leave', '? help', 'enter open', `s sort: ${state.sort}${state.reversed ? ' reversed' : ''}`];
  const others = ['/ filter', `p ${state.paused ? 'go on' : 'pause'}`];
  if (state.filter === '') return fitted([...place, ...keys, ...others], columns);
  const matching = ` (${count} of ${live.report.findings.length})`;
  const room = columns - widthOf(fitted([...place, matching, ...keys.slice(0, 2)], Number.POSITIVE_INFINITY)) - 1;
  return fitted([...place, `/${cut(escapeText(state.filter), room)}${matching}`, ...keys, ...others], columns);
}

/** As many of the first as fit, whole. */
function fitted(texts: readonly string[], width: number): string {
  return joined(
    texts.map((text) => ({ text })),
    width,
  )
    .map(({ text }) => text)
    .join('');
}

/** Of a text that is being typed, its end is what counts. */
function endOf(text: string, width: number): string {
  const lines = wrap(escapeText(text), Math.max(1, width));
  return lines.at(-1) ?? '';
}

function findingPage(
  live: LiveReport,
  state: LiveState,
  rows: readonly Row[],
  columns: number,
  height: number,
  scroll: number,
): Page {
  // Whether the filter shows it or not.
  const row = live.rows.find(({ id }) => id === state.selected);
  if (row === undefined)
    return {
      lines: [toned('yellow', 'this finding is gone: its sockets were closed or used')],
      shown: shownOf(rows, { height }),
      hint: 'esc back',
    };
  const all = detailLines(row.finding, live, columns);
  const mostScroll = Math.max(0, all.length - height);
  const from = Math.min(scroll, mostScroll);
  const more = mostScroll - from;
  return {
    lines: all.slice(from, from + height),
    shown: shownOf(rows, { height, mostScroll }),
    hint: fitted(
      [
        'esc back',
        'q leave',
        ...(mostScroll === 0 ? [] : ['up down scroll']),
        ...(more === 0 ? [] : [countOf(more, 'more line')]),
      ],
      columns,
    ),
  };
}

function shownOf(rows: readonly Row[], page: { height: number; first?: number; mostScroll?: number }): Shown {
  return { first: 0, mostScroll: 0, ...page, rows: rows.map(({ id }) => id) };
}
