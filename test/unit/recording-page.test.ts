import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { LOSS_CODES } from '../../src/ledger/types.ts';
import { RecordingWriter } from '../../src/recording/writer.ts';
import { notRun } from '../host/not-run.ts';
import { socket, tick } from './facts.ts';
import { incidentWithPaths } from './sample-report.ts';

const page = readFileSync(new URL('../../src/recording/RECORDING.md', import.meta.url), 'utf8');

let directory: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'socktrace-test-'));
  const writer = new RecordingWriter({ pack: false, mostBytes: Number.POSITIVE_INFINITY });
  writer.open(join(directory, 'leak.ndjson'), false);
  for (const input of incidentWithPaths()) writer.write(input);
  writer.write({ type: 'loss', losses: [{ code: 'event-ring-full', count: 3 }] });
  writer.write({ type: 'ended', facts: socket(1, 2_000), atMs: 81_000 });
  writer.write(tick(82_000));
  await writer.close('the test is over');
});
afterAll(() => rmSync(directory, { recursive: true }));

/** Runs the command that the page gives under this comment. */
function run(context: TestContext, comment: string): string[] {
  try {
    execFileSync('jq', ['--version']);
  } catch {
    notRun(context, 'jq is not installed');
  }
  const command = page.split(`\n# ${comment}\n`)[1]?.split('\n')[0];
  if (command === undefined) throw new Error(`the page has no command under "${comment}"`);
  return execFileSync('sh', ['-c', command], { cwd: directory, encoding: 'utf8' }).trimEnd().split('\n');
}

describe('the jq lines of RECORDING.md', () => {
  it('alloc over time', (context) => {
    expect(run(context, 'alloc of the host, second by second')).toEqual(['0\t1815', '80000\t1856']);
  });

  it('suspects by state and errno', (context) => {
    const counts = run(context, 'suspects by state and errno, as they were told first').map((line) => line.trim());
    expect(counts).toEqual(['12 CLOSE\t-', '29 CLOSE\tEADDRINUSE']);
  });

  it('failed calls by program', (context) => {
    const [line = ''] = run(context, 'failed calls by program: the last total of each row');
    const counts = JSON.parse(line) as { call: string; count: number }[];
    expect(new Map(counts.map(({ call, count }) => [call, count])).get('leakyd bind EADDRINUSE')).toBe(29);
  });

  it('call paths', (context) => {
    const lines = run(context, 'call paths, innermost first');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^open1 {2}socket < acquire_port < service_loop < main < /);
  });

  it('losses by the wall clock', (context) => {
    expect(run(context, 'wall clock of every loss')).toEqual([
      '2026-11-23T03:01:20Z  [{"code":"event-ring-full","count":3}]',
    ]);
  });

  it('are all tried here', () => {
    expect(page.match(/^jq /gm)).toHaveLength(5);
  });
});

describe('the page', () => {
  it('names every type of line that is written', () => {
    const types = readFileSync(join(directory, 'leak.ndjson'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type);
    for (const type of new Set(types)) expect(page).toContain(`| \`${type}\` |`);
    expect(Object.keys(LOSS_CODES)).toContain('recording-torn');
  });
});
