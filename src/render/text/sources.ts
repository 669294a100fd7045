/** The recordings that a report of several is made of. */
import type { Report } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { escapeText } from '../escape.ts';
import { targetName } from '../names.ts';
import type { Style } from '../style.ts';
import { type Column, layOut } from '../table.ts';

const COLUMNS: readonly Column[] = [
  { title: 'FILE', align: 'left' },
  { title: 'HOST', align: 'left' },
  { title: 'FROM', align: 'left' },
  { title: 'FOR', align: 'right' },
  { title: 'VERDICT', align: 'left' },
  { title: 'OF', align: 'left' },
];

export function sourceLines({ sources }: Report, style: Style): string[] {
  if (sources === undefined) return [];
  const table = layOut(
    COLUMNS,
    sources.map(({ name, host, window, verdict, target }) => [
      escapeText(name),
      escapeText(host.hostname),
      window.startedAt,
      formatDuration(window.durationMs),
      verdict.is,
      targetName(target),
    ]),
  );
  return [style.bold('RECORDINGS'), style.dim(`  ${table.title}`), ...table.rows.map((line) => `  ${line}`)];
}
