// The incident that was never explained: far more sockets allocated than in use, few ports, much memory. Whatever can
// look like that, all of it at once, and each told apart.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SocketClassName } from '../../src/accounting/classes.ts';
import type { Report } from '../../src/report/types.ts';
import { notRun, requireMptcp } from '../host/not-run.ts';
import { Puppet } from '../host/puppet.ts';
import { agreesWithSs, lookInQuiet, Socktrace } from './socktrace.ts';

const run = promisify(execFile);

interface Candidate {
  name: string;
  commands: string[];
  classes: Partial<Record<SocketClassName, number>>;
}

const connected = (count: number) => [
  ...['open l v4 1', 'bind l 20000', 'listen l 1024'],
  ...[`open g v4 ${count}`, 'connect g lo 20000'],
];
const accepted = (count: number) => [...connected(count), `accept l s ${count}`];

const CANDIDATES: Candidate[] = [
  {
    name: 'sockets of another network namespace',
    commands: accepted(250),
    classes: { listening: 1, connected: 500 },
  },
  {
    name: 'reset, with data that nobody read',
    commands: [...accepted(300), 'send s 60000', 'reset s', 'wait-state g CLOSE'],
    classes: { listening: 1, 'closed-unread': 300 },
  },
  {
    name: 'orphans with data that the peer does not take',
    commands: [...accepted(100), 'send g 1000000', 'close g'],
    classes: { listening: 1, connected: 100, orphaned: 100 },
  },
  {
    name: 'descriptors in flight, their sender gone from them',
    commands: ['open g v6 260', 'bind g zero', 'send-fd g self close'],
    classes: { 'in-flight': 260 },
  },
  {
    name: 'reset while they waited to be accepted',
    commands: [...connected(200), 'reset g'],
    classes: { listening: 1, 'unaccepted-reset': 200 },
  },
  { name: 'neither connected nor closed', commands: ['open g v6 220'], classes: { closed: 220 } },
];

const IO_URING = 240;
/** MPTCP has one for each endpoint with a port, and takes eight of those. */
const KERNEL = 8;

afterAll(() => Socktrace.killAll());

describe('incident B', () => {
  const puppets = new Map<string, Puppet>();
  /** Where it is read: nothing of its own. */
  let reader: Puppet;
  let report: Report;
  let ringRefused = false;

  const inNamespace = (puppet: Puppet, ...command: string[]) =>
    run('nsenter', [`--net=/proc/${puppet.pid}/ns/net`, ...command]);

  async function start(name: string, ...commands: string[]): Promise<Puppet> {
    const puppet = await Puppet.start({ netns: true });
    puppets.set(name, puppet);
    for (const command of commands) await puppet.command(command);
    return puppet;
  }

  beforeAll(async () => {
    reader = await Puppet.start({ netns: true });
    for (const { name, commands } of CANDIDATES) await start(name, ...commands);
    const ring = await start('io_uring');
    ringRefused = await ring.command(`uring-open v4 ${IO_URING} fixed direct`).then(
      ({ count }) => count === 0,
      () => true,
    );
    const kernel = await start('kernel');
    for (let i = 1; i <= KERNEL; i++)
      await inNamespace(kernel, 'ip', 'mptcp', 'endpoint', 'add', '127.0.0.2', 'port', `${30_000 + i}`, 'signal').catch(
        () => {}, // the test says that it was not run
      );
    report = await lookInQuiet();
  });

  afterAll(async () => {
    // These sockets keep their namespace, and it them: nobody could reach them any more.
    const kernel = puppets.get('kernel');
    if (kernel !== undefined) await inNamespace(kernel, 'ip', 'mptcp', 'endpoint', 'flush').catch(() => {});
    for (const puppet of [reader, ...puppets.values()]) await puppet.close();
  });

  function classesIn(name: string): Partial<Record<SocketClassName, number>> {
    if (report.snapshot.status === 'unavailable') throw new Error(report.snapshot.reason);
    const counts: Partial<Record<SocketClassName, number>> = {};
    for (const { netns, class: place } of report.snapshot.value)
      if (netns === puppets.get(name)?.netns) counts[place] = (counts[place] ?? 0) + 1;
    return counts;
  }

  it.each(CANDIDATES)('$name', ({ name, classes }) => {
    expect(classesIn(name)).toEqual(classes);
  });

  it('fixed files of io_uring', (context) => {
    if (ringRefused) notRun(context, "this kernel's io_uring opens no sockets");
    expect(classesIn('io_uring')).toEqual({ io_uring: IO_URING });
  });

  it('sockets of the kernel', (context) => {
    requireMptcp(context);
    expect(classesIn('kernel')).toEqual({ kernel: KERNEL });
  });

  it('the classes are the sockets one by one, and their sum is alloc', () => {
    if (report.sockstat.status === 'unavailable' || report.snapshot.status === 'unavailable') throw new Error('unread');
    const { classes, allocWhenClassified } = report.sockstat.value;
    const sum = classes.status === 'measured' ? classes.value.reduce((all, { count }) => all + count, 0) : null;
    expect(allocWhenClassified).toEqual({ status: 'measured', value: sum });
    expect(sum).toBe(report.snapshot.value.length);
  });

  it('few ports, much memory: as the incident was', () => {
    const here = new Set([...puppets.values()].map(({ netns }) => netns));
    const ports = report.ports.status === 'measured' ? report.ports.value.filter(({ netns }) => here.has(netns)) : [];
    const sockets = report.snapshot.status === 'measured' ? report.snapshot.value : [];
    const own = sockets.filter(({ netns }) => here.has(netns));
    expect(ports.reduce((sum, { inUse }) => sum + inUse, 0)).toBeLessThan(own.length / 2);
    const memory = (name: SocketClassName) =>
      own.filter((socket) => socket.class === name).reduce((sum, socket) => sum + socket.memory, 0);
    // What was sent and not read is charged to whoever holds it.
    expect(memory('closed-unread')).toBeGreaterThan(300 * 60_000);
    expect(memory('orphaned')).toBeGreaterThan(100 * 100_000);
    expect(memory('closed') + memory('in-flight')).toBe(0);
  });

  it('sockstat, read where nothing of it is: the figures of ss -s, and in words what they are made of', async () => {
    const text = await agreesWithSs(reader);
    const count = (what: string) =>
      Number(new RegExp(`^ +([\\d,]+) +${what}`, 'm').exec(text)?.[1]?.replaceAll(',', ''));
    // Hashed: pairs and listeners, orphans and their peers, the kernel's; all in use elsewhere.
    const hashed = 501 + 1 + 201 + 1 + (report.sockstat.status === 'measured' ? (classesIn('kernel').kernel ?? 0) : 0);
    expect(count('in use in other network namespaces')).toBeGreaterThanOrEqual(hashed);
    expect(count('in no hash table')).toBeGreaterThanOrEqual(300 + 260 + 200 + 220);
    for (const [line, least] of [
      ['closed-unread +state CLOSE, [\\d,]+ KiB of buffers with data that was not read, open in \\d+ process', 300],
      ['orphaned +closed by their process, .*; \\d+ with data that the peer did not acknowledge', 100],
      ['in-flight +sent as descriptors to \\d+ unix socket', 260],
      ['unaccepted-reset +reset by the peer, in no hash table, not accepted: .*\\b200 by pid \\d+ on port 20000', 200],
      ['closed +state CLOSE, in no hash table, no port', 220],
      ['connected +open in \\d+ process', 600],
    ] as const)
      expect(count(line)).toBeGreaterThanOrEqual(least);
  });
});
