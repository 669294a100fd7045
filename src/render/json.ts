/** The report as the JSON document that `--json` prints. */
import type { Report, SnapshotSocket } from '../report/types.ts';

/** JSON escapes C0 controls itself; these a terminal may obey as well, and in JSON they can occur only in strings. */
const UNSAFE = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One document, indented, ending in a newline. Parses to an equal report. */
export function renderJson(document: object): string {
  return `${escaped(JSON.stringify(document, null, 2))}\n`;
}

/** As many sockets as make a part of some hundred KiB. */
const SOCKETS_A_PART = 512;
const LIST = '\n  "snapshot": {\n    "status": "measured",\n    "value": [';
/** What stands around a list at this depth, whatever the names. */
const [BEFORE = '', AFTER = ''] = JSON.stringify([[[0]]], null, 2).split('\n      0\n    ]');

/**
 * The same document in parts, so that a long list of sockets is never one text, nor all in memory.
 * @param sockets what stands in the list, whatever the report has there
 */
export function* renderJsonParts(report: Report, sockets: Iterable<SnapshotSocket>): Generator<string> {
  const whole = renderJson({ ...report, snapshot: { status: 'measured', value: [] } });
  // Within a string there are no bare line ends and quotes: this is the list.
  const at = whole.indexOf(LIST) + LIST.length;
  yield whole.slice(0, at);
  let before = '';
  for (const part of partsOf(sockets)) {
    const text = JSON.stringify([[part]], null, 2);
    yield `${before}${escaped(text.slice(BEFORE.length, -(AFTER.length + '\n    ]'.length)))}`;
    before = ',';
  }
  yield `${before === '' ? '' : '\n    '}${whole.slice(at)}`;
}

function* partsOf(sockets: Iterable<SnapshotSocket>): Generator<SnapshotSocket[]> {
  let part: SnapshotSocket[] = [];
  for (const socket of sockets) {
    part.push(socket);
    if (part.length < SOCKETS_A_PART) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}

/** Any value as one line of JSON, as safe on a terminal as the document is. */
export function renderJsonLine(value: object): string {
  return `${escaped(JSON.stringify(value))}\n`;
}

function escaped(json: string): string {
  return json.replace(UNSAFE, toEscape);
}

function toEscape(character: string): string {
  // Characters beyond the first plane are two escapes in JSON.
  return Array.from(
    { length: character.length },
    (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
  ).join('');
}
