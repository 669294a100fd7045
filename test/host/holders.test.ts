// Who opened a socket and who holds it now are two facts, through fork, exec, dup, passing and exit.
import { describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { TargetGoneError } from '../../src/session/session.ts';
import { notRun, requireMptcp } from './not-run.ts';
import { Puppet } from './puppet.ts';
import { reborn } from './reborn.ts';
import { Tracing, targetOf } from './tracing.ts';

function pidOf(report: Report, id: string): number | undefined {
  return report.processes.find((process) => process.id === id)?.pid;
}

function holders(report: Report): Record<number, number> {
  const held: Record<number, number> = {};
  for (const finding of report.findings)
    for (const holder of finding.holders) held[pidOf(report, holder.process) ?? -1] = holder.count;
  return held;
}

describe.each(['v4', 'v6'])('%s', (family) => {
  it('inherited by a forked child: one socket, two holders', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command(`open g ${family} 5`);
    const child = (await puppet.command('fork')).pid as number;
    const report = await tracing.until('two holders', (now) => now.findings[0]?.holders.length === 2);
    expect(report.findings).toHaveLength(1);
    expect(report.findings[0]).toMatchObject({ kind: 'unused', count: 5 });
    expect(holders(report)).toEqual({ [puppet.pid]: 5, [child]: 5 });
    await puppet.command('close g');
    const later = await tracing.until('the child alone', (now) => now.findings[0]?.holders.length === 1);
    expect(holders(later)).toEqual({ [child]: 5 });
    expect(later.findings[0]?.process).toEqual(report.findings[0]?.process);
  });

  it('passed over a unix socket to a process that is not traced, and away', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const child = (await puppet.command('fork')).pid as number;
    using tracing = Tracing.of([puppet.pid], { follow: false });
    await puppet.commands(`open g ${family} 5`, 'send-fd g child 1 close', 'child 1 recv-fd got parent');
    const report = await tracing.until('the new holder', (now) => holders(now)[child] === 5);
    expect(report.findings).toHaveLength(1);
    expect(report.findings[0]).toMatchObject({ kind: 'unused', count: 5, leak: expect.any(Boolean) });
    expect(holders(report)).toEqual({ [child]: 5 });
    await tracing.findings([{ kind: 'unused', count: 5, pid: puppet.pid }]);
  });

  it('in flight over a unix socket: released, and not a leak of the program', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands(`open g ${family} 5`, 'send-fd g self close');
    const report = await tracing.findings([{ kind: 'released', count: 5, pid: puppet.pid }]);
    expect(report.findings[0]?.leak).toBe(false);
    await puppet.command('recv-fd back self');
    await tracing.findings([{ kind: 'unused', count: 5, pid: puppet.pid }]);
  });

  it('passed in from a process that is not traced', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.command('fork');
    const child = (await puppet.command('child 1 self')).pid as number;
    using tracing = Tracing.of([child]);
    await puppet.commands(`open g ${family} 4`, 'bind g zero', 'send-fd g child 1 close', 'child 1 recv-fd got parent');
    const report = await tracing.findings([{ kind: 'closed-unknown', count: 4, ports: 4, pid: child }]);
    await tracing.until('the arrivals', ({ sockets }) => sockets.arrived === 4);
    expect(report.sockets.preexisting).toBe(0);
  });

  it('dup: one socket, two descriptors', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands(`open g ${family} 5`, 'dup g twin');
    await tracing.findings([{ kind: 'unused', count: 5, pid: puppet.pid }]);
    await puppet.command('close g');
    await tracing.ripen();
    await tracing.findings([{ kind: 'unused', count: 5, pid: puppet.pid }]);
    await puppet.command('close twin');
    await tracing.findings([]);
  });

  it('a child that leaks after fork, and after exec', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    const child = (await puppet.command('fork')).pid as number;
    await puppet.command(`child 1 open a ${family} 3`);
    await puppet.command('child 1 exec');
    await puppet.command(`child 1 open b ${family} 4`);
    await tracing.findings([{ kind: 'unused', count: 7, pid: child }]);
  });

  it('children are left alone with --no-follow', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { follow: false });
    await puppet.commands('fork', `child 1 open a ${family} 3`, `open g ${family} 2`);
    await tracing.findings([{ kind: 'unused', count: 2, pid: puppet.pid }]);
    await tracing.ripen();
    await tracing.findings([{ kind: 'unused', count: 2, pid: puppet.pid }]);
  });

  it('a child that existed before the trace', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const child = (await puppet.command('fork')).pid as number;
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command(`child 1 open a ${family} 3`);
    await tracing.findings([{ kind: 'unused', count: 3, pid: child }]);
  });

  it('threads belong to their process', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    for (let i = 0; i < 5; i++) await puppet.command(`thread open g${i} ${family} 2`);
    await tracing.findings([{ kind: 'unused', count: 10, pid: puppet.pid }]);
  });

  it('io_uring sockets with descriptors, and without', async (context) => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    const refused = await puppet.command(`uring-open ${family} 4 plain`).then(
      ({ errors }) => errors['EINVAL'] === 4,
      (error: Error) => error.message.includes('io_uring: cannot map the ring or register files: EINVAL'),
    );
    if (refused) notRun(context, "this kernel's io_uring opens no sockets (before 5.19)");
    await puppet.command(`uring-open ${family} 3 fixed direct`);
    await tracing.findings([
      { kind: 'unused', count: 4, pid: puppet.pid },
      { kind: 'released', count: 3, pid: puppet.pid },
    ]);
  });

  it('5,000 idle sockets from before the trace', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands(`open g ${family} 5000`, `open b ${family} 100`, 'bind b zero');
    using tracing = Tracing.of([puppet.pid]);
    const report = await tracing.findings([{ kind: 'closed-unknown', count: 5100, ports: 100, pid: puppet.pid }]);
    expect(report.sockets).toMatchObject({ opened: 0, preexisting: 5100, held: 5100, destroyed: 0 });
    await puppet.command('close g');
    await tracing.findings([{ kind: 'closed-unknown', count: 100, ports: 100, pid: puppet.pid }]);
  });

  it('killed in mid-trace: the report says what it held at exit', async () => {
    const puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands(`open g ${family} 6`, 'bind g zero');
    await tracing.findings([{ kind: 'bound-inactive', count: 6, ports: 6, pid: puppet.pid, heldAtExit: 0 }]);
    // Young ones, which nobody has heard of yet, count as well.
    await puppet.command(`open young ${family} 3`);
    await puppet.kill();
    const report = await tracing.findings([
      { kind: 'bound-inactive', count: 6, pid: puppet.pid, heldAtExit: 6 },
      { kind: 'unused', count: 3, pid: puppet.pid, heldAtExit: 3 },
    ]);
    expect(report.verdict.is).toBe('leak');
    expect(tracing.session.targetsGone).toBe(true);
    expect(tracing.finish().sockets).toMatchObject({ opened: 9, destroyed: 9, held: 0 });
  });

  it('killed with connections that the peer had ended: the ports are those it held then', async () => {
    const puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands(`open l ${family} 1`, 'bind l 20000', 'listen l 8', `open g ${family} 5`);
    await puppet.commands('connect g lo 20000', 'accept l s 5', 'close s', 'wait-state g CLOSE_WAIT');
    await tracing.findings([{ kind: 'close-wait', count: 5, ports: 5, pid: puppet.pid, heldAtExit: 0 }]);
    await puppet.kill();
    await tracing.findings([{ kind: 'close-wait', count: 5, ports: 5, pid: puppet.pid, heldAtExit: 5 }]);
  });

  it('what a healthy process still had open when it exited is no leak', async () => {
    const puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands(
      `open l ${family} 1`,
      'bind l 20000',
      'listen l 8',
      `open g ${family} 3`,
      'connect g lo 20000',
    );
    await puppet.kill();
    await tracing.until('the exit', () => tracing.session.targetsGone);
    expect(tracing.finish().findings).toEqual([]);
  });

  it('pid reuse: the same number later is another process', async () => {
    const puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command(`open g ${family} 2`);
    await puppet.kill();
    await tracing.findings([{ kind: 'unused', count: 2, pid: puppet.pid, heldAtExit: 2 }]);
    await using later = await reborn(puppet.pid);
    await later.command(`open g ${family} 9`);
    await tracing.ripen();
    await tracing.findings([{ kind: 'unused', count: 2, pid: puppet.pid, heldAtExit: 2 }]);
    expect(tracing.finish().sockets.opened).toBe(2);
  });
});

