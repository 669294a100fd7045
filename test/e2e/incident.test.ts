// The incident at full size: 41,000 sockets, 12,000 ports, and a stranger who finds none. What a snapshot says of the
// leaked state, and what a trace says that saw it happen.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import type { PathRef } from '../../src/ledger/types.ts';
import type { Report } from '../../src/report/types.ts';
import { Puppet } from '../host/puppet.ts';
import { agreesWithSs, type Finished, lookInQuiet, Socktrace } from './socktrace.ts';

const run = promisify(execFile);

const PROCESSES = 10;
const SOCKETS_EACH = 4_100;
const SOCKETS = PROCESSES * SOCKETS_EACH;
/** As in the incident. */
const FIRST_PORT = 50_000;
const LAST_PORT = 62_000;
const PORTS = LAST_PORT - FIRST_PORT + 1;
const VICTIM_CALLS = 3;

afterAll(() => Socktrace.killAll());

const within = (puppet: Puppet, ...command: string[]) =>
  run('nsenter', [`--net=/proc/${puppet.pid}/ns/net`, ...command]);

/** A client of no interest that needs a port: bash, by its /dev/tcp. */
async function victimFails(puppet: Puppet): Promise<void> {
  const call = within(puppet, 'bash', '-c', 'exec 3<>/dev/tcp/127.0.0.1/20000');
  await expect(call).rejects.toThrow('Cannot assign requested address');
}

/**
 * Each process finds a part of the range of its own, and those that come late the last hundred ports: the kernel searches
 * whatever range there is at each bind, which would be a minute of its time.
 */
async function leak(puppet: Puppet): Promise<void> {
  for (let i = 1; i <= PROCESSES; i++) {
    const next = FIRST_PORT + (i - 1) * SOCKETS_EACH;
    // Even ones: of an odd number of ports the kernel hardly ever tries the first.
    const part = next < LAST_PORT ? [next, Math.min(next + SOCKETS_EACH, LAST_PORT) - 1] : [LAST_PORT - 100, LAST_PORT];
    await puppet.command(`port-range ${part.join(' ')}`);
    await puppet.command(`child ${i} open g v4 ${SOCKETS_EACH}`);
    await puppet.command(`child ${i} bind g zero`);
  }
  await puppet.command(`port-range ${FIRST_PORT} ${LAST_PORT}`);
}

/** The last line of --ndjson. */
function reportOf({ stdout }: Finished): Report {
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '').report;
}

/** Functions of a path, the system call's wrapper first. */
function functionsOf({ callPaths }: Report, ref: PathRef | null): (string | null)[] {
  if (callPaths.status === 'unavailable') throw new Error(callPaths.reason);
  if (ref?.status !== 'resolved') throw new Error(`a path that is ${ref?.status ?? 'none'}`);
  const path = callPaths.value.find(({ id }) => id === ref.id);
  expect(path?.quality).toBe('complete');
  return path?.frames.map((frame) => frame.function) ?? [];
}

function countOfKind({ findings }: Report, kind: string) {
  const of = findings.filter((finding) => finding.kind === kind);
  const sum = (count: (finding: (typeof of)[number]) => number) => of.reduce((all, one) => all + count(one), 0);
  return { count: sum(({ count }) => count), ports: sum(({ ports }) => ports) };
}

