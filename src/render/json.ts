/** The report as the JSON document that `--json` prints. */

/** JSON escapes C0 controls itself; these a terminal may obey as well, and in JSON they can occur only in strings. */
const UNSAFE = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One document, indented, ending in a newline. Parses to an equal report. */
export function renderJson(document: object): string {
  return `${JSON.stringify(document, null, 2).replace(UNSAFE, toEscape)}\n`;
}

/** Any value as one line of JSON, as safe on a terminal as the document is. */
export function renderJsonLine(value: object): string {
  return `${JSON.stringify(value).replace(UNSAFE, toEscape)}\n`;
}

function toEscape(character: string): string {
  // Characters beyond the first plane are two escapes in JSON.
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('');
}
