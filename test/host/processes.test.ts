// Processes in numbers: forks, children that exit or exec at once, and a pid that comes again. Each socket is counted once,
// and is that of the process that opened it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { selectionOf } from '../../src/cli/selection.ts';
import type { ProcessActivity } from '../../src/ledger/types.ts';
import type { Report } from '../../src/report/types.ts';
import { builtProgram, Puppet } from './puppet.ts';
import { reborn } from './reborn.ts';
import { Tracing, unmendedLoss } from './tracing.ts';

/** Sockets that each child of `churn forks` opens: puppet.c. */
const OPENED_BY_CHILD = 8;

/** What each process did that was ever traced, by its id. */
function traced(tracing: Tracing): Map<string, ProcessActivity> {
  const all = new Map<string, ProcessActivity>();
  for (const input of tracing.inputs)
    if (input.type === 'process' && input.activity.status === 'measured') all.set(input.facts.id, input.activity.value);
  return all;
}

function heldAtExit({ findings }: Report): number {
  return findings.reduce((sum, finding) => sum + finding.heldAtExit, 0);
}

describe.each(['v4', 'v6'])('%s', (family) => {
  it('1,000 forks: what each child opened and held when it exited, to the last one', async () => {
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command(`open kept ${family} 5`);
    await puppet.command(`churn-thread 1000 ${family} forks`);
    let over = false;
    const forked = puppet.command('churn-wait').finally(() => {
      over = true;
    });
    await tracing.until('the end of the forks', () => over);
    expect(await forked).toMatchObject({ count: 1000, errors: {} });
    await tracing.until('all of them', (report) => heldAtExit(report) === 1000 * OPENED_BY_CHILD);
    await tracing.ripen();
    const report = tracing.finish();
    const opened = 1000 * OPENED_BY_CHILD;
    expect(report.sockets).toMatchObject({ opened: opened + 5, destroyed: opened, held: 5 });
    expect(heldAtExit(report)).toBe(opened);
    expect(report.findings.reduce((sum, { count }) => sum + count, 0)).toBe(opened + 5);
    const activities = [...traced(tracing).values()];
    expect(activities).toHaveLength(1001);
    expect(activities.filter((one) => one.opened === OPENED_BY_CHILD && one.destroyed === 8)).toHaveLength(1000);
    expect(unmendedLoss(report)).toEqual([]);
  });
});

it('children that exec, open and exit at once, started by a shell', async () => {
  const children = 300;
  const script = `read go; i=0; while [ $i -lt ${children} ]; do printf 'open g v6 3\\nopen h v4 1\\n' | ${builtProgram('puppet')} >/dev/null; i=$((i+1)); done; echo done; read end`;
  const shell = spawn('sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    using tracing = Tracing.of([shell.pid as number]);
    shell.stdin.write('go\n');
    let over = false;
    void once(shell.stdout, 'data').finally(() => {
      over = true;
    });
    await tracing.until('the last child', () => over);
    await tracing.until('all of them', (report) => heldAtExit(report) === 4 * children);
    const report = tracing.finish();
    expect(report.sockets).toMatchObject({ opened: 4 * children, destroyed: 4 * children, held: 0 });
    const openers = [...traced(tracing).values()].filter(({ opened }) => opened > 0);
    expect(openers.map(({ opened, destroyed }) => [opened, destroyed])).toEqual(Array(children).fill([4, 4]));
    expect(unmendedLoss(report)).toEqual([]);
    expect(report.verdict.is).toBe('leak');
  } finally {
    shell.kill('SIGKILL');
  }
});

it('children that exec go on as the same process, with what they held', async () => {
  await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
  using tracing = Tracing.of([puppet.pid]);
  const pids: number[] = [];
  for (let i = 1; i <= 40; i++) {
    const { pid = 0 } = await puppet.command('fork');
    await puppet.commands(`child ${i} open before v4 2`, `child ${i} exec`, `child ${i} open after v6 3`);
    pids.push(pid);
  }
  await tracing.until('all of them', ({ findings }) => findings.reduce((sum, { count }) => sum + count, 0) === 200);
  const perProcess = new Map<string, number>();
  for (const { traits } of tracing.session.ledger.sockets())
    if (traits.owner.status === 'measured')
      perProcess.set(traits.owner.value, (perProcess.get(traits.owner.value) ?? 0) + 1);
  expect(new Map([...perProcess].map(([id, count]) => [Number(id.split(':')[1]), count]))).toEqual(
    new Map(pids.map((pid) => [pid, 5])),
  );
  expect(tracing.finish().sockets).toMatchObject({ opened: 200, held: 200 });
});

it('a pid that comes again, of a process that is traced too: each has its own findings', async () => {
  const name = `again-${process.pid}`;
  const first = await Puppet.start({ netns: true });
  await first.command(`name ${name}`);
  const selection = selectionOf({ comm: [name] });
  if (selection === undefined) throw new Error('nothing is selected');
  using tracing = Tracing.of([], { selection });
  await first.commands('open g v4 2', 'bind g zero');
  await tracing.findings([{ kind: 'bound-inactive', count: 2, pid: first.pid }]);
  await first.kill();
  await using later = await reborn(first.pid);
  await later.command(`name ${name}`);
  const unused = { kind: 'unused' as const, count: 9, pid: first.pid, heldAtExit: 0 };
  await tracing.until('the later process', () => traced(tracing).size === 2);
  await later.command('open g v4 9');
  await tracing.findings([{ kind: 'bound-inactive', count: 2, pid: first.pid, heldAtExit: 2 }, unused]);
  const report = tracing.finish();
  const owners = report.findings.map(({ process }) => (process.status === 'measured' ? process.value : ''));
  expect(new Set(owners).size).toBe(2);
  expect(new Map(report.processes.map(({ id, exited }) => [id, exited]))).toEqual(
    new Map(report.findings.map(({ heldAtExit }, i) => [owners[i], heldAtExit > 0])),
  );
  expect([...traced(tracing).values()].map(({ opened }) => opened)).toEqual([2, 9]);
});
