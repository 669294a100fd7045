// What may happen to a tracer and to what it traces: stopped, killed, short of descriptors and memory, watched twice,
// debugged, frozen. The report is exact, or says what is missing.
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { type Answer, Puppet } from '../host/puppet.ts';
import { Cgroup } from './cgroups.ts';
import { Program, until, works } from './programs.ts';
import { heldBy, kernelObjects, Socktrace } from './socktrace.ts';

const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];
const STOPPED_MS = 5_000;
/** Their rows are some 5 MiB. */
const MANY = 19_000;
const BATCHES = 10;

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
});

function pidArguments(...puppets: readonly { pid: number }[]): string[] {
  return puppets.flatMap(({ pid }) => ['--pid', String(pid)]);
}

/** Ends a trace as Ctrl-C does, and gives its document. */
async function reportOf(running: Socktrace): Promise<Report> {
  running.child.kill('SIGINT');
  const { code, stdout, stderr } = await running.finished();
  if (code !== 0) throw new Error(`exit status ${code}: ${stderr}`);
  return JSON.parse(stdout) as Report;
}

/** Loss of sockets: a stack that found no room is none. */
function lossOf({ loss }: Report): string[] {
  return loss.reasons.map(({ code }) => code).filter((code) => code !== 'stack-ring-full' && code !== 'destroy-unseen');
}

function findingsOf({ findings }: Report): string[] {
  const sums = new Map<string, number>();
  for (const { kind, errno, process, count } of findings) {
    const pid = process.status === 'measured' ? process.value.split(':')[1] : '?';
    const key = `${pid} ${kind} ${errno}`;
    sums.set(key, (sums.get(key) ?? 0) + count);
  }
  return [...sums].map(([key, count]) => `${key} ${count}`).sort();
}

function activityOf({ processes }: Report, pid: number): { opened: number; accepted: number; destroyed: number } {
  const activity = processes.find((process) => process.pid === pid)?.activity;
  if (activity?.status !== 'measured') throw new Error(`${pid} is not in the report`);
  const { opened, accepted, destroyed } = activity.value;
  return { opened, accepted, destroyed };
}

function stateOf(pid: number): string {
  return /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '?';
}

function exists(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && stateOf(pid) !== 'Z';
}

/** Stops twice in socket(), looks, and goes. */
const GDB = ['break socket', 'continue', 'bt', 'continue', 'bt', 'delete', 'detach'].flatMap((line) => ['-ex', line]);

it('stopped for seconds while four programs go at full speed: exact to the last socket', async () => {
  const puppets = await Promise.all(
    ['v4', 'v6', 'v4', 'v6'].map(() => Puppet.start({ netns: true, timeoutMs: 90_000 })),
  );
  try {
    const running = Socktrace.start([...pidArguments(...puppets), ...SHORT, '--json']);
    await running.tracing();
    await Promise.all(puppets.map((puppet) => puppet.commands('open sent v4 100', 'bind sent zero')));
    await running.said(/bound-inactive/);
    running.child.kill('SIGSTOP');
    await until('the stop', () => stateOf(running.child.pid as number) === 'T');
    const modes = ['openbindclose', 'healthy', 'openclose', 'reset-storm'];
    for (const [i, puppet] of puppets.entries())
      await puppet.command(`churn-thread 1000000000 ${i % 2 === 0 ? 'v4' : 'v6'} ${modes[i]}`);
    // The only wait for time, since time is what is tested.
    await sleep(STOPPED_MS);
    const truths: Answer[] = [];
    for (const [i, puppet] of puppets.entries()) {
      truths.push(await puppet.command('churn-stop'));
      await puppet.commands('close sent', `open left v6 ${10 * (i + 1)}`);
    }
    running.child.kill('SIGCONT');
    await until('what is left', () => /unused/.test(running.stderr));
    const report = await reportOf(running);
    expect(findingsOf(report)).toEqual(puppets.map(({ pid }, i) => `${pid} unused null ${10 * (i + 1)}`).sort());
    for (const [i, puppet] of puppets.entries()) {
      const { opened = 0, accepted = 0 } = truths[i] as Answer;
      expect(activityOf(report, puppet.pid)).toEqual({
        opened: opened + 100 + 10 * (i + 1),
        accepted,
        destroyed: opened + accepted + 100,
      });
    }
    expect(lossOf(report)).toEqual([]);
    expect(report.sockets.held).toBe(100);
  } finally {
    for (const puppet of puppets) await puppet.close();
  }
});

