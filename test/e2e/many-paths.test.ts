// A program that opens sockets through 100,000 call paths: what it costs is bounded, what was not sampled is counted, and
// the totals are exact.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { Program, works } from './programs.ts';
import { Socktrace } from './socktrace.ts';

const PATHS = 100_000;
/** Every 1,000th stays open. */
const HELD = 100;
const MIB = 1024;
/** The tracer's own, over what it takes anyway. */
const MOST_KIB = 192 * MIB;

const folder = mkdtempSync(join(tmpdir(), 'socktrace-many-paths-'));

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
  rmSync(folder, { recursive: true, force: true });
});

function peakKib(pid: number | undefined): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

it('100,000 call paths', async (context) => {
  if (!works('gcc', ['--version'])) notRun(context, 'there is no gcc');
  const compiled = join(folder, 'many-paths');
  execFileSync('gcc', ['-O2', '-g', '-o', compiled, join(import.meta.dirname, 'many_paths.c')]);
  const program = Program.start(compiled, String(PATHS));
  await program.said(/(ready)/);
  const tracer = Socktrace.start(['--pid', `${program.pid}`, '--json', '--min-age', '200ms', '--leak-age', '400ms']);
  await tracer.tracing();
  const before = peakKib(tracer.child.pid);
  program.write('go');
  await program.said(/(opened)/);
  await tracer.said(/LEAK +100 /);
  expect(peakKib(tracer.child.pid) - before).toBeLessThan(MOST_KIB);
  tracer.child.kill('SIGINT');
  const report: Report = JSON.parse((await tracer.finished()).stdout);

  expect(report.loss).toEqual({ complete: true, reasons: [] });
  expect(report.sockets).toMatchObject({ opened: PATHS, destroyed: PATHS - HELD, held: HELD });
  expect(report.findings).toMatchObject([{ kind: 'unused', count: HELD }]);
  if (report.callPaths.status === 'unavailable') throw new Error(report.callPaths.reason);
  const listed = report.callPaths.value;
  const counted = listed.map(({ counters }) => counters?.opened ?? 0);
  const more = report.callPathsNotListed;
  const notSampled = report.callPathsNotSampled?.opened ?? 0;
  // It had a budget, kept to it, and says what that left out.
  expect(listed.length).toBeGreaterThan(0);
  expect(notSampled).toBeGreaterThan(0);
  // Each path opens one socket: none is told twice.
  expect(new Set(listed.map(({ id }) => id)).size).toBe(listed.length);
  expect(counted.reduce((sum, count) => sum + count, 0) + (more?.counters.opened ?? 0) + notSampled).toBe(PATHS);
});
