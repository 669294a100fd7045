// Where events are lost or nobody listens, the ledger still ends with the truth, or says that it cannot.
import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { requireSkippedPrograms } from './not-run.ts';
import { PATIENCE, Puppet } from './puppet.ts';
import { expectSumsToClose, Tracing, unmendedLoss } from './tracing.ts';

const run = promisify(execFile);

/** Smaller where the CPU is emulated, and then more of them if need be. */
const STORM = [
  [12_000 / PATIENCE, 'reset-storm'],
  [12_000 / PATIENCE, 'reset-storm'],
  [20_000 / PATIENCE, 'openbindclose'],
] as const;
const MOST_ROUNDS = 10 * PATIENCE;

/**
 * Lets any CPU receive what lo carries (RPS): softirqs then interrupt the programs that run in task context, which is
 * what makes the kernel skip some. In a mount namespace of its own, since /sys shows one network namespace's devices.
 */
async function steerLoopback(puppet: Puppet): Promise<void> {
  const cpus = (2 ** availableParallelism() - 1).toString(16);
  const script = `mount -t sysfs none /sys && echo ${cpus} > /sys/class/net/lo/queues/rx-0/rps_cpus`;
  await run('nsenter', [`--net=/proc/${puppet.pid}/ns/net`, 'unshare', '--mount', 'sh', '-c', script]);
}

/** Runs of programs that the kernel skipped. */
function skipped(tracing: Tracing): number {
  return [...tracing.session.programMisses().values()].reduce((sum, misses) => sum + misses, 0);
}

/** One storm, with `meanwhile` beside it; polls the session until it is over, and answers with the truth. */
async function storm(
  stormy: Puppet,
  tracing: Tracing,
  meanwhile: () => Promise<void>,
  family: string,
): Promise<{ opened: number; accepted: number }> {
  for (const [cycles, mode] of STORM) await stormy.command(`churn-thread ${cycles} ${family} ${mode}`);
  await meanwhile();
  let over = false;
  const wait = stormy.command('churn-wait').finally(() => {
    over = true;
  });
  await tracing.until('the end of the storm', () => over);
  const { count, opened = 0, accepted = 0 } = await wait;
  expect(count).toBe(STORM.reduce((sum, [cycles]) => sum + cycles, 0));
  return { opened, accepted };
}

/** 200 bound sockets that stay, 200 unused ones that go, in small steps. */
async function leakBeside(leaky: Puppet, family: string, tracing: Tracing): Promise<void> {
  for (let i = 0; i < 20; i++) {
    await leaky.commands(
      `open leak${i} ${family} 10`,
      `bind leak${i} zero`,
      `open gone${i} ${family} 10`,
      `close gone${i}`,
    );
    tracing.session.poll();
  }
}

/** Where tasks preempt each other in the kernel, the program at the end of a call may be skipped: counted, and no socket is lost. */
function lossOfSockets(report: Report): Report['loss']['reasons'] {
  return unmendedLoss(report).filter(({ code }) => code !== 'call-result-missed');
}

describe.each(['v4', 'v6'])('%s', (family) => {
  it('thousands of resets beside opens and closes', async () => {
    await using stormy = await Puppet.start({ netns: true, timeoutMs: 120_000 });
    await using leaky = await Puppet.start({ netns: true });
    using tracing = Tracing.of([stormy.pid, leaky.pid], { callPaths: true });
    const { opened, accepted } = await storm(stormy, tracing, () => leakBeside(leaky, family, tracing), family);
    await tracing.ripen();
    await tracing.findings([{ kind: 'bound-inactive', count: 200, ports: 200, pid: leaky.pid }]);
    const report = tracing.finish();
    expect(report.sockets).toMatchObject({
      opened: opened + 400,
      accepted,
      preexisting: 0,
      held: 200,
      destroyed: opened + accepted + 200,
    });
    expectSumsToClose(report);
    expect(lossOfSockets(report)).toEqual([]);
  });

  // Softirqs on either CPU then interrupt the programs of tasks, and the kernel skips what it finds running. They also
  // run in the time of any task of the host; hardened kernels run no tracing programs in that of protected tasks, and
  // count nothing: so of the host-wide counts only what happens in the puppets' own context is compared here.
  it('resets that interrupt the programs: the second ones bring what the first ones missed', async (context) => {
    requireSkippedPrograms(context);
    await using stormy = await Puppet.start({ netns: true, timeoutMs: 120_000 });
    await using leaky = await Puppet.start({ netns: true });
    await steerLoopback(stormy);
    using tracing = Tracing.of([stormy.pid, leaky.pid], { callPaths: true });
    let { opened } = await storm(stormy, tracing, () => leakBeside(leaky, family, tracing), family);
    // Until it has happened: else this test would say nothing.
    for (let round = 1; skipped(tracing) === 0; round++) {
      if (round === MOST_ROUNDS) throw new Error(`the kernel skipped no program in ${round} storms`);
      opened += (await storm(stormy, tracing, () => Promise.resolve(), family)).opened;
    }
    await tracing.ripen();
    await tracing.findings([{ kind: 'bound-inactive', count: 200, ports: 200, pid: leaky.pid }]);
    const report = tracing.finish();
    expect(report.sockets.opened).toBe(opened + 400);
    expect(lossOfSockets(report).filter(({ code }) => code !== 'state-mended')).toEqual([]);
    expect(report.verdict.is).toBe('leak');
  });

  it('a ring of one page, and nobody reading for 10 seconds', async () => {
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 60_000 });
    using tracing = Tracing.of([puppet.pid], { callPaths: true, eventRingBytes: 4096 });
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
    expect(unmendedLoss(report).map(({ code }) => code)).toEqual(['event-ring-full']);
    expectSumsToClose(report);
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
