// Programs whose code lies on a file system that has stopped answering, so that whoever asks it waits beyond any signal:
// they are traced all the same, socktrace ends when it should, and leaves nothing in the kernel.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, type TestContext } from 'vitest';
import type { PathRef } from '../../src/ledger/types.ts';
import type { Finding, Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { builtProgram, Puppet } from '../host/puppet.ts';
import { Tracing } from '../host/tracing.ts';
import { Program, until } from './programs.ts';
import { heldBy, nothingLeft, Socktrace, socktrace } from './socktrace.ts';

const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];
const READER = /^Name:\tsocktrace-reade$/m;

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'silent-'));
});

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
  rmdirSync(folder);
});

function requireFuse(context: TestContext): void {
  if (!existsSync('/dev/fuse') || !/\tfuse$/m.test(readFileSync('/proc/filesystems', 'utf8')))
    notRun(context, 'this kernel has no FUSE');
}

function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return ''; // it has gone
  }
}

function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((id) => new RegExp(`^PPid:\t${pid}$`, 'm').test(statusOf(id)));
}

const readersOf = (pid: number): number[] => childrenOf(pid).filter((id) => READER.test(statusOf(id)));

/** Waits where no signal reaches it, killed as it is. */
const isStuck = (pid: number): boolean =>
  /^State:\tD/m.test(statusOf(pid)) && /^SigPnd:\t0*100$|^ShdPnd:\t0*100$/m.test(statusOf(pid));

type Mode = 'mounted' | 'detached' | 'overlay' | 'locked';

/** A program of known paths that runs from a silent file system: each of its pages that it needs has been read before. */
async function startSilent(mode: Mode): Promise<{ server: Program; pid: number }> {
  const server = Program.start(builtProgram('silent-files'), folder, builtProgram('code-paths'), mode);
  expect(await server.tell('first 1')).toBe('ok');
  const [pid] = childrenOf(server.pid);
  if (pid === undefined) throw new Error('the program has not been started');
  process.kill(server.pid, 'SIGUSR1');
  expect(await server.line()).toBe('silent');
  return { server, pid };
}

const COUNT = 4;

/** Traces until `enough`, and returns the report of a tracer that has ended of itself. */
async function trace(
  server: Program,
  pid: number,
  enough: (tracer: number) => boolean,
): Promise<{ report: Report; finding: Finding | undefined }> {
  const running = Socktrace.start(['--pid', String(pid), '--json', ...SHORT]);
  await running.tracing();
  expect(await server.tell(`first ${COUNT}`)).toBe('ok');
  const tracer = running.child.pid ?? -1;
  await running.said(/(suspect|LEAK) +4 unused/);
  await until('what the reader does', () => enough(tracer));
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.finished();
  expect(code, stderr).toBe(0);
  const report: Report = JSON.parse(stdout);
  return { report, finding: report.findings.find(({ count }) => count === COUNT) };
}

function pathOf({ callPaths }: Report, ref: PathRef | undefined) {
  if (callPaths.status === 'unavailable') throw new Error(callPaths.reason);
  return ref?.status === 'resolved' ? callPaths.value.find(({ id }) => id === ref.id) : undefined;
}

for (const mode of ['detached', 'overlay'] as const)
  it(`${mode}: the reader is stuck for ever, and nobody else`, async (context) => {
    requireFuse(context);
    const { server, pid } = await startSilent(mode);
    let stuck: number[] = [];
    const { finding } = await trace(server, pid, (tracer) => {
      stuck = readersOf(tracer).filter(isStuck);
      return stuck.length > 0;
    });
    expect(finding).toMatchObject({
      kind: 'unused',
      openPath: { status: 'unavailable', reason: 'its code could not be read in time' },
    });
    // It has survived the tracer, without anything of the tracer's.
    expect(stuck.filter(isStuck)).toEqual(stuck);
    for (const reader of stuck) expect(heldBy(String(reader))).toEqual([]);
    await nothingLeft();
    await server.kill();
    await until('the end of the reader', () => stuck.every((reader) => statusOf(reader) === ''));
  });

it('mounted: its file is not asked for, and has its name in the path', async (context) => {
  requireFuse(context);
  const { server, pid } = await startSilent('mounted');
  const { report, finding } = await trace(server, pid, () => true);
  const path = pathOf(report, finding?.openPath);
  expect(path?.notes).toContain('a file of its code could not be opened');
  expect(path?.frames.map((frame) => frame.module)).toContain(join(folder, 'files/program'));
  await nothingLeft();
});

it('locked: nobody waits for the lock of its mappings, which its arguments cannot be read without', async (context) => {
  requireFuse(context);
  const { server, pid } = await startSilent('locked');
  expect(await server.tell('lock')).toBe('ok');
  const inTime = { status: 'unavailable', reason: 'could not be read in time' };
  const { report, finding } = await trace(server, pid, () => true);
  expect(finding).toMatchObject({ kind: 'unused', count: COUNT });
  expect(report.processes.find((process) => process.pid === pid)?.cmdline).toEqual(inTime);
  await using other = await Puppet.start({});
  await other.command('open a v4 3');
  const look = await socktrace('snapshot', '--json');
  expect(look.code, look.stderr).toBe(0);
  const { processes } = JSON.parse(look.stdout) as Report;
  expect(processes.find((process) => process.pid === pid)?.cmdline).toEqual(inTime);
  expect(processes.find((process) => process.pid === other.pid)?.cmdline.status).toBe('measured');
  await nothingLeft();
});

it('detached: who goes on after a trace keeps no zombie of the reader that was stuck', async (context) => {
  requireFuse(context);
  const { server, pid } = await startSilent('detached');
  let stuck: number[] = [];
  {
    using tracing = Tracing.of([pid]);
    expect(await server.tell(`first ${COUNT}`)).toBe('ok');
    await tracing.until('a reader that is stuck', () => {
      stuck = readersOf(process.pid).filter(isStuck);
      return stuck.length > 0;
    });
  }
  expect(stuck.filter(isStuck)).toEqual(stuck);
  await server.kill();
  await until('the end of the reader', () => stuck.every((reader) => statusOf(reader) === ''));
});
