/** The rows of findings that are on the screen. Narrow terminals lose the columns that matter least. */
import { formatCount, formatRate } from '../numbers.ts';
import { ageText } from '../text/findings.ts';
import type { Line } from './line.ts';
import type { LiveReport, Row } from './live-report.ts';
import { flagOf } from './rows.ts';
import type { Sort } from './state.ts';
import { toWidth, widthOf } from './width.ts';

interface Column {
  title: string;
  align: 'left' | 'right';
  /** sorted by it: its title is emphasised */
  sort: Sort | null;
  /** columns of a lower rank go first where there is no room */
  rank: number;
  /** so that columns do not move with each digit */
  least: number;
  /** the last one takes what is left, and can do with its least */
  most: number;
  text: (row: Row, live: LiveReport) => string;
}

// What others named comes last: terminals do not agree on the width of everything, and nothing can be shifted there.
const COLUMNS: readonly Column[] = [
  column('', 'left', null, 6, 7, ({ finding }) => flagOf(finding)),
  column('COUNT', 'right', 'count', 9, 6, ({ finding }) => formatCount(finding.count)),
  column('KIND', 'left', 'kind', 8, 14, ({ finding }) => finding.kind),
  column('ERRNO', 'left', null, 1, 10, ({ finding }) => finding.errno ?? '-'),
  column('PORTS', 'right', 'ports', 3, 6, ({ finding }) => formatCount(finding.ports)),
  column('OLDEST', 'right', 'age', 4, 7, ({ finding }) => ageText(finding)),
  column('GROWTH', 'right', 'growth', 5, 9, ({ finding }) => formatRate(finding.perMinute)),
  { ...column('OPENED BY', 'left', null, 7, 14, ({ finding }, { names }) => names.ofOwners(finding)), most: 32 },
  column('AT', 'left', null, 2, 24, ({ finding }, { paths }) => paths.placeOf(finding.openPath) ?? ''),
];

function column(
  title: string,
  align: Column['align'],
  sort: Sort | null,
  rank: number,
  least: number,
  text: Column['text'],
): Column {
  return { title, align, sort, rank, least, most: Number.POSITIVE_INFINITY, text };
}

const GAP = 2;
const MARK_WIDTH = 1;

/**
 * Title and rows in `width` columns.
 * @param rows those on the screen only: the others cost nothing
 * @param selected index into `rows`
 */
export function tableLines(
  live: LiveReport,
  rows: readonly Row[],
  selected: number,
  sort: Sort,
  width: number,
): { title: Line; rows: Line[] } {
  const all = COLUMNS.map((column) => {
    const cells = rows.map((row) => column.text(row, live));
    const widest = Math.max(column.least, ...cells.map(widthOf));
    return { ...column, cells, width: Math.min(widest, column.most) };
  });
  const columns = withLastStretched(chosen(all, width), width);
  return {
    title: [
      { text: ' '.repeat(MARK_WIDTH) },
      ...columns.flatMap(({ title, width, align, sort: by }, i): Line => {
        const span = { text: toWidth(title, width, align), tone: by === sort ? 'bold' : 'dim' } as const;
        return i === 0 ? [span] : [{ text: ' '.repeat(GAP) }, span];
      }),
    ],
    rows: rows.map(({ finding }, row) => {
      const text = columns
        .map(({ cells, width, align }) => toWidth(cells[row] ?? '', width, align))
        .join(' '.repeat(GAP));
      if (row === selected) return [{ text: `>${text}`, tone: 'inverse' }];
      return [finding.leak ? { text: ` ${text}`, tone: 'red' } : { text: ` ${text}` }];
    }),
  };
}

interface FilledColumn extends Column {
  cells: string[];
  width: number;
}

/** The columns there is room for. The two of the highest rank stay, and are cut. */
function chosen(all: readonly FilledColumn[], width: number): FilledColumn[] {
  let columns = [...all];
  while (columns.length > 2 && neededBy(columns) > width) {
    const lowest = Math.min(...columns.map(({ rank }) => rank));
    columns = columns.filter(({ rank }) => rank !== lowest);
  }
  return columns;
}

function neededBy(columns: readonly FilledColumn[]): number {
  const [last] = columns.slice(-1);
  return widthBefore(columns) + (last?.least ?? 0);
}

/** Of all but the last column, with the gaps. */
function widthBefore(columns: readonly FilledColumn[]): number {
  return columns.slice(0, -1).reduce((sum, { width }) => sum + width + GAP, MARK_WIDTH);
}

function withLastStretched(columns: readonly FilledColumn[], width: number): FilledColumn[] {
  const rest = Math.max(0, width - widthBefore(columns));
  return columns.map((column, i) => (i === columns.length - 1 ? { ...column, width: rest } : column));
}
