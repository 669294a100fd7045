/** Lines of the live view: pieces of text with an emphasis, cut to the terminal when they are painted. */
import type { Style } from '../style.ts';
import { cut, widthOf } from './width.ts';

export type Tone = Exclude<keyof Style, 'command'>;

export interface Span {
  text: string;
  tone?: Tone;
}

export type Line = readonly Span[];

export function plain(text: string): Line {
  return [{ text }];
}

export function toned(tone: Tone, text: string): Line {
  return [{ text, tone }];
}

/** The line in at most `width` columns, with the codes of its emphasis. */
export function paint(line: Line, width: number, style: Style): string {
  let left = width;
  let painted = '';
  for (const { text, tone } of line) {
    const shown = cut(text, left);
    if (shown === '') continue;
    left -= widthOf(shown);
    painted += tone === undefined ? shown : style[tone](shown);
  }
  return painted;
}

/** The spans with two spaces between them; as many of the first as fit. */
export function joined(spans: readonly Span[], width: number): Line {
  const line: Span[] = [];
  let used = 0;
  for (const span of spans) {
    const gap = line.length === 0 ? 0 : 2;
    const needed = gap + widthOf(span.text);
    if (line.length > 0 && used + needed > width) break;
    if (gap > 0) line.push({ text: '  ' });
    line.push(span);
    used += needed;
  }
  return line;
}
