// Call paths from the hook to the report, through known chains of functions.
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PathRef } from '../../src/ledger/types.ts';
import type { Finding, Report, ReportCallPath } from '../../src/report/types.ts';
import { builtProgram } from './puppet.ts';
import { Tracing } from './tracing.ts';

/** A program that does what it is told, through functions whose names the tests know. */
class CodePaths {
  readonly #child: ChildProcess;
  readonly #lines: Interface;

  constructor(executable = builtProgram('code-paths')) {
    this.#child = spawn(executable, { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new Error('no standard output');
    this.#lines = createInterface(this.#child.stdout);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the program was not started');
    return this.#child.pid;
  }

  /** Resolves once the program has done it. */
  async command(name: string, count = 1): Promise<void> {
    const answered = new Promise<void>((resolve, reject) => {
      const gone = (): void => reject(new Error(`the program ended at "${name}"`));
      this.#child.once('exit', gone);
      this.#lines.once('line', (line) => {
        this.#child.off('exit', gone);
        if (line === 'ok') resolve();
        else reject(new Error(`"${name}" answered "${line}"`));
      });
    });
    this.#child.stdin?.write(`${name} ${count}\n`);
    await answered;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.stdin?.end();
    await ended;
  }
}

function pathOf(report: Report, ref: PathRef | null): ReportCallPath | undefined {
  if (report.callPaths.status === 'unavailable') throw new Error(report.callPaths.reason);
  return ref?.status === 'resolved' ? report.callPaths.value.find(({ id }) => id === ref.id) : undefined;
}

/** Functions of a path as they are, innermost first, without the wrapper of the system call and what lies below main. */
function functionsOf(path: ReportCallPath | undefined): (string | null)[] {
  const names = (path?.frames ?? []).map((frame) => frame.function);
  const main = names.indexOf('main');
  return names.slice(1, main < 0 ? names.length : main + 1);
}

function openedThrough({ callPaths }: Report, name: string): number {
  if (callPaths.status === 'unavailable') return 0;
  return callPaths.value
    .filter((path) => functionsOf(path).includes(name))
    .reduce((sum, { counters }) => sum + (counters?.opened ?? 0), 0);
}

function functions(report: Report, ref: PathRef | null): (string | null)[] {
  return functionsOf(pathOf(report, ref));
}

/** The one finding whose sockets were opened by a path that has this function. */
function openedBy(report: Report, name: string): Finding | undefined {
  return report.findings.find(({ openPath }) => functions(report, openPath).includes(name));
}

/** Sockets and their path do not become known at once. */
function hasPath(finding: Finding | undefined, count: number): boolean {
  return finding?.count === count && finding.openPath.status === 'resolved';
}

const SHARED = ['shared_open', 'shared_middle', 'shared_outer'];