describe('MPTCP', () => {
  it('unused: found where it has a TCP socket already; else the report says that it cannot follow it', async (context) => {
    requireMptcp(context);
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command('open m mptcp4 3');
    // Before 6.6 socket(2) makes one.
    await tracing.until('the MPTCP sockets', ({ findings, loss, verdict }) => {
      const unseen = loss.reasons.find(({ code }) => code === 'mptcp-unseen')?.count ?? 0;
      const found = findings.reduce((sum, { count }) => sum + count, 0);
      return unseen + found === 3 && verdict.is === (found > 0 ? 'leak' : 'not-known');
    });
  });

  it('bound and forgotten: found under the descriptors', async (context) => {
    requireMptcp(context);
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open old mptcp4 2', 'bind old zero');
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands('open m mptcp6 3', 'bind m zero');
    await tracing.until('all five in its hands, with their ports', (now) => {
      const held = now.findings.flatMap((finding) => finding.holders);
      const own = held.filter(({ process }) => pidOf(now, process) === puppet.pid);
      const sums = [own, now.findings].map((all) => all.reduce((sum, { count }) => sum + count, 0));
      return [...sums, now.findings.reduce((sum, { ports }) => sum + ports, 0)].every((sum) => sum === 5);
    });
    await puppet.commands('close m', 'close old');
    await tracing.findings([]);
  });
});

it('a process that ended before the hooks were on is said to be gone, and nothing stays attached', async () => {
  const puppet = await Puppet.start();
  const targets = [targetOf(puppet.pid)];
  await puppet.kill();
  expect(() => Tracing.of([], { targets })).toThrow(TargetGoneError);
  await using later = await reborn(puppet.pid);
  expect(later.pid).toBe(puppet.pid);
  expect(() => Tracing.of([], { targets })).toThrow(TargetGoneError);
});
