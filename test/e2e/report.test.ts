// `socktrace report` of recordings whose content is chosen: what it says beside the report.
import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { LedgerInput } from '../../src/ledger/types.ts';
import type { Report } from '../../src/report/types.ts';
import { hostSample, session, tick } from '../unit/facts.ts';
import { HEADER, newPath } from '../unit/recordings.ts';
import { Socktrace } from './socktrace.ts';

function recordingOf(inputs: readonly LedgerInput[]): string {
  const path = newPath();
  const lines = [
    HEADER,
    ...inputs.map((input) => JSON.stringify(input)),
    JSON.stringify({ type: 'end', because: 'time is up', lines: inputs.length + 1 }),
  ];
  writeFileSync(path, lines.map((line) => `${line}\n`).join(''));
  return path;
}

it('a time that came twice in a night: the later one, and it says so', async () => {
  const night = Array.from({ length: 33 }, (_, i) => tick(i * 900_000));
  const clock = { monotonicMs: 0, wallMs: Date.parse('2026-10-24T20:00:00Z') };
  const path = recordingOf([session({ clock }), hostSample(0, 0), ...night]);
  const env = { ...process.env, TZ: 'Europe/Berlin' };
  const args = ['report', path, '--json', '--since', '02:00', '--until'];
  const twice = await Socktrace.start([...args, '02:30'], { env }).finished();
  expect(twice.code, twice.stderr).toBe(0);
  expect(twice.stderr.trimEnd().split('\n')).toEqual([
    `socktrace: --until 02:30 comes twice in ${path}, since clocks were set back: 2026-10-25T01:30:00.000Z is taken, not 2026-10-25T00:30:00.000Z`,
    `socktrace: --since 02:00 comes twice in ${path}, since clocks were set back: 2026-10-25T01:00:00.000Z is taken, not 2026-10-25T00:00:00.000Z`,
  ]);
  const once = await Socktrace.start([...args, '2026-10-25T00:45:00Z'], { env }).finished();
  expect(once.stderr).toBe('');
  expect((JSON.parse(once.stdout) as Report).window.startedAt).toBe('2026-10-25T00:00:00.000Z');
});
