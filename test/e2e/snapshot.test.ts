// The commands that look without tracing, as a user runs them.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { Puppet } from '../host/puppet.ts';
import { childrenOf, Program } from './programs.ts';
import { agreesWithSs, nothingLeft, Socktrace, socktrace } from './socktrace.ts';

afterAll(() => Socktrace.killAll());

async function leaking(): Promise<Puppet> {
  const puppet = await Puppet.start({ netns: true });
  await puppet.commands('open u v4 30', 'open b v6 12', 'bind b zero', 'open l v4 1', 'bind l 20000', 'listen l 8');
  return puppet;
}

/** Of the sums that a command printed. */
function classCount(text: string, name: string): number {
  return Number(new RegExp(`^ +([\\d,]+) +${name} +\\w`, 'm').exec(text)?.[1]?.replaceAll(',', ''));
}

it('bare: the sums, the suspects, the ports, and what to type next', async () => {
  await using puppet = await leaking();
  const { code, stdout } = await socktrace();
  // Others of the host may hold some too.
  expect(classCount(stdout, 'closed')).toBeGreaterThanOrEqual(30);
  expect(classCount(stdout, 'closed-bound')).toBeGreaterThanOrEqual(12);
  expect(stdout).toMatch(new RegExp(`suspect +30 +closed-unknown .*puppet\\[${puppet.pid}\\]$`, 'm'));
  // The same sockets have the same name among the findings and under PORTS, and are what is said first.
  expect(stdout).toMatch(/^ *12 {2}closed-unknown {2}puppet\[/m);
  expect(stdout).toMatch(/^[\d,]+ SUSPECTS {2}\S/);
  expect(stdout).toMatch(
    new RegExp(`^(?:[\\d,]+ SUSPECTS| +) {2}puppet\\[${puppet.pid}\\] holds 42 closed-unknown \\(12 ports\\)$`, 'm'),
  );
  expect(stdout).toMatch(/^ {2}node \S*dist\/cli\/main\.js snapshot --pid \d+ /m);
  expect(code).toBe(0);
  await nothingLeft();
});

it('snapshot --pid: its sockets, wasteful ones first, as many as asked for', async () => {
  await using puppet = await leaking();
  const { stdout } = await socktrace('snapshot', '--pid', String(puppet.pid), '--limit', '5');
  expect(stdout.match(/^ {2}closed-unknown {2}CLOSE /gm)).toHaveLength(5);
  expect(stdout).toContain('and 38 more sockets');
});

it('snapshot --kind --json: one document, every socket with its holder', async () => {
  await using puppet = await leaking();
  const { stdout } = await socktrace('snapshot', '--pid', String(puppet.pid), '--kind', 'listening', '--json');
  const report = JSON.parse(stdout) as Report;
  const { fds, inodes } = await puppet.stats('l');
  const owner = report.processes.find(({ pid }) => pid === puppet.pid)?.id;
  expect(report.snapshot).toMatchObject({
    value: [
      { kind: 'listening', port: 20_000, inode: String(inodes?.[0]), holders: [{ process: owner, fd: fds?.[0] }] },
    ],
  });
  expect(report.verdict.is).not.toBe('leak');
});

it('sockstat: the lines of ss -s, and what they mean', async () => {
  await using puppet = await leaking();
  const stdout = await agreesWithSs(puppet);
  expect(Number(/^ +([\d,]+) +in no hash table/m.exec(stdout)?.[1]?.replaceAll(',', ''))).toBeGreaterThanOrEqual(42);
});

it.each([[[]], [['snapshot']], [['sockstat']]])('no privilege (%j): exit 3, names the capabilities', async (args) => {
  const plain = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const { code, stderr, stdout } = await Socktrace.startUnder(plain, args).finished();
  expect(stderr).toContain('CAP_BPF');
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
});

/** As a user of its own, who may use BPF and not look into the processes of others. */
function asNobody(...options: string[]): string[] {
  const may = '+bpf,+perfmon,+net_admin,+sys_admin';
  const script = `mount -t proc -o ${options.join(',')} proc /proc && exec "$@"`;
  const user = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--inh-caps', may];
  return [
    'unshare',
    '--mount',
    'sh',
    '-c',
    script,
    'sh',
    ...user,
    '--ambient-caps',
    may,
    '--bounding-set',
    `-all,${may}`,
  ];
}

describe('where the processes of others may not be looked into', () => {
  it.each([
    { hidepid: 0, says: /^processes hide their network namespace \(permission denied\): \d+ \(.+\[\d+\].*\)$/ },
    { hidepid: 1, says: /^processes hide their network namespace \(permission denied\): \d+ \(.+\[\d+\].*\)$/ },
    { hidepid: 2, says: /^processes that \/proc does not list \(hidepid/ },
    { hidepid: 4, says: /^processes that \/proc does not list \(hidepid/ },
  ])('hidepid=$hidepid: the sockets are all there, and what was not seen is said', async ({ hidepid, says }) => {
    await using puppet = await leaking();
    await puppet.commands('open c v4 4', 'connect c lo 20000');
    const prefix = asNobody(`hidepid=${hidepid}`);
    const { code, stdout, stderr } = await Socktrace.startUnder(prefix, ['snapshot', '--json']).finished();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const report = JSON.parse(stdout) as Report;
    if (report.snapshot.status === 'unavailable' || report.sockstat.status === 'unavailable') throw new Error(stdout);
    // By descriptors: all that the puppet holds. Not what waits in its listener: nobody can get in there.
    const here = report.snapshot.value.filter(({ netns }) => netns === puppet.netns);
    const counts: Record<string, number> = {};
    for (const socket of here) counts[socket.class] = (counts[socket.class] ?? 0) + 1;
    expect(counts).toEqual({
      closed: 30,
      'closed-bound': 12,
      listening: 1,
      connected: 4,
    });
    expect(new Set(here.flatMap(({ holders }) => holders.map(({ process }) => process.split(':')[1])))).toEqual(
      new Set([String(puppet.pid)]),
    );
    const { unseen, unplaced, classes, allocWhenClassified } = report.sockstat.value;
    const sum = classes.status === 'measured' ? classes.value.reduce((all, { count }) => all + count, 0) : Number.NaN;
    if (unplaced.status === 'unavailable') throw new Error(unplaced.reason);
    expect(unplaced.value).toBeGreaterThanOrEqual(4);
    expect(allocWhenClassified).toEqual({ status: 'measured', value: sum + unplaced.value });
    expect(unseen.filter((what) => says.test(what))).toHaveLength(1);
    expect(unseen).toContain(`hashed sockets of network namespace ${puppet.netns}: no way into it was found`);
    expect(report.verdict).toMatchObject({ is: 'not-known', because: expect.arrayContaining(unseen) });
    const ports = report.ports.status === 'measured' ? report.ports.value : [];
    expect(ports.find(({ netns }) => netns === puppet.netns)).toMatchObject({
      inUse: 17,
      inRange: null,
      outOfRange: null,
    });
  });

  it('a trace of a process that /proc hides: exit 2, and why', async () => {
    await using puppet = await Puppet.start();
    const { code, stderr } = await Socktrace.startUnder(asNobody('hidepid=2'), ['--pid', `${puppet.pid}`]).finished();
    expect(stderr).toContain('hidepid');
    expect(stderr).toContain('CAP_SYS_PTRACE');
    expect(code).toBe(2);
  });
});

it('a process in a pid namespace of its own is known by both its pids', async () => {
  const script =
    'import socket, sys; held = [socket.socket() for _ in range(7)]; print("ready", flush=True); sys.stdin.read()';
  const nested = ['--pid', '--fork', '--kill-child', 'python3', '-c', script];
  await using container = Program.start('unshare', ...nested);
  await container.line();
  const [pid] = childrenOf(container.pid);
  const { stdout } = await socktrace('snapshot', '--pid', String(pid), '--json');
  const report = JSON.parse(stdout) as Report;
  expect(report.processes).toMatchObject([{ pid, namespacePids: { value: [pid, 1] } }]);
  expect(report.findings).toMatchObject([{ kind: 'closed-unknown', count: 7 }]);
  expect((await socktrace('snapshot', '--pid', String(pid))).stdout).toContain('pid 1 inside');
});

it('names the users whose sockets they are', async () => {
  await using puppet = await leaking();
  await puppet.commands('setuid 33', 'open w v4 2');
  const { stdout } = await socktrace('snapshot', '--pid', String(puppet.pid), '--json');
  const { snapshot } = JSON.parse(stdout) as Report;
  if (snapshot.status === 'unavailable') throw new Error(snapshot.reason);
  const names = new Map(snapshot.value.map(({ uid, user }) => [uid, user]));
  const { stdout: passwd } = await promisify(execFile)('getent', ['passwd', '0', '33']);
  const known = passwd
    .trim()
    .split('\n')
    .map((line) => line.split(':'));
  expect(Object.fromEntries(names)).toEqual(Object.fromEntries(known.map(([name, , uid]) => [uid, name])));
});

it('a trace ends with the same sums', async () => {
  await using puppet = await leaking();
  const { stdout } = await socktrace('--pid', String(puppet.pid), '--duration', '1s', '--json');
  const report = JSON.parse(stdout) as Report;
  expect(report.ports).toMatchObject({ status: 'measured' });
  const ports = report.ports.status === 'measured' ? report.ports.value : [];
  expect(ports.find(({ netns }) => netns === puppet.netns)).toMatchObject({
    inUse: 13,
    perMinute: { status: 'unavailable', reason: 'growth shows after ten seconds at the earliest' },
  });
  expect(report.sockstat).toMatchObject({ value: { classes: { status: 'measured' }, unplaced: { value: 0 } } });
});
