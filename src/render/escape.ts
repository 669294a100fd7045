/** Text that others chose (command names, arguments, paths), made safe for a terminal. */

/** Controls, invisible formatting (bidirectional overrides among it), lone surrogates, line separators. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Writes what a terminal would obey or hide as `\x1b` or `\u{202e}`; everything else stays as it is. */
export function escapeText(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}
