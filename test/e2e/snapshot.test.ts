// The commands that look without tracing, as a user runs them.
import { afterAll, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { Puppet } from '../host/puppet.ts';
import { agreesWithSs, leftInKernel, Socktrace, socktrace } from './socktrace.ts';

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
  expect(stdout).toMatch(/^ *12 {2}bound-inactive {2}puppet\[/m);
  expect(stdout).toMatch(/^ {2}socktrace snapshot --pid \d+ /m);
  expect(code).toBe(0);
  expect(await leftInKernel()).toEqual([]);
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

it.each([[[]], [['snapshot']], [['sockstat']]])('a pid namespace of its own (%j): exit 3', async (args) => {
  const { code, stderr } = await Socktrace.startUnder(['unshare', '--pid', '--fork', '--mount-proc'], args).finished();
  expect(stderr).toContain('--pid=host');
  expect(code).toBe(3);
});

it('a trace ends with the same sums', async () => {
  await using puppet = await leaking();
  const { stdout } = await socktrace('--pid', String(puppet.pid), '--duration', '1s', '--json');
  const report = JSON.parse(stdout) as Report;
  expect(report.ports).toMatchObject({ status: 'measured' });
  const ports = report.ports.status === 'measured' ? report.ports.value : [];
  expect(ports.find(({ netns }) => netns === puppet.netns)).toMatchObject({ inUse: 13, perMinute: { value: 0 } });
  expect(report.sockstat).toMatchObject({ value: { classes: { status: 'measured' }, unplaced: { value: 0 } } });
});
