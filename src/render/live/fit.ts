/** Names and places in less room than they take: what tells them apart stays. Text must be escaped already. */
import { cut, cutStart, widthOf } from './width.ts';

/** Of a name before its pid so much must be left, or the pid goes too. */
const LEAST_HEAD = 2;
/** With less of a function than this before its file, the file and line alone say more. */
const LEAST_FUNCTION = 8;

/** `leaky-~[1234] +36`: a process keeps its pid, and how many others there are. */
export function fitOwner(text: string, width: number): string {
  return fitHead(text, text.lastIndexOf('['), width, LEAST_HEAD) ?? cut(text, width);
}

/** `acquire_p~ (pool.c:41)`, else `pool.c:41`, else `~pool.c:41`: a line of code keeps its number. */
export function fitPlace(text: string, width: number): string {
  const at = text.lastIndexOf(' (');
  const [, file, doubt = ''] = /^ \(([^()]+)\)( \?)?$/.exec(text.slice(at)) ?? [];
  if (at <= 0 || file === undefined) return cut(text, width);
  const line = `${file}${doubt}`;
  return fitHead(text, at, width, LEAST_FUNCTION) ?? cutStart(line, width);
}

/** Cut before `from`; null where less than `least` columns would be left there. */
function fitHead(text: string, from: number, width: number, least: number): string | null {
  if (widthOf(text) <= width) return text;
  if (from < 0) return null;
  const room = width - widthOf(text.slice(from));
  return room < least ? null : `${cut(text.slice(0, from), room)}${text.slice(from)}`;
}
