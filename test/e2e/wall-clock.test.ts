// A wall clock that is wrong, or is set while the trace goes on: no age, rate or count depends on it.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, type TestContext } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { Puppet } from '../host/puppet.ts';
import { Socktrace } from './socktrace.ts';

const LIBRARIES = ['x86_64', 'aarch64'].map((name) => `/usr/lib/${name}-linux-gnu/faketime/libfaketimeMT.so.1`);
const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];
const DAY_MS = 86_400_000;

const folder = mkdtempSync(join(tmpdir(), 'socktrace-clock-'));
const shift = join(folder, 'shift');
afterEach(() => {
  Socktrace.killAll();
  rmSync(folder, { recursive: true, force: true });
});

/** The wall clock is what a file says, and only that clock: a host's CLOCK_MONOTONIC cannot be set. */
function faked(context: TestContext): NodeJS.ProcessEnv {
  const library = LIBRARIES.find((path) => existsSync(path));
  if (library === undefined) notRun(context, 'faketime is not installed');
  const only = { FAKETIME_DONT_FAKE_MONOTONIC: '1', FAKETIME_DONT_RESET: '1' };
  const file = { FAKETIME_TIMESTAMP_FILE: shift, FAKETIME_NO_CACHE: '1' };
  return { ...process.env, LD_PRELOAD: library, ...only, ...file };
}

it('set forward and back under the tracer, and another one under the program', async (context) => {
  const env = faked(context);
  writeFileSync(shift, '+400d\n');
  const own = { LD_PRELOAD: env['LD_PRELOAD'] ?? '', FAKETIME: '-9000d' };
  await using puppet = await Puppet.start({ netns: true, env: own });
  const begunMs = performance.now();
  const running = Socktrace.start(['--pid', String(puppet.pid), ...SHORT, '--json'], { env });
  await running.tracing();
  await puppet.commands('open a v4 20', 'bind a zero');
  await running.said(/20 bound-inactive/);
  writeFileSync(shift, '-30d\n');
  await puppet.command('open b v6 7');
  await running.said(/7 unused/);
  writeFileSync(shift, '+5000d\n');
  await puppet.commands('open c v4 3', 'connect c lo 9', 'close b');
  await running.said(/3 connect-failed/);
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.finished();
  const tookMs = performance.now() - begunMs;
  expect(code, stderr).toBe(0);
  const { window, findings, processes, verdict, loss, sockets }: Report = JSON.parse(stdout);

  expect(findings.map(({ kind, count }) => [kind, count])).toEqual([
    ['bound-inactive', 20],
    ['connect-failed', 3],
  ]);
  expect(sockets).toMatchObject({ opened: 30, destroyed: 7, held: 23 });
  expect({ verdict: verdict.is, loss: loss.complete }).toEqual({ verdict: 'leak', loss: true });
  expect(window.durationMs).toBeLessThan(tookMs);
  for (const { oldestMs } of findings) {
    expect(oldestMs).toBeGreaterThan(0);
    expect(oldestMs).toBeLessThan(tookMs);
  }
  // The wall clock of the beginning, for the whole of it.
  const { startedAt, endedAt } = window;
  const betweenMs = Date.parse(endedAt) - Date.parse(startedAt);
  // Each is rounded.
  expect(Math.abs(betweenMs - window.durationMs)).toBeLessThan(2);
  const ahead = Date.parse(startedAt) - Date.now();
  expect(Math.abs(ahead - 400 * DAY_MS)).toBeLessThan(DAY_MS);
  const started = processes.find(({ pid }) => pid === puppet.pid)?.startTime;
  if (started?.status !== 'measured') throw new Error(`no start: ${JSON.stringify(started)}`);
  // The kernel's own: nobody has lied to it.
  expect(Math.abs(Date.parse(started.value) - Date.now())).toBeLessThan(DAY_MS);
});
