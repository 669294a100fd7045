// Where every socket of the host is: each class made for real, and the sum that closes against alloc.
import { describe, expect, it } from 'vitest';
import { classify, classOf } from '../../src/accounting/classes.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import type { SocketEntry } from '../../src/ledger/entry.ts';
import { isWasteful } from '../../src/ledger/kinds.ts';
import { entriesOf } from '../../src/report/one-look.ts';
import { CENSUS_CASES, counts, expectCase, socketsOf, takeCensus } from './census-cases.ts';
import { notRun, requireMptcp } from './not-run.ts';
import { Puppet } from './puppet.ts';
import { FAMILY_NAMES, scenariosOf } from './scenarios.ts';
import { Tracing } from './tracing.ts';

describe.each(['v4', 'v6'])('%s', (family) => {
  it.each(CENSUS_CASES)('$name', async (wanted) => {
    await using puppet = await Puppet.start({ netns: true });
    for (const command of wanted.commands) await puppet.command(command.replaceAll('%f', family));
    expectCase(takeCensus(), puppet, wanted);
  });

  it('connections that wait are told by their listener, whose process and port are named', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await using other = await Puppet.start({ netnsOf: puppet });
    for (const [owner, port, count] of [
      [puppet, 80, 5],
      [other, 81, 3],
    ] as const)
      await owner.commands(
        ...[`open l ${family} 1`, `bind l ${port}`, 'listen l 64'],
        ...[`open g ${family} ${count}`, `connect g lo ${port}`],
      );
    const evidence = (name: string) => {
      const census = takeCensus();
      const here = { ...census, alike: census.alike.filter(({ one }) => one.netns === puppet.netns) };
      return classify(here).classes.find((one) => one.name === name)?.evidence;
    };
    expect(evidence('unaccepted')).toBe(
      `connected, and not accepted: 5 by pid ${puppet.pid} on port 80, 3 by pid ${other.pid} on port 81`,
    );
    await other.command('reset g');
    expect(evidence('unaccepted-reset')).toMatch(new RegExp(`not accepted: 3 by pid ${other.pid} on port 81$`));
  });

  it('io_uring files without descriptors', async (context) => {
    await using puppet = await Puppet.start({ netns: true });
    const refused = await puppet.command(`uring-open ${family} 7 fixed direct`).then(
      ({ errors }) => errors['EINVAL'] === 7,
      (error: Error) => error.message.includes('EINVAL'),
    );
    if (refused) notRun(context, "this kernel's io_uring opens no sockets (before 5.19)");
    expect(counts(socketsOf(takeCensus(), puppet), classOf)).toEqual({ io_uring: 7 });
  });

  it('one socket of several holders is one socket', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands(`open g ${family} 3`, 'dup g again', 'fork');
    const child = (await puppet.command('child 1 self')).pid as number;
    const sockets = socketsOf(takeCensus(), puppet);
    expect(sockets).toHaveLength(3);
    for (const { holders } of sockets)
      expect(holders.map(({ pid }) => pid).sort((a, b) => a - b)).toEqual([puppet.pid, puppet.pid, child, child]);
  });
});

describe('ports', () => {
  it('a full range, what is outside of it, and connections that share a port', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('port-range 30000 30009', 'open l v4 1', 'bind l 20000', 'listen l 64');
    await puppet.commands('open c v4 4', 'connect c lo 20000', 'accept l s 4');
    await puppet.commands('open g v4 8', 'bind g zero', 'open far v6 3', 'bind far 40000+');
    const ports = portsOf(takeCensus()).find(({ netns }) => netns === puppet.netns);
    expect(ports).toMatchObject({
      range: { value: [30_000, 30_009] },
      inUse: 14,
      inRange: 10,
      outOfRange: 4,
      free: { value: 0 },
      destinations: [{ address: '127.0.0.1', port: 20_000, count: 4, free: 0 }],
    });
    expect(ports?.holders.map(({ use, count, inRange }) => [use, count, inRange])).toEqual([
      ['closed-unknown', 9, 6],
      ['connected', 4, 4],
      ['listening', 1, 0],
    ]);
  });
});

