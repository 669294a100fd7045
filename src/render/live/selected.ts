/** What the table has no room to say of the selected row: whose it is, its ports, and the code that opened it. */
import { escapeText } from '../escape.ts';
import { countOf } from '../numbers.ts';
import { withoutPath } from '../text/call-path.ts';
import { fitOwner, fitPlace } from './fit.ts';
import type { LiveReport, Row } from './live-report.ts';
import { cut, widthOf } from './width.ts';

/**
 * `> leaky-service[1234], 12 ports, opened at acquire_port (pool.c:41)`, in at most `width` columns.
 * @param withPorts where the table has no room for their column
 */
export function selectedText({ finding }: Row, live: LiveReport, width: number, withPorts: boolean): string {
  const { names, paths } = live;
  const place = paths.placeOf(finding.openPath);
  const ports = withPorts && finding.ports > 0 ? `${countOf(finding.ports, 'port')}, ` : '';
  const label = `${ports}${place === null ? '' : `${paths.openLabel(finding.openPath)} `}`;
  const code = place ?? withoutPlace(finding, live);
  const long = names.ofOwners(finding);
  const fixed = widthOf(`> , ${label}`);
  // The code has what it needs first, down to a third for the name.
  const room = Math.max(Math.floor((width - fixed) / 3), width - fixed - widthOf(code));
  const owner = widthOf(long) <= room ? long : fitOwner(names.ofOwnersShort(finding), room);
  const rest = width - fixed - widthOf(owner);
  return cut(`> ${owner}, ${label}${place === null ? cut(code, rest) : fitPlace(code, rest)}`, width);
}

/** Why no code of the program is named, else where its libraries did it. */
function withoutPlace(finding: Row['finding'], { paths, report: { callPaths } }: LiveReport): string {
  if (callPaths.status === 'unavailable') return `code not known: ${escapeText(callPaths.reason)}`;
  if (finding.openPath.status !== 'resolved') return `code ${withoutPath(finding.openPath)}`;
  const [first = ''] = paths.linesOf(finding);
  return first.replaceAll(/ +/g, ' ');
}