describe('paths', () => {
  it('that share their last three functions are told apart, by the cache too, and every socket counts', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('both', 2);
    await tracing.until('the first paths', (report) => openedBy(report, 'second_way') !== undefined);
    const before = tracing.session.callPathStats();
    await program.command('both', 3_000);
    const report = await tracing.until('all of them', ({ findings }) => {
      return findings.reduce((sum, { count }) => sum + count, 0) === 6_004;
    });
    expect(report.findings.map(({ openPath, count }) => [functions(report, openPath), count])).toEqual(
      expect.arrayContaining([
        [[...SHARED, 'first_way', 'main'], 3_002],
        [[...SHARED, 'second_way', 'main'], 3_002],
      ]),
    );
    const after = tracing.session.callPathStats();
    // One answer in 256 is checked: that none of 6,000 is has a probability of 1e-10.
    expect(after.cached - before.cached).toBe(6_000);
    await tracing.until('audits', () => tracing.session.callPathStats().audited > 0);
    expect(tracing.session.callPathStats().wrong).toBe(0);
    for (const name of ['first_way', 'second_way']) {
      const path = pathOf(tracing.session.report(), openedBy(report, name)?.openPath ?? null);
      expect(path?.quality).toBe('complete');
      expect(path?.counters).toMatchObject({ opened: 3_002, bound: 0, connected: 0, closedUnused: 0, held: 3_002 });
    }
  });

  it('of the open and of the bind, and what became of all their sockets', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('listen');
    await program.command('bind', 5);
    await program.command('bind-taken', 4);
    await program.command('close', 3);
    await program.command('use', 7);
    const report = await tracing.until('both findings, and the counts of their paths', (now) => {
      const countsOf = ({ openPath, bindPath }: Finding) =>
        [openPath, bindPath].map((ref) => pathOf(now, ref)?.counters);
      return now.findings.length === 2 && now.findings.flatMap(countsOf).every((counters) => counters != null);
    });
    const bound = report.findings.find(({ kind }) => kind === 'bound-inactive');
    const failed = report.findings.find(({ kind }) => kind === 'bind-failed');
    expect(bound?.count).toBe(5);
    expect(functions(report, bound?.openPath ?? null)).toEqual(['shared_open', 'open_and_bind', 'repeat', 'main']);
    expect(functions(report, bound?.bindPath ?? null)).toEqual(['bind_it', 'open_and_bind', 'repeat', 'main']);
    expect(pathOf(report, bound?.bindPath ?? null)?.counters).toMatchObject({ bound: 5, bindFailed: 0, held: 5 });
    expect(failed).toMatchObject({ count: 4, errno: 'EADDRINUSE' });
    expect(functions(report, failed?.bindPath ?? null)).toEqual(['bind_it', 'open_and_fail_to_bind', 'main']);
    expect(pathOf(report, failed?.bindPath ?? null)?.counters).toMatchObject({ bound: 0, bindFailed: 4, held: 4 });

    const final = tracing.finish();
    if (final.callPaths.status === 'unavailable') throw new Error(final.callPaths.reason);
    const counters = (name: string) =>
      final.callPaths.status === 'measured' &&
      final.callPaths.value.find((path) => functionsOf(path).includes(name) && path.counters?.opened)?.counters;
    expect(counters('open_and_close')).toMatchObject({ opened: 3, closedUnused: 3, held: 0 });
    expect(counters('use_and_close')).toMatchObject({ opened: 7, connected: 7, closedUnused: 0, held: 0 });
    expect(counters('start_listening')).toMatchObject({ opened: 1, bound: 1, listened: 1, held: 1 });
  });

  it('of an accept, and of connects that fail at once and later', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('listen');
    await program.command('accept', 4);
    await program.command('connect-refused', 3);
    await program.command('connect-refused-later', 2);
    const refusals = ({ failures }: Report) =>
      failures.status === 'measured' ? failures.value.filter(({ pid }) => pid === program.pid) : [];
    const report = await tracing.until('all findings, and the path of the failures', (now) => {
      const counted = now.findings.every(({ openPath }) => pathOf(now, openPath)?.counters != null);
      return counted && now.findings.length === 3 && refusals(now).every(({ path }) => path?.status === 'resolved');
    });
    const accepted = report.findings.find(({ kind }) => kind === 'close-wait');
    expect(functions(report, accepted?.openPath ?? null)).toEqual([
      'accept_one',
      'leave_in_close_wait',
      'repeat',
      'main',
    ]);
    expect(pathOf(report, accepted?.openPath ?? null)?.counters).toMatchObject({ opened: 0, accepted: 4, held: 4 });
    expect(refusals(report).map(({ path, count }) => [functions(report, path)[0], count])).toEqual([
      [expect.stringMatching(/^open_and_fail_(to_connect|later)$/), 5],
    ]);
    const opened = openedBy(report, 'open_and_fail_later');
    expect(opened).toMatchObject({ kind: 'connect-failed', count: 2, errno: 'ECONNREFUSED' });
    expect(pathOf(report, opened?.openPath ?? null)?.counters).toMatchObject({ connectFailed: 2, connected: 0 });
  });

  it('of threads end in the thread, not in main', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('thread', 6);
    const report = await tracing.until('the finding', ({ findings }) => hasPath(findings[0], 6));
    const path = pathOf(report, report.findings[0]?.openPath ?? null);
    expect(functionsOf(path).slice(0, 5)).toEqual([...SHARED, 'first_way', 'thread_main']);
    expect(path?.quality).toBe('complete');
  });

  it('of stacks larger than the usual copy: the next ones are copied further', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('far-down', 1);
    await tracing.until('the first one', (report) => openedBy(report, 'open_far_down') !== undefined);
    await program.command('far-down', 3);
    const report = await tracing.until('a complete one', (now) =>
      now.findings.some(({ openPath, count }) => pathOf(now, openPath)?.quality === 'complete' && count === 3),
    );
    const complete = report.findings.find(({ count }) => count === 3);
    expect(functions(report, complete?.openPath ?? null)).toEqual(['shared_open', 'open_far_down', 'repeat', 'main']);
    const first = pathOf(report, report.findings.find(({ count }) => count === 1)?.openPath ?? null);
    expect(first?.quality).toBe('truncated');
    expect(functionsOf(first).slice(0, 2)).toEqual(['shared_open', 'open_far_down']);
  });

  it('that no cache can hold are cut where they are too long, and say so', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('deep', 400);
    const report = await tracing.until(
      'the finding',
      ({ findings }) => findings.length === 1 && hasPath(findings[0], 1),
    );
    const path = pathOf(report, report.findings[0]?.openPath ?? null);
    expect(path?.quality).toBe('truncated');
    expect(functionsOf(path).slice(0, 3)).toEqual(['shared_open', 'go_down', 'go_down']);
  });

  it('of a child that has exited by now are those of the code it shared with its parent', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('first', 1);
    await tracing.until('the code of the parent', (report) => openedBy(report, 'first_way') !== undefined);
    await program.command('child', 5);
    const report = await tracing.until('what the child left', ({ findings }) =>
      findings.some(({ heldAtExit }) => heldAtExit === 5),
    );
    const left = report.findings.find(({ heldAtExit }) => heldAtExit === 5);
    expect(functions(report, left?.openPath ?? null)).toEqual([
      ...SHARED,
      'second_way',
      'child_opens_and_exits',
      'main',
    ]);
    // The next child runs the same code, so the cache knows its stacks at once.
    const before = tracing.session.callPathStats();
    await program.command('child', 300);
    await tracing.until('what the next child left', ({ findings }) => {
      return findings.some(({ heldAtExit, openPath }) => heldAtExit === 305 && openPath.status === 'resolved');
    });
    expect(tracing.session.callPathStats().cached - before.cached).toBe(300);
  });

  it('of a child that is older than the trace', async () => {
    await using program = new CodePaths();
    await program.command('fork-child');
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('child-opens', 5);
    const report = await tracing.until('the finding', ({ findings }) => {
      return findings.some(({ count, openPath }) => count === 5 && openPath.status === 'resolved');
    });
    const [finding] = report.findings;
    expect(functions(report, finding?.openPath ?? null)).toEqual([
      ...SHARED,
      'second_way',
      'child_serves',
      'fork_child',
      'main',
    ]);
    const owner = report.processes.find(
      ({ id }) => finding?.process.status === 'measured' && id === finding.process.value,
    );
    expect(owner?.pid).not.toBe(program.pid);
  });

  it('of a program that has called exec since are not read by the code of the next one', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    // Nobody looks in between.
    await program.command('first', 3);
    await program.command('exec');
    await program.command('first', 2);
    const report = await tracing.until('both findings', ({ findings }) => {
      const counts = findings.map(({ count }) => count).sort();
      return counts.join() === '2,3' && findings.every(({ openPath }) => openPath.status !== 'pending');
    });
    const [before, after] = [3, 2].map((count) => report.findings.find((finding) => finding.count === count));
    expect(before?.openPath).toEqual({ status: 'unavailable', reason: 'the process has called exec since' });
    expect(functions(report, after?.openPath ?? null)).toEqual([...SHARED, 'first_way', 'main']);
  });

  it('through a library that took the place of another one have its name, once that is known', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('former', 20);
    await tracing.until('the first one', (report) => openedThrough(report, 'former_inner') === 20);
    // The cache believes its return addresses until the mappings are read again.
    let opened = 0;
    for (let report = tracing.session.report(); openedThrough(report, 'latter_inner') === 0; ) {
      expect(opened).toBeLessThan(256 * 40); // by chance: 1e-17
      await program.command('latter', 64);
      opened += 64;
      report = await tracing.until('all of them', (now) => {
        return openedThrough(now, 'former_inner') + openedThrough(now, 'latter_inner') === 20 + opened;
      });
    }
    const former = openedThrough(tracing.session.report(), 'former_inner');
    await program.command('latter', 200);
    const report = await tracing.until('the last ones', (now) => {
      return openedThrough(now, 'latter_inner') === 20 + opened + 200 - former;
    });
    expect(openedThrough(report, 'former_inner')).toBe(former);
  });

  it('through such a library, by a process that opens few: its mappings are read again all the same', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('former', 20);
    await tracing.until('the first one', (report) => openedThrough(report, 'former_inner') === 20);
    // So few are checked by chance one time in ten.
    for (let opened = 1; openedThrough(tracing.session.report(), 'latter_inner') === 0; opened++) {
      expect(opened).toBeLessThan(25);
      await program.command('latter', 1);
      const endMs = performance.now() + 500;
      await tracing.until('one more, and a pause', (now) => {
        const all = openedThrough(now, 'former_inner') + openedThrough(now, 'latter_inner');
        return all === 20 + opened && performance.now() > endMs;
      });
    }
  });

  it('in any number are counted to the last socket: what was not sampled is a sum of its own', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    // Nobody reads meanwhile: the cache learns nothing, and the budget is soon spent.
    await program.command('first', 5_000);
    const report = await tracing.until('all of them', ({ findings }) => {
      return findings.reduce((sum, { count }) => sum + count, 0) === 5_000;
    });
    const final = tracing.finish();
    if (final.callPaths.status === 'unavailable') throw new Error(final.callPaths.reason);
    const sampled = final.callPaths.value.reduce((sum, { counters }) => sum + (counters?.opened ?? 0), 0);
    expect(sampled).toBeGreaterThan(0);
    expect(final.callPathsNotSampled?.opened).toBeGreaterThan(0);
    expect(sampled + (final.callPathsNotSampled?.opened ?? 0)).toBe(5_000);
    expect(report.findings.map(({ openPath }) => openPath.status).sort()).toEqual(['not-sampled', 'resolved']);
  });
});