it('ports of a trace have the kinds of its findings, those opened before it, during it, and a moment ago', async () => {
  await using puppet = await Puppet.start({ netns: true });
  await puppet.commands('open b v4 4', 'bind b zero');
  using tracing = Tracing.of([puppet.pid]);
  tracing.session.takeCensus();
  await puppet.commands('open g v6 5', 'bind g zero');
  const counts = (): Record<string, number> => {
    const { ports } = tracing.session.report();
    if (ports.status === 'unavailable') throw new Error(ports.reason);
    const here = ports.value.find(({ netns }) => netns === puppet.netns);
    return Object.fromEntries(here?.holders.map(({ use, count }) => [use, count]) ?? []);
  };
  expect(counts()).toEqual({ 'closed-unknown': 4 });
  const report = await tracing.until('both to be findings', ({ findings }) => findings.length === 2);
  await puppet.commands('open late v4 3', 'bind late zero');
  tracing.session.takeCensus();
  expect(counts()).toEqual({ 'closed-unknown': 4, 'bound-inactive': 8 });
  const found = report.findings.map(({ kind, ports }) => [kind, ports]);
  expect(Object.fromEntries(found)).toEqual({ 'closed-unknown': 4, 'bound-inactive': 5 });
});

describe('surroundings', () => {
  it('the TCP sockets under MPTCP sockets are held by their descriptors', async (context) => {
    requireMptcp(context);
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open m mptcp4 3', 'bind m zero');
    const sockets = socketsOf(takeCensus(), puppet);
    expect(counts(sockets, classOf)).toEqual({ 'closed-bound': 3 });
    expect(sockets.every(({ holders }) => holders[0]?.pid === puppet.pid)).toBe(true);
  });

  it('a network namespace that no process is in any more', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const left = puppet.netns;
    await puppet.commands('open g v4 3', 'bind g zero', 'open l v4 1', 'bind l 20000', 'listen l 8');
    await puppet.commands('open c v4 4', 'connect c lo 20000', 'unshare-net');
    const census = takeCensus();
    const sockets = census.sockets.filter(({ netns }) => netns === left);
    expect(counts(sockets, classOf)).toEqual({ 'closed-bound': 3, listening: 1, connected: 4, unaccepted: 4 });
    expect(census.unseen.filter((what) => what.includes(String(left)))).toEqual([]);
    const ports = portsOf(census).find(({ netns }) => netns === left);
    expect(ports).toMatchObject({ inUse: 8, inRange: 7, outOfRange: 1, inuse: { value: 9 } });
    expect(ports?.path).toMatch(new RegExp(`^/proc/${puppet.pid}/fd/\\d+$`));
  });
});

describe.each(FAMILY_NAMES)('a trace knows of what existed before it what a look knows, %s', (family) => {
  it.each(scenariosOf(family))('$name', async ({ commands }) => {
    await using puppet = await Puppet.start({ netns: true });
    for (const command of commands) await puppet.command(command);
    const { alike, atMs } = takeCensus();
    const open = alike.filter(({ one }) => one.netns === puppet.netns && one.holders.length > 0);
    const looked = knownOf(entriesOf(open, atMs));
    using tracing = Tracing.of([puppet.pid]);
    await tracing.until('the wasteful ones', () => knownOf(tracing.session.ledger.sockets()).length === looked.length);
    expect(knownOf(tracing.session.ledger.sockets())).toEqual(looked);
  });
});

/** Kind, errno and since when, of those of a wasteful kind. Of closed-unknown it is not known since when. */
function knownOf(entries: Iterable<SocketEntry>): string[] {
  return [...entries]
    .filter(({ traits }) => isWasteful(traits.kind))
    .map(({ address, traits: { kind, errno }, sinceMs }) =>
      [address, kind, errno, ...(kind === 'closed-unknown' ? [] : [Math.round(sinceMs * 1000)])].join(' '),
    )
    .sort();
}
