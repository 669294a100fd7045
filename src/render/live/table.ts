/** The rows of findings that are on the screen. Narrow terminals lose the columns that matter least. */
import { formatCount, formatRate } from '../numbers.ts';
import { ageText } from '../text/findings.ts';
import { fitOwner, fitPlace } from './fit.ts';
import type { Line } from './line.ts';
import type { LiveReport, Row } from './live-report.ts';
import { flagOf } from './rows.ts';
import type { Sort } from './state.ts';
import { cut, toWidth, widthOf } from './width.ts';

type Name = 'flag' | 'count' | 'kind' | 'errno' | 'ports' | 'age' | 'growth' | 'owner' | 'code';

interface Column {
  name: Name;
  title: string;
  align: 'left' | 'right';
  /** so that columns do not move with each digit */
  least: number;
  text: (row: Row, live: LiveReport) => string;
}

// What others named comes last: terminals do not agree on the width of everything, and nothing can be shifted there.
const COLUMNS: readonly Column[] = [
  column('flag', '', 'left', 7, ({ finding }) => flagOf(finding)),
  column('count', 'COUNT', 'right', 6, ({ finding }) => formatCount(finding.count)),
  column('kind', 'KIND', 'left', 14, ({ finding }) => finding.kind),
  column('errno', 'ERRNO', 'left', 10, ({ finding }) => finding.errno ?? '-'),
  column('ports', 'PORTS', 'right', 6, ({ finding }) => formatCount(finding.ports)),
  column('age', 'OLDEST', 'right', 7, ({ finding }) => ageText(finding)),
  column('growth', 'GROWTH', 'right', 9, ({ finding }) => formatRate(finding.perMinute)),
  column('owner', 'OPENED BY', 'left', 14, ({ finding }, { names }) => names.ofOwnersShort(finding)),
  column('code', 'AT', 'left', 17, ({ finding }, { paths }) => paths.placeOf(finding.openPath) ?? ''),
];

function column(name: Name, title: string, align: Column['align'], least: number, text: Column['text']): Column {
  return { name, title, align, least, text };
}

/** Columns whose text is made to fit; the others are as wide as what is in them. */
const FITTED: Readonly<Partial<Record<Name, (text: string, width: number) => string>>> = {
  owner: fitOwner,
  code: fitPlace,
};

/** A column that gets a place, or one that is there already and gets as much room, at most. */
interface Claim {
  name: Name;
  upTo?: number;
}

/** In less than this, code would push out what tells how bad it is: it is in the line of the selected row. */
const FROM_FOR_CODE = 90;
const COSY_OWNER = 18;
const COSY_CODE = 20;
const WIDEST_OWNER = 32;

/** What gets room first. The first two are there on any terminal, and cut. */
function claims(width: number, sort: Sort): Claim[] {
  return [
    { name: 'count' },
    { name: 'kind' },
    { name: 'owner' },
    { name: 'flag' },
    // What the rows are sorted by must be seen.
    { name: sort },
    ...(width < FROM_FOR_CODE ? [] : [{ name: 'code' } as const]),
    { name: 'growth' },
    { name: 'errno' },
    { name: 'code', upTo: COSY_CODE },
    { name: 'age' },
    { name: 'owner', upTo: COSY_OWNER },
    { name: 'ports' },
    { name: 'owner', upTo: WIDEST_OWNER },
  ];
}

const ALWAYS = 2;
const GAP = 2;
const MARK_WIDTH = 1;

/**
 * Title and rows in `width` columns, and whether there was room for the ports.
 * @param rows those on the screen only: the others cost nothing
 * @param selected index into `rows`
 */
export function tableLines(
  live: LiveReport,
  rows: readonly Row[],
  selected: number,
  sort: Sort,
  width: number,
): { title: Line; rows: Line[]; hasPorts: boolean } {
  const all = COLUMNS.filter(({ name }) => isFor(name, live)).map((column) => {
    const cells = rows.map((row) => column.text(row, live));
    return { ...column, cells, widest: Math.max(column.least, ...cells.map(widthOf)) };
  });
  const columns = placed(all, width, sort);
  return {
    title: [
      { text: ' '.repeat(MARK_WIDTH) },
      ...columns.flatMap(({ name, title, width, align }, i): Line => {
        const span = { text: toWidth(title, width, align), tone: name === sort ? 'bold' : 'dim' } as const;
        return i === 0 ? [span] : [{ text: ' '.repeat(GAP) }, span];
      }),
    ],
    rows: rows.map(({ finding }, row) => {
      const text = columns
        .map(({ name, cells, width, align }) => toWidth((FITTED[name] ?? cut)(cells[row] ?? '', width), width, align))
        .join(' '.repeat(GAP));
      if (row === selected) return [{ text: `>${text}`, tone: 'inverse' }];
      return [finding.leak ? { text: ` ${text}`, tone: 'red' } : { text: ` ${text}` }];
    }),
    hasPorts: columns.some(({ name }) => name === 'ports'),
  };
}

/** A column in which nothing can stand takes room from others. */
function isFor(name: Name, { hasErrnos, report }: LiveReport): boolean {
  if (name === 'errno') return hasErrnos;
  return name !== 'code' || report.callPaths.status === 'measured';
}

interface FilledColumn extends Column {
  cells: string[];
  /** with all that is in it */
  widest: number;
}

/** The columns that there is room for, in their order, with their widths. The last one takes what is left. */
function placed(all: readonly FilledColumn[], width: number, sort: Sort): (FilledColumn & { width: number })[] {
  const widths = new Map<Name, number>();
  let left = width - MARK_WIDTH;
  for (const { name, upTo } of claims(width, sort)) {
    const column = all.find((one) => one.name === name);
    const has = widths.get(name);
    if (column === undefined || (has === undefined) !== (upTo === undefined)) continue;
    if (has !== undefined) {
      const more = Math.max(0, Math.min(upTo ?? has, column.widest) - has);
      const given = Math.min(more, left);
      widths.set(name, has + given);
      left -= given;
      continue;
    }
    const needed = FITTED[name] === undefined ? column.widest : column.least;
    const gap = widths.size === 0 ? 0 : GAP;
    if (widths.size >= ALWAYS && needed + gap > left) continue;
    widths.set(name, needed);
    left -= needed + gap;
  }
  const chosen = all.flatMap((column) => {
    const own = widths.get(column.name);
    return own === undefined ? [] : [{ ...column, width: own }];
  });
  return chosen.map((column, i) =>
    i === chosen.length - 1 ? { ...column, width: Math.max(0, column.width + left) } : column,
  );
}
