// Healthy sockets cost a row and a count, and are never sent.
import { describe, expect, it } from 'vitest';
import { Puppet } from './puppet.ts';
import { expectSumsToClose, Tracing } from './tracing.ts';

describe.each(['v4', 'v6'])('%s', (family) => {
  it('thousands of connections, used and closed: no finding, hardly a record', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command(`churn-thread 3000 ${family} healthy`);
    await puppet.command('churn-wait');
    await tracing.ripen();
    const report = tracing.finish();
    expect(report.findings).toEqual([]);
    expect(report.verdict).toEqual({ is: 'no-leak' });
    // A listener and 3,000 clients; 3,000 accepted.
    expect(report.sockets).toMatchObject({ opened: 3001, accepted: 3000, preexisting: 0, destroyed: 6001, held: 0 });
    const sent = tracing.inputs.filter(({ type }) => type === 'socket' || type === 'ended').length;
    expect(sent).toBeLessThan(20);
    expectSumsToClose(report);
  });

  it('opened, bound and closed at once, 5,000 times: counters, and hardly a record', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.command(`churn 5000 ${family} openbindclose`);
    const report = tracing.finish();
    expect(report.findings).toEqual([]);
    expect(report.sockets).toMatchObject({ opened: 5000, destroyed: 5000, held: 0 });
    expect(report.processes[0]?.activity).toMatchObject({ value: { opened: 5000, bound: 5000, destroyed: 5000 } });
    // A socket may have been open for min-age where the process lost its CPU in between.
    const sent = tracing.inputs.filter(({ type }) => type === 'socket' || type === 'ended').length;
    expect(sent).toBeLessThan(20);
  });
});
