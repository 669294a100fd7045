// A tracer whose heap is too small for what it is told: it ends before V8 would end it, and its report is exact.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { builtProgram, Puppet } from '../host/puppet.ts';
import { until } from './programs.ts';
import { heldBy, Socktrace, socktrace } from './socktrace.ts';

const HEAP_MB = 64;
const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];
/** What is known of as many sockets, and of who holds them, is a few MB. */
const SOCKETS = 4_000;

const folder = mkdtempSync(join(tmpdir(), 'socktrace-heap-'));
afterEach(() => Socktrace.killAll());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The environment of a tracer that takes half of its heap as soon as the file of this name is there. */
function heapThatFills(full: string): NodeJS.ProcessEnv {
  const preload = `${full}.cjs`;
  writeFileSync(
    preload,
    `const { existsSync } = require('node:fs');
     setInterval(() => {
       if (existsSync(${JSON.stringify(full)}))
         globalThis.hog ??= Array.from({ length: ${HEAP_MB} * 65536 }, Math.random);
     }, 10).unref();`,
  );
  return { ...process.env, NODE_OPTIONS: `--max-old-space-size=${HEAP_MB} --require ${preload}` };
}

it('a heap that fills up: said, exit 1, and the recording is whole', async () => {
  await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
  const [path, full] = [join(folder, 'leak.ndjson'), join(folder, 'full-of-record')];
  const args = ['record', '--pid', String(puppet.pid), '-o', path, ...SHORT, '--json', '--no-paths'];
  const running = Socktrace.start(args, { env: heapThatFills(full) });
  await running.said(/^recording /m);
  await puppet.command(`open g v4 ${SOCKETS}`);
  writeFileSync(full, '');
  const { code, signal, stdout, stderr } = await running.finished();
  expect({ code, signal }, stderr).toEqual({ code: 1, signal: null });
  expect(stderr).toMatch(
    /the trace ends here, it needs more than [\d.]+ MB of memory: NODE_OPTIONS=--max-old-space-size=\d+/,
  );
  const own: Report = JSON.parse(stdout);
  expect(own.sockets).toMatchObject({ opened: SOCKETS, held: SOCKETS });
  expect(own.loss).toEqual({ complete: true, reasons: [] });
  const report = await socktrace('report', path, '--json');
  expect({ ...report, stdout: JSON.parse(report.stdout) }).toMatchObject({ code: 0, stderr: '', stdout: own });
  expect(readFileSync(path, 'utf8')).toContain('"because":"no memory was left"');
});

it('a run whose heap is nearly full: the report is taken, and the command goes on to its end', async () => {
  const [path, full] = [join(folder, 'run.json'), join(folder, 'full-of-run')];
  const args = ['run', '--json', '--fail-on-leak', '-o', path, '--', builtProgram('puppet')];
  const running = Socktrace.start(args, { env: heapThatFills(full), stdio: 'pipe' });
  const pid = running.child.pid as number;
  const isOver = (): boolean => running.child.exitCode !== null || running.child.signalCode !== null;
  const tell = async (line: string): Promise<void> => {
    const before = running.stdout.length;
    running.child.stdin?.write(`${line}\n`);
    await until(`the answer to ${line}`, () => running.stdout.slice(before).includes('"ok":true'));
  };
  await running.printed(/"ready":true/);
  await tell('open before v4 20');
  writeFileSync(full, '');
  await until('the end of the trace', () => isOver() || heldBy(String(pid)).length === 0);
  expect(isOver(), running.stderr).toBe(false);
  // Not traced any more, and none the worse for it.
  await tell('open after v4 5');
  running.child.stdin?.end();
  const { code, signal, stderr } = await running.finished();
  expect({ code, signal }, stderr).toEqual({ code: 125, signal: null });
  expect(stderr).toMatch(
    /^socktrace: the trace ended before the command, it needs more than [\d.]+ MB of memory: NODE_OPTIONS=/m,
  );
  const report: Report = JSON.parse(readFileSync(path, 'utf8'));
  expect(report.sockets).toMatchObject({ opened: 20, held: 20 });
  expect(report.loss).toEqual({ complete: true, reasons: [] });
});