it('kill -9 in the middle of a storm: its programs, maps, links and helpers are gone, and the calls of the traced go on', async () => {
  await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
  const running = Socktrace.start([...pidArguments(puppet), ...SHORT]);
  await running.tracing();
  const pid = running.child.pid as number;
  await puppet.command('open g v4 20');
  await running.said(/unused/);
  await puppet.command('churn-thread 1000000000 v4 healthy');
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  expect(children.map((child) => readFileSync(`/proc/${child}/comm`, 'utf8').trim())).toContain('socktrace-unwin');
  const held = new Set(heldBy(String(pid)));
  expect([...held].filter((one) => one.startsWith('prog')).length).toBeGreaterThan(10);
  running.child.kill('SIGKILL');
  await running.finished();
  await until('an empty kernel', async () => !(await kernelObjects()).some(({ key }) => held.has(key)));
  await until('the end of its children', () => !children.some(exists));
  const { count, errors, opened = 0, accepted } = await puppet.command('churn-stop');
  expect(count).toBeGreaterThan(0);
  expect({ errors, opened, accepted }).toEqual({ errors: {}, opened: count + 1, accepted: count });
  expect(await puppet.commands('open h v6 5', 'bind h zero')).toMatchObject({ count: 5, errors: {} });
});

it('two tracers of one program: the same, and both exact', async () => {
  await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
  const both = [0, 1].map(() => Socktrace.start([...pidArguments(puppet), ...SHORT, '--json']));
  for (const one of both) await one.tracing();
  await puppet.command('churn-thread 5000 v4 healthy');
  await puppet.command('churn-thread 5000 v6 reset-storm');
  await puppet.commands('open a v4 30', 'bind a zero', 'open b v6 20', 'connect b lo 9', 'open c v4 7');
  const { opened = 0, accepted = 0 } = await puppet.command('churn-wait');
  for (const one of both) await one.said(/unused/);
  const reports: Report[] = [];
  for (const one of both) reports.push(await reportOf(one));
  for (const report of reports) {
    expect(findingsOf(report)).toEqual([
      `${puppet.pid} bound-inactive null 30`,
      `${puppet.pid} connect-failed ECONNREFUSED 20`,
      `${puppet.pid} unused null 7`,
    ]);
    expect(report.sockets).toMatchObject({ opened: opened + 57, accepted, destroyed: opened + accepted, held: 57 });
    expect(lossOf(report).filter((code) => code !== 'call-result-missed')).toEqual([]);
    expect(report.verdict.is).toBe('leak');
  }
});

describe('short of', () => {
  it.each([70, 80, 88, 92, 98, 104, 128])('descriptors (%i): refused with the reason, or exact', async (limit) => {
    await using puppet = await Puppet.start({ netns: true });
    const shell = ['sh', '-c', `ulimit -n ${limit}; exec "$@"`, 'sh'];
    const running = Socktrace.startUnder(shell, [...pidArguments(puppet), ...SHORT, '--json']);
    const begun = await running.tracing().then(
      () => true,
      () => false,
    );
    if (!begun) {
      const { code, stderr } = await running.finished();
      expect(stderr).toContain('ulimit -n 1024');
      expect(code).toBe(3);
      return;
    }
    await puppet.commands('open g v4 300', 'bind g zero', 'open h v6 50', 'connect h lo 9');
    await running.said(/connect-failed/);
    const report = await reportOf(running);
    expect(findingsOf(report)).toEqual([
      `${puppet.pid} bound-inactive null 300`,
      `${puppet.pid} connect-failed ECONNREFUSED 50`,
    ]);
    expect(report.sockets).toMatchObject({ opened: 350, held: 350 });
  });

  it('locked memory: refused with the reason, or exact', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const shell = ['sh', '-c', 'ulimit -l 0; exec "$@"', 'sh'];
    const running = Socktrace.startUnder(shell, [...pidArguments(puppet), ...SHORT, '--json']);
    // Before 5.11 the kernel counts maps against it.
    if (
      await running.tracing().then(
        () => false,
        () => true,
      )
    ) {
      expect(await running.finished()).toMatchObject({ code: 3, stderr: expect.stringMatching(/EPERM|MEMLOCK/) });
      return;
    }
    await puppet.command('open g v4 300');
    await running.said(/unused/);
    expect((await reportOf(running)).sockets).toMatchObject({ opened: 300, held: 300 });
  });

  it('address space: refused with the reason', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const shell = ['sh', '-c', 'ulimit -v 800000; exec "$@"', 'sh'];
    const { code, stderr } = await Socktrace.startUnder(shell, [
      ...pidArguments(puppet),
      '--duration',
      '1s',
    ]).finished();
    expect(stderr).toMatch(/ENOMEM|out of memory|Fatal process OOM/i);
    expect(code).not.toBe(0);
  });

  it('memory for its tables: the sockets that found no room are counted, and the report says that it cannot know', async (context) => {
    const version2 = Cgroup.with('memory.max', 'memory');
    const found = version2 ?? Cgroup.with('memory.limit_in_bytes', 'memory');
    if (found === null) notRun(context, 'no cgroup limits memory here');
    const [limit, usage] = version2
      ? ['memory.max', 'memory.current']
      : ['memory.limit_in_bytes', 'memory.usage_in_bytes'];
    await using group = found;
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
    const shell = ['sh', '-c', `echo $$ > ${group.processes}; exec "$@"`, 'sh'];
    const running = Socktrace.startUnder(shell, [...pidArguments(puppet), ...SHORT, '--json', '--no-paths']);
    await running.tracing();
    await puppet.command('open first v4 20');
    await running.said(/unused/);
    // The tables stay on this group's account; what the process itself needs from now on does not. What it frees of its
    // own is no room for rows either: the limit follows what is used.
    group.giveBack(running.child.pid as number);
    for (let batch = 0; batch < BATCHES; batch++) {
      group.write(limit as string, group.read(usage as string));
      const count = MANY / BATCHES;
      expect(await puppet.command(`open g${batch} v4 ${count}`)).toMatchObject({ count, errors: {} });
    }
    for (const name of ['first', ...Array.from({ length: BATCHES }, (_, batch) => `g${batch}`)])
      await puppet.command(`close ${name}`);
    const report = await reportOf(running);
    const lost = report.loss.reasons.find(({ code }) => code === 'socket-insert-failed')?.count ?? 0;
    expect(lost).toBeGreaterThan(0);
    expect(activityOf(report, puppet.pid).opened).toBe(MANY + 20);
    expect(report.sockets.held).toBe(null);
    expect(report.verdict.is).toBe('not-known');
  });
});

