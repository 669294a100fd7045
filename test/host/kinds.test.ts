// Each kind of the table, made for real, comes out exactly: count, ports held, errno, owner.
import { describe, expect, it } from 'vitest';
import { Puppet } from './puppet.ts';
import { FAMILY_NAMES, opened, scenariosOf } from './scenarios.ts';
import { expectSumsToClose, Tracing, unmendedLoss } from './tracing.ts';

describe.each(FAMILY_NAMES)('%s', (family) => {
  it.each(scenariosOf(family))('$name', async ({ commands, expected }) => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    for (const command of commands) await puppet.command(command);
    if (expected.length === 0) await tracing.ripen();
    await tracing.findings(expected.map((finding) => ({ ...finding, pid: puppet.pid })));
    const report = tracing.finish();
    expect(unmendedLoss(report)).toEqual([]);
    expect(report.sockets.opened).toBe(opened(commands));
    expect(report.sockets.preexisting).toBe(0);
    expectSumsToClose(report);
  });
});
