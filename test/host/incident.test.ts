// The incident in small, so that it is replayed on every kernel and with every hook set: sockets of several processes, a
// range that is soon full, and a stranger who finds no port. test/e2e has it at full size.
import { expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { Puppet } from './puppet.ts';
import { expectSumsToClose, Tracing, unmendedLoss } from './tracing.ts';

const PROCESSES = 4;
const SOCKETS_EACH = 75;
const PORTS = 120;
const FAILED = PROCESSES * SOCKETS_EACH - PORTS;
const VICTIM_CALLS = 3;

function countOf({ findings }: Report, kind: string): number {
  return findings.filter((finding) => finding.kind === kind).reduce((sum, { count }) => sum + count, 0);
}

it('the sockets, the ports and the victim', async () => {
  await using puppet = await Puppet.start({ netns: true });
  await puppet.commands(`port-range 50000 ${50_000 + PORTS - 1}`, 'open l v4 5', 'bind l 20000+', 'listen l 64');
  await puppet.commands('open c v4 8', 'bind c 30000+', 'connect c lo 20000', 'accept l s 8');
  await using victim = await Puppet.start({ netnsOf: puppet });
  await victim.command(`open v v4 ${VICTIM_CALLS}`);
  using tracing = Tracing.of([puppet.pid], { callPaths: true });
  tracing.session.takeCensus();
  const bound = new Map<number, number>();
  for (let i = 1; i <= PROCESSES; i++) {
    const { pid } = await puppet.command('fork');
    await puppet.command(`child ${i} open g v6 ${SOCKETS_EACH}`);
    const { count } = await puppet.command(`child ${i} bind g zero`);
    if (count > 0) bound.set(pid as number, count);
    tracing.session.poll();
  }
  expect([...bound.values()].reduce((sum, count) => sum + count, 0)).toBe(PORTS);
  const { errors } = await victim.command('connect v lo 20000');
  expect(errors).toEqual({ EADDRNOTAVAIL: VICTIM_CALLS });

  await tracing.until('all of them to be leaks', (report) => {
    const whole = countOf(report, 'bind-failed') === FAILED && countOf(report, 'bound-inactive') === PORTS;
    return whole && report.findings.every(({ leak }) => leak);
  });
  const report = tracing.session.finish({ census: true });
  expect(unmendedLoss(report)).toEqual([]);
  expect(report.verdict.is).toBe('leak');
  expect(countOf(report, 'bind-failed')).toBe(FAILED);
  for (const { kind, errno } of report.findings) expect(errno).toBe(kind === 'bind-failed' ? 'EADDRINUSE' : null);
  if (report.failures.status === 'unavailable') throw new Error(report.failures.reason);
  expect(report.failures.value.filter(({ pid }) => pid === victim.pid)).toMatchObject([
    { operation: 'connect', errno: 'EADDRNOTAVAIL', cause: 'no-free-port', count: VICTIM_CALLS },
  ]);

  const ports = report.ports.status === 'measured' ? report.ports.value : [];
  const here = ports.find(({ netns }) => netns === puppet.netns);
  expect(here).toMatchObject({
    inUse: PORTS + 13,
    inRange: PORTS,
    outOfRange: 13,
    free: { value: 0 },
    msToFull: { value: 0 },
  });
  const pidOf = new Map(report.processes.map(({ id, pid }) => [id as string | null, pid]));
  const idle = here?.holders.filter(({ use }) => use === 'bound-inactive') ?? [];
  expect(new Map(idle.map(({ process, count }) => [pidOf.get(process), count]))).toEqual(bound);
  for (const { before } of idle) expect(before).toBe(0);
  // The listeners and the clients were there before.
  const outside = here?.holders.filter(({ use }) => use !== 'bound-inactive');
  expect(outside?.map(({ use, count, before }) => [use, count, before])).toEqual([
    ['connected', 8, 8],
    ['listening', 5, 5],
  ]);
  expectSumsToClose(report);
  if (report.sockstat.status === 'unavailable') throw new Error(report.sockstat.reason);
  const { classes } = report.sockstat.value;
  const sizes = new Map(
    classes.status === 'measured' ? classes.value.map(({ name, count }) => [name as string, count]) : [],
  );
  // Others of the host may have some.
  expect(sizes.get('closed')).toBeGreaterThanOrEqual(FAILED);
  expect(sizes.get('closed-bound')).toBeGreaterThanOrEqual(PORTS);
});
