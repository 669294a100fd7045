// What is done to the whole machine in mid-trace, which only a machine of the tests' own allows: its clock is set, and a
// CPU goes away and comes back.
import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Report } from '../../../src/report/types.ts';
import { notRun } from '../../host/not-run.ts';
import { Puppet } from '../../host/puppet.ts';
import { expectSumsToClose, Tracing, unmendedLoss } from '../../host/tracing.ts';

const HOUR_MS = 3_600_000;
const CPU = '/sys/devices/system/cpu/cpu1/online';

let stepped = 0;

/** Sets the clock of the machine, relative to what it is, to a whole second: busybox knows no others. */
function step(ms: number): void {
  execFileSync('date', ['-s', `@${Math.round((Date.now() + ms) / 1000)}`]);
  stepped += ms;
}

afterEach(() => {
  if (stepped !== 0) step(-stepped);
  if (existsSync(CPU)) writeFileSync(CPU, '1');
});

function startTimes({ processes }: Report): Map<string, unknown> {
  return new Map(processes.map(({ id, startTime }) => [id, startTime]));
}

describe.each([
  ['forwards', HOUR_MS],
  ['backwards', -HOUR_MS],
])('the clock is set an hour %s', (_, ms) => {
  it('ages, growth, duration and the times of the report are as if it had not been', async () => {
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 120_000 });
    await puppet.commands('open old v4 3');
    using tracing = Tracing.of([puppet.pid]);
    const begun = Date.now();
    const began = performance.now();
    await puppet.commands('open before v4 5', 'bind before zero');
    const before = await tracing.findings([
      { kind: 'closed-unknown', count: 3, pid: puppet.pid },
      { kind: 'bound-inactive', count: 5, pid: puppet.pid },
    ]);
    step(ms);
    await puppet.command('open after v4 7');
    await tracing.findings([
      { kind: 'closed-unknown', count: 3, pid: puppet.pid },
      { kind: 'bound-inactive', count: 5, pid: puppet.pid },
      { kind: 'unused', count: 7, pid: puppet.pid },
    ]);
    await puppet.commands('close before', 'close after');
    await tracing.findings([{ kind: 'closed-unknown', count: 3, pid: puppet.pid }]);
    const report = tracing.finish();
    const tookMs = performance.now() - began;
    expect(report.window.durationMs).toBeLessThanOrEqual(tookMs + 60_000);
    for (const { oldestMs } of report.findings) expect(oldestMs).toBeLessThanOrEqual(report.window.durationMs + 60_000);
    const { startedAt, endedAt, durationMs } = report.window;
    expect(Math.abs(Date.parse(startedAt) - begun)).toBeLessThan(HOUR_MS / 2);
    // To the millisecond, as they are written.
    expect(Math.abs(Date.parse(endedAt) - Date.parse(startedAt) - durationMs)).toBeLessThanOrEqual(1);
    // Who a process is hangs on the time since boot.
    expect(startTimes(report)).toEqual(startTimes(before));
    expect(report.sockets).toMatchObject({ opened: 12, preexisting: 3, destroyed: 12, held: 3 });
    expect(unmendedLoss(report)).toEqual([]);
  });
});

describe('a CPU', () => {
  it('goes away in mid-storm and comes back: nothing is lost, and its counters go on', async (context) => {
    if (!existsSync(CPU)) notRun(context, 'the second CPU of this machine cannot be taken away');
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 240_000 });
    using tracing = Tracing.of([puppet.pid]);
    let opened = 0;
    let accepted = 0;
    for (const online of ['1', '0', '1']) {
      writeFileSync(CPU, online);
      await puppet.command('churn-thread 300 v4 healthy');
      await puppet.command('churn-thread 300 v6 openbindclose');
      const done = await puppet.command('churn-wait');
      expect(done.errors).toEqual({});
      opened += done.opened ?? 0;
      accepted += done.accepted ?? 0;
    }
    await puppet.commands('open left v4 6');
    await tracing.findings([{ kind: 'unused', count: 6, pid: puppet.pid }]);
    const report = tracing.finish();
    expect(report.sockets).toMatchObject({ opened: opened + 6, accepted, destroyed: opened + accepted, held: 6 });
    expect(unmendedLoss(report)).toEqual([]);
    expectSumsToClose(report);
  });
});
