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

/** The same within `most` characters, where names may be of any length. What was cut shows as `...`. */
export function escapeWithin(text: string, most: number): string {
  // By code points: half of a surrogate pair is no text. Escapes only grow, so what is cut first cannot be missed.
  const escaped = [...escapeText([...text.slice(0, 2 * most + 2)].slice(0, most + 1).join(''))];
  return escaped.length <= most ? escaped.join('') : `${escaped.slice(0, most - 3).join('')}...`;
}