describe('the unwinder', () => {
  it('killed in between: counted, started again, and names come again', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('first', 2);
    await tracing.until('the first path', (report) => openedBy(report, 'first_way') !== undefined);
    process.kill(tracing.session.callPathStats().unwinderPid, 'SIGKILL');
    await tracing.until('its next life', () => {
      const { deaths, unwinderPid } = tracing.session.callPathStats();
      return deaths === 1 && unwinderPid > 0;
    });
    await program.command('bind', 3);
    const report = await tracing.until('the next path', (now) => openedBy(now, 'open_and_bind')?.count === 3);
    expect(functions(report, openedBy(report, 'first_way')?.openPath ?? null)).toContain('first_way');
    const lost = tracing.finish().loss.reasons.filter(({ code }) => code === 'unwinder-died');
    expect(lost.map(({ count }) => count)).toEqual([1]);
  });

  it('killed again and again: each time counted, and no socket is missing', async () => {
    const kills = 6;
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: true });
    for (let kill = 1; kill <= kills; kill++) {
      await program.command('first', 5);
      await tracing.until('an unwinder', () => tracing.session.callPathStats().unwinderPid > 0);
      process.kill(tracing.session.callPathStats().unwinderPid, 'SIGKILL');
      await tracing.until('its death', () => tracing.session.callPathStats().deaths === kill);
    }
    const total = 5 * kills;
    await tracing.findings([{ kind: 'unused', count: total, pid: program.pid }]);
    const report = tracing.finish();
    expect(report.sockets).toMatchObject({ opened: total, held: total });
    expect(report.loss.reasons).toEqual([expect.objectContaining({ code: 'unwinder-died', count: kills })]);
    expect(report.verdict.is).toBe('leak');
  });

  it('is not there: everything else is', async () => {
    await using program = new CodePaths();
    using tracing = Tracing.of([program.pid], { callPaths: false });
    await program.command('first', 4);
    await tracing.findings([{ kind: 'unused', count: 4, pid: program.pid }]);
    const report = tracing.finish();
    expect(report.callPaths).toEqual({ status: 'unavailable', reason: 'switched off by --no-paths' });
    expect(report.findings[0]?.openPath.status).toBe('unavailable');
  });
});

describe('a program that was deleted', () => {
  const folder = mkdtempSync(join(tmpdir(), 'deleted-'));
  const executable = join(folder, 'code-paths');

  beforeAll(() => copyFileSync(builtProgram('code-paths'), executable));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('has its paths all the same', async () => {
    await using program = new CodePaths(executable);
    rmSync(executable);
    using tracing = Tracing.of([program.pid], { callPaths: true });
    await program.command('first', 4);
    const report = await tracing.until('the finding', ({ findings }) => hasPath(findings[0], 4));
    expect(functions(report, report.findings[0]?.openPath ?? null)).toEqual([...SHARED, 'first_way', 'main']);
  });
});
