/** Text in terminal columns: wide characters take two, combining ones none. Text must be escaped already. */
import stringWidth from 'string-width';

/** ASCII, and the blocks of a sparkline: a column each, which need not be found out again for each screen. */
const NARROW = /^[\x20-\x7e\u2581-\u2588]*$/;
/** Stands for what was cut. */
const CUT = '~';

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

export function widthOf(text: string): number {
  return NARROW.test(text) ? text.length : stringWidth(text);
}

/** The text in at most `width` columns; what does not fit shows as `~`. */
export function cut(text: string, width: number): string {
  if (width <= 0) return '';
  if (widthOf(text) <= width) return text;
  return `${head(text, width - 1)}${CUT}`;
}

/** The end of the text in at most `width` columns, `~` for what was before it. */
export function cutStart(text: string, width: number): string {
  if (width <= 0) return '';
  if (widthOf(text) <= width) return text;
  let kept = '';
  for (const { segment } of [...graphemes.segment(text)].reverse()) {
    if (widthOf(segment) + widthOf(kept) > width - 1) break;
    kept = segment + kept;
  }
  return `${CUT}${kept}`;
}

/** The text in exactly `width` columns. */
export function toWidth(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const shown = cut(text, width);
  const space = ' '.repeat(Math.max(0, width - widthOf(shown)));
  return align === 'left' ? `${shown}${space}` : `${space}${shown}`;
}

/** The text in lines of at most `width` columns, broken at spaces where possible; `indent` goes before all but the first. */
export function wrap(text: string, width: number, indent = ''): string[] {
  const lines: string[] = [];
  const later = widthOf(indent) * 2 <= width ? indent : '';
  let rest = text;
  for (;;) {
    const before = lines.length === 0 ? '' : later;
    const room = Math.max(1, width - widthOf(before));
    if (widthOf(rest) <= room) {
      if (rest !== '' || lines.length === 0) lines.push(`${before}${rest}`);
      return lines.map((line) => cut(line, width));
    }
    // What is too wide even alone is taken all the same, so that this ends.
    const most = head(rest, room) || firstGrapheme(rest);
    const words = most.slice(0, Math.max(0, most.lastIndexOf(' ')));
    const line = words.trim() === '' ? most : words;
    lines.push(`${before}${line.trimEnd()}`);
    rest = rest.slice(line.length).trimStart();
  }
}

/** The longest beginning that fits. */
function head(text: string, width: number): string {
  if (NARROW.test(text)) return text.slice(0, width);
  let used = 0;
  let length = 0;
  for (const { segment } of graphemes.segment(text)) {
    used += stringWidth(segment);
    if (used > width) break;
    length += segment.length;
  }
  return text.slice(0, length);
}

function firstGrapheme(text: string): string {
  for (const { segment } of graphemes.segment(text)) return segment;
  return text;
}
