// Every class of sockets of both families at once, in one census: each takes seconds where the CPU is emulated.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Census } from '../../../src/accounting/census.ts';
import { classify } from '../../../src/accounting/classes.ts';
import { portsOf } from '../../../src/accounting/ports.ts';
import { CENSUS_CASES, expectCase, takeCensus } from '../../host/census-cases.ts';
import { notRun } from '../../host/not-run.ts';
import { Puppet } from '../../host/puppet.ts';

const CASES = ['v4', 'v6'].flatMap((family) => CENSUS_CASES.map((wanted) => ({ family, ...wanted })));

const puppets: Puppet[] = [];
let census: Census;

beforeAll(async () => {
  for (const { family, commands } of CASES) {
    const puppet = await Puppet.start({ netns: true, timeoutMs: 120_000 });
    puppets.push(puppet);
    for (const command of commands) await puppet.command(command.replaceAll('%f', family));
  }
  census = takeCensus();
}, 300_000);

afterAll(async () => {
  for (const puppet of puppets) await puppet.close();
});

it.each(CASES.map((wanted, i) => ({ ...wanted, i })))('$family $name', ({ i, ...wanted }) => {
  expectCase(census, puppets[i] as Puppet, wanted);
});

it('nothing was left out, and the sum closes', () => {
  expect(census.unseen).toEqual([]);
  expect(classify(census).unplaced).toEqual({ status: 'measured', value: 0 });
});

it('the ports are those of inet_diag, one by one', async (context) => {
  const now = takeCensus();
  const waiting = now.minisocks.filter(({ state }) => state === 'TIME_WAIT');
  let inactive = 0;
  for (const puppet of puppets) {
    const here = now.sockets.filter(({ netns }) => netns === puppet.netns);
    const held = here.flatMap(({ port }) => port ?? []);
    const left = waiting.filter(({ netns }) => netns === puppet.netns).map(({ local }) => local.port);
    const ports = [...new Set([...held, ...left])].sort((a, b) => a - b);
    const said = await puppet.command('diag').catch((error: Error) => error);
    if (said instanceof Error) notRun(context, `inet_diag: ${said.message}`);
    inactive += said.boundInactive ?? 0;
    // Before 6.8 it does not show what is bound and inactive.
    const unshown = here.some(({ state, port }) => state === 'CLOSE' && port !== null);
    if (!unshown || said.boundInactive !== 0) expect(ports).toEqual(said.ports);
  }
  if (inactive === 0) notRun(context, "this kernel's inet_diag does not show what is bound and inactive (before 6.8)");
});

it('as many ports as the kernel has bind buckets', async (context) => {
  const shrink = '/sys/kernel/slab/tcp_bind_bucket/shrink';
  const buckets = (): number => {
    // Until then, what CPUs keep in hand counts as in use.
    if (existsSync(shrink)) writeFileSync(shrink, '1');
    return Number(/^tcp_bind_bucket +(\d+)/m.exec(readFileSync('/proc/slabinfo', 'utf8'))?.[1]);
  };
  if (Number.isNaN(buckets())) notRun(context, 'slabinfo does not have tcp_bind_bucket by itself (no slab_nomerge)');
  const ports = () => portsOf(takeCensus()).reduce((sum, { inUse }) => sum + inUse, 0);
  // Buckets are freed after a grace period.
  if (existsSync(shrink)) await expect.poll(() => buckets() - ports(), { timeout: 20_000 }).toBe(0);
  else expect(buckets()).toBeGreaterThanOrEqual(ports());
});
