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
/** Each step is read before the next: what comes at once may be more than there is room for. */
const STEP = 2_000;
const MOST_OF_ONE = 18_000;
const PUPPETS = 6;

const folder = mkdtempSync(join(tmpdir(), 'socktrace-heap-'));
afterEach(() => Socktrace.killAll());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('a heap that fills up: said, exit 1, and the recording is whole', { timeout: 600_000 }, async () => {
  const puppets: Puppet[] = [];
  try {
    while (puppets.length < PUPPETS) puppets.push(await Puppet.start({ netns: true, timeoutMs: 60_000 }));
    const path = join(folder, 'leak.ndjson');
    const env = { ...process.env, NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}` };
    const pids = puppets.flatMap(({ pid }) => ['--pid', String(pid)]);
    const running = Socktrace.start(['record', ...pids, '-o', path, ...SHORT, '--json', '--no-paths'], { env });
    await running.said(/^recording /m);
    const isOver = (): boolean => running.child.exitCode !== null || running.child.signalCode !== null;
    const read = (): number => readFileSync(path, 'latin1').split('{"type":"socket"').length - 1;
    let opened = 0;
    for (let turn = 0; !isOver() && turn < (PUPPETS * MOST_OF_ONE) / STEP; turn++) {
      const puppet = puppets[turn % PUPPETS] as Puppet;
      opened += (await puppet.command(`open g${turn} v4 ${STEP}`)).count;
      await until('the reading of what was opened', () => isOver() || read() >= opened);
    }
    const { code, signal, stdout, stderr } = await running.finished();
    expect({ code, signal }, stderr).toEqual({ code: 1, signal: null });
    expect(stderr).toMatch(
      /the trace ends here, it needs more than [\d.]+ MB of memory: NODE_OPTIONS=--max-old-space-size=\d+/,
    );
    const own: Report = JSON.parse(stdout);
    // It may end before the last ones are opened, and knows of all or of none of them.
    expect([opened - STEP, opened]).toContain(own.sockets.opened);
    expect(own.sockets.held).toBe(own.sockets.opened);
    expect(own.loss).toEqual({ complete: true, reasons: [] });
    const report = await socktrace('report', path, '--json');
    expect({ ...report, stdout: JSON.parse(report.stdout) }).toMatchObject({ code: 0, stderr: '', stdout: own });
    expect(readFileSync(path, 'utf8')).toContain('"because":"no memory was left"');
  } finally {
    for (const puppet of puppets) await puppet.close();
  }
});

/** Half of the heap, as soon as that file is there. */
const hog = (file: string): string => `const { existsSync } = require('node:fs');
setInterval(() => {
  if (existsSync(${JSON.stringify(file)})) globalThis.hog ??= Array.from({ length: ${HEAP_MB} * 65536 }, Math.random);
}, 10).unref();
`;

it('a run whose heap is nearly full: the report is taken, and the command goes on to its end', async () => {
  const [path, full, preload] = ['run.json', 'full', 'hog.cjs'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(preload, hog(full));
  const env = { ...process.env, NODE_OPTIONS: `--max-old-space-size=${HEAP_MB} --require ${preload}` };
  const args = ['run', '--json', '--fail-on-leak', '-o', path, '--', builtProgram('puppet')];
  const running = Socktrace.start(args, { env, stdio: 'pipe' });
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
