// A program that opens sockets through 100,000 call paths: what it costs is bounded, what was not sampled is counted, and
// the totals are exact.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { Program, works } from './programs.ts';
import { heldBy, kernelObjects, Socktrace } from './socktrace.ts';

const PATHS = 100_000;
/** Every 1,000th stays open. */
const HELD = 100;
/** At last, of another kind. */
const BOUND = 10;
const MIB = 1024;
/** The tracer's own, over what it takes anyway. */
const MOST_KIB = 192 * MIB;
/** Of all maps and programs, over what they take before. */
const MOST_KERNEL_BYTES = 32 << 20;

/** Of one process: bpf/callpath.bpf.h. */
const CAPTURES_SAVED = 200;
const CAPTURES_ALWAYS = 64;
const CAPTURES_A_SECOND = 200;

const folder = mkdtempSync(join(tmpdir(), 'socktrace-many-paths-'));

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
  rmSync(folder, { recursive: true, force: true });
});

function peakKib(pid: number | undefined): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** What the kernel accounts to the maps and programs that a process holds. */
function kernelBytes(pid: number | undefined): number {
  let bytes = 0;
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      bytes += Number(/^memlock:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1] ?? 0);
    } catch {
      // Closed meanwhile.
    }
  }
  return bytes;
}

interface Budget {
  key: { code: { tgid: number } };
  value: { taken: number; refilled_ns: number };
}

/** What a tracer has spent on whole stacks of a process, as its BPF programs count it. */
async function budgetOf(tracer: number | undefined, pid: number): Promise<Budget['value']> {
  const held = new Set(heldBy(String(tracer)));
  const map = (await kernelObjects()).find(({ key, name }) => name === 'capture_budgets' && held.has(key));
  if (map === undefined) throw new Error(`the tracer has no capture_budgets: ${[...held].join(', ')}`);
  const dump = execFileSync('bpftool', ['-j', 'map', 'dump', 'id', map.key.replace('map ', '')], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const entries = (JSON.parse(dump) as { formatted: Budget }[]).map(({ formatted }) => formatted);
  // A place has an address besides.
  const own = entries.filter(({ key }) => key.code.tgid === pid && !isPlace(key));
  if (own.length !== 1) throw new Error(`${own.length} budgets of ${pid}, of ${entries.length}`);
  return (own[0] as Budget).value;
}

function isPlace({ code: _, ...address }: Budget['key'] & Record<string, unknown>): boolean {
  return Object.values(address).some((number) => number !== 0);
}

it('100,000 call paths', async (context) => {
  if (!works('gcc', ['--version'])) notRun(context, 'there is no gcc');
  const compiled = join(folder, 'many-paths');
  execFileSync('gcc', ['-O2', '-g', '-o', compiled, join(import.meta.dirname, 'many_paths.c')]);
  if (!works('bpftool', ['version'])) notRun(context, 'bpftool is not installed');
  const program = Program.start(compiled, String(PATHS));
  await program.said(/(ready)/);
  const tracer = Socktrace.start(['--pid', `${program.pid}`, '--json', '--min-age', '200ms', '--leak-age', '400ms']);
  await tracer.tracing();
  const before = peakKib(tracer.child.pid);
  const kernelBefore = kernelBytes(tracer.child.pid);
  expect(kernelBefore).toBeGreaterThan(0);
  const goNs = Number(process.hrtime.bigint());
  program.write('go');
  await program.said(/(opened)/);
  // Of a slow run the last few are no news. What comes after them all is.
  program.write('bind');
  await tracer.said(/bound-inactive/);
  expect(peakKib(tracer.child.pid) - before).toBeLessThan(MOST_KIB);
  expect(kernelBytes(tracer.child.pid) - kernelBefore).toBeLessThan(MOST_KERNEL_BYTES);
  const { taken, refilled_ns: lastNs } = await budgetOf(tracer.child.pid, program.pid);
  // Two CPUs may take the same one.
  const earned = (CAPTURES_A_SECOND * (lastNs - goNs)) / 1e9;
  expect(taken).toBeGreaterThan(CAPTURES_ALWAYS);
  expect(taken).toBeLessThanOrEqual(CAPTURES_SAVED + CAPTURES_ALWAYS + earned + cpus().length);
  tracer.child.kill('SIGINT');
  const report: Report = JSON.parse((await tracer.finished()).stdout);

  expect(report.loss).toEqual({ complete: true, reasons: [] });
  expect(report.sockets).toMatchObject({
    opened: PATHS + BOUND,
    destroyed: PATHS - HELD,
    held: HELD + BOUND,
  });
  const unused = report.findings.filter(({ kind }) => kind === 'unused');
  expect(unused.reduce((sum, { count }) => sum + count, 0)).toBe(HELD);
  if (report.callPaths.status === 'unavailable') throw new Error(report.callPaths.reason);
  const listed = report.callPaths.value;
  const counted = listed.map(({ counters }) => counters?.opened ?? 0);
  const more = report.callPathsNotListed;
  const notSampled = report.callPathsNotSampled?.opened ?? 0;
  // It had a budget, kept to it, and says what that left out.
  expect(listed.length).toBeGreaterThan(0);
  expect(notSampled).toBeGreaterThan(0);
  // No stack is another's: each that is told apart was copied.
  expect(PATHS + BOUND - notSampled).toBeLessThanOrEqual(taken);
  // Each path opens one socket: none is told twice.
  expect(new Set(listed.map(({ id }) => id)).size).toBe(listed.length);
  expect(counted.reduce((sum, count) => sum + count, 0) + (more?.counters.opened ?? 0) + notSampled).toBe(
    PATHS + BOUND,
  );
});