it('41,000 sockets of ten processes, a full range, a victim', { timeout: 600_000 }, async () => {
  await using puppet = await Puppet.start({ netns: true, timeoutMs: 300_000 });
  await puppet.commands(`port-range ${FIRST_PORT} ${LAST_PORT}`, 'open l v4 20', 'bind l 20000+', 'listen l 64');
  await puppet.commands('open c v4 16', 'bind c 30000+', 'connect c lo 20000', 'accept l s 16');
  const trace = Socktrace.start(['--pid', String(puppet.pid), '--ndjson', '--leak-age', '2s', '--min-age', '1s']);
  await trace.tracing();
  for (let i = 1; i <= PROCESSES; i++) await puppet.command('fork');
  // A leak of months is no burst at first sight: both of its paths have been seen before.
  await puppet.commands('child 1 open w v4 1', 'child 1 bind w zero');
  await trace.printed(/"type":"path"[\s\S]*"type":"path"/);
  await puppet.command('child 1 close w');
  await leak(puppet);
  for (let i = 0; i < VICTIM_CALLS; i++) await victimFails(puppet);

  // From the leaked state alone.
  const looked = await lookInQuiet();
  if (looked.snapshot.status === 'unavailable') throw new Error(looked.snapshot.reason);
  const here = looked.snapshot.value.filter(({ netns }) => netns === puppet.netns);
  const leaked = here.filter(({ kind }) => kind === 'closed-unknown');
  const held = leaked.filter(({ port }) => port !== null);
  expect({ held: held.length, ports: new Set(held.map(({ port }) => port)).size, all: leaked.length }).toEqual({
    held: PORTS,
    ports: PORTS,
    all: SOCKETS,
  });
  const holders = new Map<string, number>();
  for (const { process } of leaked.flatMap((socket) => socket.holders))
    holders.set(process, (holders.get(process) ?? 0) + 1);
  expect([...holders.values()]).toEqual(Array.from({ length: PROCESSES }, () => SOCKETS_EACH));
  const found = looked.findings.filter(({ holders: those }) => those.some(({ process }) => holders.has(process)));
  expect(found.reduce((sum, { count }) => sum + count, 0)).toBeGreaterThanOrEqual(SOCKETS);
  if (looked.sockstat.status === 'unavailable' || looked.ports.status === 'unavailable') throw new Error('not known');
  const { classes, unplaced } = looked.sockstat.value;
  for (const [name, sockets] of Object.entries({ closed: SOCKETS - PORTS, 'closed-bound': PORTS })) {
    const all = classes.status === 'measured' ? classes.value.find((one) => one.name === name)?.count : undefined;
    expect(all).toBe(looked.snapshot.value.filter((socket) => socket.class === name).length);
    expect(all).toBeGreaterThanOrEqual(sockets);
  }
  expect(unplaced).toEqual({ status: 'measured', value: 0 });
  // The ports beyond the range, explained: 20 listeners, of which one has the connections, and 16 clients.
  const ports = looked.ports.value.find(({ netns }) => netns === puppet.netns);
  expect(ports).toMatchObject({ inUse: PORTS + 36, inRange: PORTS, outOfRange: 36, free: { value: 0 } });
  const outside = ports?.holders.filter(({ count, inRange }) => count > (inRange ?? 0));
  expect(outside?.map(({ use, count }) => ({ use, count }))).toEqual([
    { use: 'listening', count: 20 },
    { use: 'connected', count: 16 },
  ]);

  // The same figures as `ss -s` prints in that namespace, and the same sockets as it lists.
  await agreesWithSs(puppet);
  const { stdout: listed } = await within(puppet, 'ss', '-tanH');
  expect(listed.trim().split('\n')).toHaveLength(here.filter(({ state }) => state !== 'CLOSE').length);

  // With the trace, that saw it happen.
  trace.child.kill('SIGINT');
  const report = reportOf(await trace.finished());
  expect(report.verdict.is).toBe('leak');
  expect(report.loss.reasons).toEqual([]);
  expect(countOfKind(report, 'bind-failed')).toEqual({ count: SOCKETS - PORTS, ports: 0 });
  expect(countOfKind(report, 'bound-inactive')).toEqual({ count: PORTS, ports: PORTS });
  expect(
    report.findings.filter(({ kind }) => kind === 'bind-failed').every(({ errno }) => errno === 'EADDRINUSE'),
  ).toBe(true);
  // Which code opened and bound them, of each one.
  for (const { kind, openPath, bindPath } of report.findings) {
    if (kind !== 'bind-failed' && kind !== 'bound-inactive') continue;
    expect(functionsOf(report, openPath).slice(1, 3)).toEqual(['do_open', 'run_command']);
    expect(functionsOf(report, bindPath).slice(1, 3)).toEqual(['do_bind', 'run_command']);
  }
  if (report.callPaths.status === 'unavailable') throw new Error(report.callPaths.reason);
  const opening = report.callPaths.value.filter(({ counters }) => (counters?.held ?? 0) >= SOCKETS);
  expect(opening.map(({ counters }) => counters)).toContainEqual(
    expect.objectContaining({ bound: PORTS + 1, connected: 0, closedUnused: 1, held: SOCKETS }),
  );
  if (report.failures.status === 'unavailable') throw new Error(report.failures.reason);
  // Not those of other programs of the host.
  const victims = report.failures.value.filter(({ comm, netns }) => comm === 'bash' && netns === puppet.netns);
  expect(victims.reduce((sum, { count }) => sum + count, 0)).toBe(VICTIM_CALLS);
  expect(victims[0]).toMatchObject({ operation: 'connect', errno: 'EADDRNOTAVAIL', cause: 'no-free-port' });
  const after = report.ports.status === 'measured' ? report.ports.value : [];
  expect(after.find(({ netns }) => netns === puppet.netns)).toMatchObject({ inRange: PORTS, msToFull: { value: 0 } });
});
