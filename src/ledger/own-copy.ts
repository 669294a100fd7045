/**
 * A part of a text keeps the whole text in memory, be it a megabyte of a recording. Parts of up to twelve characters are
 * copied by V8, and texts that are put together of them refer to nothing else.
 */
const COPIED = 12;

/** The same text, keeping no other in memory. */
export function ownCopy(text: string): string {
  let copy = '';
  for (let i = 0; i < text.length; i += COPIED) copy += text.slice(i, i + COPIED);
  return copy;
}
