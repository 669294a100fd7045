// Where events are lost or nobody listens, the ledger still ends with the truth, or says that it cannot.
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Puppet } from './puppet.ts';
import { Tracing } from './tracing.ts';

describe.each(['v4', 'v6'])('%s', (family) => {
  it('tens of thousands of resets beside opens and closes', async () => {
    await using stormy = await Puppet.start({ netns: true, timeoutMs: 120_000 });
    await using leaky = await Puppet.start({ netns: true });
    using tracing = Tracing.of([stormy.pid, leaky.pid]);
    await stormy.command(`churn-thread 12000 ${family} reset-storm`);
    await stormy.command(`churn-thread 12000 ${family} reset-storm`);
    await stormy.command(`churn-thread 20000 ${family} openbindclose`);
    for (let i = 0; i < 20; i++) {
      await leaky.commands(
        `open leak${i} ${family} 10`,
        `bind leak${i} zero`,
        `open gone${i} ${family} 10`,
        `close gone${i}`,
      );
      tracing.session.poll();
    }
    let settled = false;
    const storm = stormy.command('churn-wait').finally(() => {
      settled = true;
    });
    await tracing.until('the end of the storm', () => settled);
    const truth = await storm;
    await tracing.ripen();
    await tracing.findings([{ kind: 'bound-inactive', count: 200, ports: 200, pid: leaky.pid }]);
    const report = tracing.finish();
    expect(truth.count).toBe(44_000);
    expect(report.sockets).toMatchObject({
      opened: (truth.opened as number) + 400,
      accepted: truth.accepted,
      held: 200,
    });
    expect(report.sockstat).toMatchObject({ value: { moved: { unexplained: 0 } } });
    expect(report.loss).toEqual({ complete: true, reasons: [] });
  });

  it('a ring of one page, and nobody reading for 10 seconds', async () => {
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
    using tracing = Tracing.of([puppet.pid], { eventRingBytes: 4096 });
    // Sent while young enough to be followed by an end that nobody hears for a while.
    await puppet.commands(`open sent ${family} 2000`, 'bind sent zero');
    await tracing.findings([{ kind: 'bound-inactive', count: 2000, pid: puppet.pid }]);
    const asleepUntil = performance.now() + 10_000;
    await puppet.command(`churn-thread 1000000 ${family} openbindclose`);
    await puppet.commands('close sent', `open leak ${family} 700`, `open leak2 ${family} 50`, 'bind leak2 zero');
    // The consumer stands still; this is the only wait for time, since time is what is tested.
    await sleep(Math.max(0, asleepUntil - performance.now()));
    const truth = await puppet.command('churn-stop');
    await tracing.findings([
      { kind: 'unused', count: 700, ports: 0, pid: puppet.pid },
      { kind: 'bound-inactive', count: 50, ports: 50, pid: puppet.pid },
    ]);
    const report = tracing.finish();
    expect(report.sockets).toMatchObject({ opened: (truth.opened as number) + 2750, held: 750 });
    expect(report.loss.reasons.map(({ code }) => code)).toEqual(['event-ring-full']);
    expect(report.sockstat).toMatchObject({ value: { moved: { unexplained: 0 } } });
  });

  it('a table too small: counted, shown, and the verdict is not known', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid], { maxSockets: 64 });
    await puppet.command(`open g ${family} 100`);
    await tracing.until('the loss', ({ loss }) => loss.reasons.some(({ code }) => code === 'socket-table-full'));
    await puppet.command('close g');
    await tracing.findings([]);
    const report = tracing.finish();
    expect(report.loss.complete).toBe(false);
    // Each of the 36 at its open, and again at each walk of descriptors that tried to make good for it.
    expect(report.loss.reasons.find(({ code }) => code === 'socket-table-full')?.count).toBeGreaterThanOrEqual(36);
    expect(report.verdict.is).toBe('not-known');
  });
});