describe('what is traced', () => {
  it('is stopped, and goes on', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start([...pidArguments(puppet), ...SHORT, '--json']);
    await running.tracing();
    await puppet.command('open g v4 12');
    process.kill(puppet.pid, 'SIGSTOP');
    try {
      await until('the stop', () => stateOf(puppet.pid) === 'T');
      await running.said(/LEAK .*12 unused/);
    } finally {
      process.kill(puppet.pid, 'SIGCONT');
    }
    await puppet.commands('bind g zero', 'open h v6 5', 'connect h lo 9');
    await running.said(/5 connect-failed/);
    expect(findingsOf(await reportOf(running))).toEqual([
      `${puppet.pid} bound-inactive null 12`,
      `${puppet.pid} connect-failed ECONNREFUSED 5`,
    ]);
  });

  it('is frozen by its cgroup, and thawed', async (context) => {
    const version2 = Cgroup.with('cgroup.freeze', 'freezer');
    const found = version2 ?? Cgroup.with('freezer.state', 'freezer');
    if (found === null) notRun(context, 'no cgroup freezes here');
    const [file, cold, warm] = version2 ? ['cgroup.freeze', '1', '0'] : ['freezer.state', 'FROZEN', 'THAWED'];
    await using group = found;
    await using puppet = await Puppet.start({ netns: true });
    group.take(puppet.pid);
    const running = Socktrace.start([...pidArguments(puppet), ...SHORT, '--json']);
    await running.tracing();
    await puppet.command('open g v4 12');
    group.write(file as string, cold as string);
    try {
      await running.said(/LEAK .*12 unused/);
      const another = Socktrace.start([...pidArguments(puppet), ...SHORT, '--duration', '1s', '--json']);
      const { code, stdout } = await another.finished();
      expect(code).toBe(0);
      expect(findingsOf(JSON.parse(stdout) as Report)).toEqual([`${puppet.pid} closed-unknown null 12`]);
    } finally {
      group.write(file as string, warm as string);
    }
    await puppet.command('close g');
    expect((await reportOf(running)).sockets).toMatchObject({ opened: 12, destroyed: 12, held: 0 });
    group.giveBack(puppet.pid);
  });

  it('is debugged by gdb meanwhile', async (context) => {
    if (!works('gdb', ['--version'])) notRun(context, 'gdb is not installed');
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start([...pidArguments(puppet), ...SHORT, '--json']);
    await running.tracing();
    await puppet.command('open before v4 4');
    const debugged = Program.start('gdb', '-q', '-nx', '-batch', '-p', String(puppet.pid), ...GDB);
    await debugged.said(/(Breakpoint 1 at)/);
    // Its first two calls stop at the breakpoint, and gdb looks at the stack.
    expect(await puppet.command('open during v6 9')).toMatchObject({ count: 9, errors: {} });
    await debugged.said(/(detached)/);
    await puppet.command('open after v4 2');
    await running.said(/15 unused/);
    const report = await reportOf(running);
    expect(findingsOf(report)).toEqual([`${puppet.pid} unused null 15`]);
    expect(lossOf(report)).toEqual([]);
  });
});
