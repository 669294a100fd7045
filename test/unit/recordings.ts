// Recordings that a test writes: in a folder of its own, which goes with it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** The first line. */
export const HEADER = JSON.stringify({ type: 'recording', version: 1, tool: { name: 'socktrace', version: '0' } });

/** All of a recording, for loadRecording(). */
export const WHOLE = { part: { sinceMs: null, untilMs: null } };

export const directory = mkdtempSync(join(tmpdir(), 'socktrace-test-'));
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;

/** Of a file that does not exist yet. */
export function newPath(suffix = '.ndjson'): string {
  files += 1;
  return join(directory, `${files}${suffix}`);
}
