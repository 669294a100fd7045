/** Aligned columns of plain text. */
export interface Column {
  title: string;
  align: 'left' | 'right';
}

/**
 * Lays out rows under their titles, two spaces apart. The last column is not padded, so that text of unknown width
 * belongs there. Cells must be unstyled: style whole lines afterwards.
 */
export function layOut(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): { title: string; rows: string[] } {
  const titles = columns.map(({ title }) => title);
  // There may be more rows than a call takes arguments.
  const widths = titles.map((title, i) =>
    rows.reduce((most, cells) => Math.max(most, cells[i]?.length ?? 0), title.length),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, i) => {
        const [cell, width] = [cells[i] ?? '', widths[i] ?? 0];
        if (align === 'right') return cell.padStart(width);
        return i === columns.length - 1 ? cell : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return { title: line(titles), rows: rows.map(line) };
}
