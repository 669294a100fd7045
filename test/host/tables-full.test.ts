// Each table of the kernel side is made too small for what happens: what is lost is counted and said, what is kept is exact.
import { describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { Puppet } from './puppet.ts';
import { Tracing } from './tracing.ts';

function lost({ loss }: Report, code: string): number {
  return loss.reasons.find((reason) => reason.code === code)?.count ?? 0;
}

/** Failed calls of one process, as reported. */
function failed(report: Report, pid: number): number {
  const process = report.processes.find((known) => known.pid === pid)?.id;
  if (report.failures.status === 'unavailable') throw new Error(report.failures.reason);
  return report.failures.value.filter((one) => one.process === process).reduce((sum, { count }) => sum + count, 0);
}

/** Sockets in the counts of call paths. */
function openedByPaths({ callPaths, callPathsNotSampled }: Report): number {
  const paths = callPaths.status === 'measured' ? callPaths.value : [];
  const counted = [...paths.map(({ counters }) => counters), callPathsNotSampled];
  return counted.reduce((sum, counters) => sum + (counters?.opened ?? 0), 0);
}

/** Failures in four rows of the table, by their errno: 20, 20, 5 and 5 of them. Nothing of it is held afterwards. */
async function failInFourWays(puppet: Puppet): Promise<number> {
  let failures = 0;
  for (const line of [
    'open a v4 20',
    'connect a lo 9',
    'open b v4 21',
    'bind b 7000',
    'open c v4 5',
    'bind c zero 192.0.2.1',
    'open d v4 5',
    'bind d zero',
    'bind d zero',
  ])
    failures += Object.values((await puppet.command(line)).errors).reduce((sum, count) => sum + count, 0);
  for (const group of ['a', 'b', 'c', 'd']) await puppet.command(`close ${group}`);
  return failures;
}

describe('the table of failed calls', () => {
  it('of traced processes: what found no row is counted, and no socket is missing', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { sizes: { maxFailures: 2 } });
    const failures = await failInFourWays(puppet);
    expect(failures).toBe(50);
    await tracing.ripen();
    const report = tracing.finish();
    expect(lost(report, 'failure-table-full')).toBe(10);
    expect(failed(report, puppet.pid)).toBe(40);
    expect(report.loss.complete).toBe(false);
    expect(report.sockets).toMatchObject({ opened: 51, destroyed: 51, held: 0 });
    expect(report.verdict).toEqual({ is: 'no-leak' });
  });

  it('of all others: the same, and those of traced processes have their own', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await using stranger = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { sizes: { maxFailures: 2 } });
    const failures = await failInFourWays(stranger);
    // In two rows.
    await puppet.commands('open a v4 7', 'connect a lo 9', 'bind a zero 192.0.2.1', 'close a');
    await tracing.ripen();
    const report = tracing.finish();
    // Others of this host may have got a row, or be among those who got none.
    expect(failed(report, stranger.pid)).toBeLessThanOrEqual(40);
    expect(failed(report, stranger.pid) + lost(report, 'victim-table-full')).toBeGreaterThanOrEqual(failures);
    expect(lost(report, 'failure-table-full')).toBe(0);
    expect(failed(report, puppet.pid)).toBe(14);
    expect(report.verdict).toEqual({ is: 'no-leak' });
  });
});

describe('the table of processes', () => {
  it('a child that found no room is not followed: counted, and the verdict is not known', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { maxProcesses: 2 });
    const children: number[] = [];
    for (let i = 1; i <= 4; i++) {
      children.push((await puppet.command('fork')).pid ?? 0);
      await puppet.command(`child ${i} open g v4 ${10 * i}`);
    }
    const report = await tracing.findings([{ kind: 'unused', count: 10, pid: children[0] as number }]);
    expect(lost(report, 'process-table-full')).toBeGreaterThanOrEqual(3);
    // What was found becomes one, whatever else there is.
    await tracing.until('a leak', ({ verdict }) => verdict.is === 'leak');
    await puppet.command('child 1 close g');
    await tracing.findings([]);
    expect(tracing.session.report().verdict.is).toBe('not-known');
    // Its row goes a second after its exit. Then there is room again, and the loss stays said.
    await puppet.command('child 1 exit');
    await tracing.until('room', () => {
      const { ledger } = tracing.session;
      const exitedMs = [...ledger.processes()].find(({ facts }) => facts.pid === children[0])?.facts.exitedMs;
      return (exitedMs ?? null) !== null && ledger.nowMs > (exitedMs ?? 0) + 2_000;
    });
    await puppet.commands('fork', 'child 5 open g v4 7');
    await tracing.findings([{ kind: 'unused', count: 7 }]);
    const final = tracing.finish();
    expect(final.sockets.opened).toBe(17);
    expect(lost(final, 'process-table-full')).toBeGreaterThanOrEqual(3);
  });
});

describe('the table of call paths', () => {
  it('sockets whose path found no row are counted, and are in their findings all the same', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { sizes: { maxPaths: 1 } });
    // Nobody reads meanwhile: each open is a capture of its own.
    await puppet.command('open g v4 30');
    await tracing.findings([{ kind: 'unused', count: 30, pid: puppet.pid }]);
    await tracing.until('each of them counted or lost', (report) => {
      const lostOnes = lost(report, 'path-table-full');
      return lostOnes > 0 && openedByPaths(report) + lostOnes === 30;
    });
    await puppet.command('close g');
    await tracing.findings([]);
    await tracing.until('the leak age', ({ verdict }) => verdict.is === 'no-leak');
    const final = tracing.finish();
    expect(final.loss.complete).toBe(false);
    expect(final.sockets).toMatchObject({ opened: 30, destroyed: 30, held: 0 });
    expect(final.verdict).toEqual({ is: 'no-leak' });
  });
});

describe('the smallest rings', () => {
  it('no stack finds room in a ring of one page: counted as not sampled, and the findings are exact', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { eventRingBytes: 4096, sizes: { stackRingBytes: 4096 } });
    await puppet.commands('open g v4 300', 'open b v6 40', 'bind b zero');
    const report = await tracing.findings([
      { kind: 'unused', count: 300, ports: 0, pid: puppet.pid },
      { kind: 'bound-inactive', count: 40, ports: 40, pid: puppet.pid },
    ]);
    expect(report.findings.map(({ openPath }) => openPath.status)).toEqual(['not-sampled', 'not-sampled']);
    expect(report.callPathsNotSampled).toMatchObject({ opened: 340, bound: 40, held: 340 });
    expect(lost(report, 'stack-ring-full')).toBeGreaterThan(0);
    // 340 opens, 40 binds and their changes of state in 64 records' room, which nobody read.
    expect(lost(report, 'event-ring-full')).toBeGreaterThan(0);
    expect(tracing.finish().sockets).toMatchObject({ opened: 340, held: 340 });
  });
});
