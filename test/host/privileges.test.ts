// What each capability is for: with exactly these a trace is whole, and without any one of them it says what is missing.
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { Socktrace } from '../e2e/socktrace.ts';
import { Puppet } from './puppet.ts';

const HOOKS = process.env['SOCKTRACE_HOOKS'] ?? 'auto';
/** In the table of the README, too. Trampolines do without the cgroup. */
const NEEDED = HOOKS === 'fentry' ? ['bpf', 'perfmon'] : ['bpf', 'perfmon', 'net_admin'];
const EXACT = [...NEEDED, 'sys_ptrace'];
/** Debian's 3 leaves kprobes to CAP_SYS_ADMIN. */
const PARANOID = '/proc/sys/kernel/perf_event_paranoid';
const refusesKprobes = HOOKS === 'kprobe' && Number(readFileSync(PARANOID, 'utf8')) > 2;
/** Whose the traced process is: neither root nor the tracer's user. */
const OTHER_USER = 1234;
const LEAKED = 12;

afterEach(() => Socktrace.killAll());

/** Before Linux 5.11; elsewhere nobody minds, and root may be denied it. */
const UNLIMITED = 'ulimit -l unlimited 2> /dev/null;';

/**
 * As nobody, with these and nothing else; cgroup2 is mounted where systemd mounts it, if nobody has. setpriv by its path:
 * the kernel lab's busybox has a smaller one.
 */
function under(capabilities: readonly string[]): string[] {
  const set = ['-all', ...capabilities.map((name) => `+${name}`)].join(',');
  const mount =
    'grep -qE " /sys/fs/cgroup(/unified)? cgroup2 " /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup && exec "$@"';
  const user = ['/usr/bin/setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const rights = ['--bounding-set', set, '--inh-caps', set, '--ambient-caps', set];
  return ['unshare', '--mount', 'sh', '-c', `${UNLIMITED} ${mount}`, 'sh', ...user, ...rights];
}

const without = (name: string, from: readonly string[] = EXACT): string[] => from.filter((one) => one !== name);

/** A trace during which a process of another user leaks, to the end. */
async function trace(capabilities: readonly string[], puppet: Puppet): Promise<Report> {
  // By the time that it is a leak all of them are suspects, in a slow guest, too: it is said once.
  const ages = ['--min-age', '200ms', '--leak-age', '4s', '--leak-count', '3'];
  const args = ['--pid', String(puppet.pid), '--json', '--hooks', HOOKS, ...ages];
  const running = Socktrace.startUnder(under(capabilities), args);
  await running.tracing();
  await puppet.commands(`open leak v4 ${LEAKED}`, 'bind leak zero');
  await running.said(new RegExp(`^\\S+ +LEAK +${LEAKED} bound-inactive`, 'm'));
  running.child.kill('SIGINT');
  const { code, stdout } = await running.finished();
  expect(code).toBe(0);
  return JSON.parse(stdout) as Report;
}

async function otherUsers(netns = false): Promise<Puppet> {
  const puppet = await Puppet.start({ netns });
  await puppet.command(`setuid ${OTHER_USER}`);
  return puppet;
}

function leakOf(report: Report): Report['findings'][number] {
  const [leak, ...more] = report.findings;
  if (leak === undefined || more.length > 0) throw new Error(`not one finding: ${JSON.stringify(report.findings)}`);
  expect(leak).toMatchObject({ kind: 'bound-inactive', leak: true, count: LEAKED, ports: LEAKED });
  expect(report.sockets).toMatchObject({ opened: LEAKED, held: LEAKED, preexisting: 0, destroyed: 0 });
  expect(report.loss).toEqual({ complete: true, reasons: [] });
  return leak;
}

function pathOf(report: Report, ref: Report['findings'][number]['openPath']): { quality: string } {
  if (ref.status !== 'resolved' || report.callPaths.status === 'unavailable') throw new Error(JSON.stringify(ref));
  const path = report.callPaths.value.find(({ id }) => id === ref.id);
  if (path === undefined) throw new Error(`no path ${ref.id}`);
  return path;
}

function unseenIn({ sockstat }: Report): readonly string[] {
  if (sockstat.status === 'unavailable') throw new Error(sockstat.reason);
  expect(sockstat.value.classes.status).toBe('measured');
  return sockstat.value.unseen;
}

describe.runIf(refusesKprobes)('kprobes with kernel.perf_event_paranoid=3', () => {
  it('without sys_admin: refused, and both ways out are named', async () => {
    await using puppet = await otherUsers();
    const args = ['--pid', String(puppet.pid), '--json', '--hooks', HOOKS];
    const { code, stderr } = await Socktrace.startUnder(under(EXACT), args).finished();
    expect(stderr).toContain('missing CAP_SYS_ADMIN');
    expect(stderr).toContain('kernel.perf_event_paranoid=2');
    expect(code).toBe(3);
  });

  it('with 2: whole without sys_admin', async () => {
    await using puppet = await otherUsers();
    const before = readFileSync(PARANOID, 'utf8');
    writeFileSync(PARANOID, '2');
    try {
      leakOf(await trace(EXACT, puppet));
    } finally {
      writeFileSync(PARANOID, before);
    }
  });
});

describe('a trace of another user', () => {
  const base = refusesKprobes ? [...EXACT, 'sys_admin'] : EXACT;

  it(`with ${base.join(', ')} and nothing else: whole`, async () => {
    await using puppet = await otherUsers();
    const report = await trace(base, puppet);
    const leak = leakOf(report);
    expect(pathOf(report, leak.openPath).quality).toBe('complete');
    const owner = report.processes.find(({ pid }) => pid === puppet.pid);
    expect(owner).toMatchObject({ exe: { status: 'measured' }, netns: { status: 'measured' } });
    expect(report.verdict.is).toBe('leak');
    // Those of the tracer's own network namespace.
    const ports = report.ports.status === 'measured' ? report.ports.value : [];
    expect(ports.find(({ netns }) => netns === puppet.netns)?.inRange).toBeGreaterThanOrEqual(LEAKED);
  });

  it.each(NEEDED)('without %s: refused, and named', async (name) => {
    await using puppet = await otherUsers();
    const args = ['--pid', String(puppet.pid), '--json', '--hooks', HOOKS];
    const { code, stdout, stderr } = await Socktrace.startUnder(under(without(name)), args).finished();
    expect(stderr).toContain(`missing CAP_${name.toUpperCase()}: `);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });

  it('without sys_ptrace: the leak is found, and what is not known of the process is said', async () => {
    await using puppet = await otherUsers();
    const report = await trace(without('sys_ptrace', base), puppet);
    const leak = leakOf(report);
    const path = leak.openPath.status === 'resolved' ? pathOf(report, leak.openPath) : leak.openPath;
    expect(path).not.toMatchObject({ quality: 'complete' });
    const owner = report.processes.find(({ pid }) => pid === puppet.pid);
    expect(owner?.exe).toMatchObject({ status: 'unavailable', reason: expect.stringContaining('permission denied') });
    expect(unseenIn(report)).toContainEqual(
      expect.stringMatching(/hide their network namespace \(permission denied\)/),
    );
  });

  it.skipIf(refusesKprobes)('without sys_admin: other network namespaces are not entered, and named', async () => {
    await using puppet = await otherUsers(true);
    const report = await trace(EXACT, puppet);
    leakOf(report);
    expect(unseenIn(report)).toContainEqual(
      expect.stringMatching(/^hashed sockets of .*: enter the network namespace: EPERM$/),
    );
  });

  it('with sys_admin: they are', async () => {
    await using puppet = await otherUsers(true);
    const report = await trace([...EXACT, 'sys_admin'], puppet);
    leakOf(report);
    expect(unseenIn(report).filter((what) => what.includes('EPERM'))).toEqual([]);
    const ports = report.ports.status === 'measured' ? report.ports.value : [];
    expect(ports.find(({ netns }) => netns === puppet.netns)).toMatchObject({ inRange: LEAKED });
  });
});

describe('a look', () => {
  const LOOK = ['bpf', 'perfmon'];

  it(`with ${LOOK.join(', ')} and nothing else: every socket is counted`, async () => {
    await using puppet = await otherUsers();
    await puppet.commands(`open leak v4 ${LEAKED}`);
    const { code, stdout } = await Socktrace.startUnder(under(LOOK), ['snapshot', '--json']).finished();
    expect(code).toBe(0);
    const { snapshot } = JSON.parse(stdout) as Report;
    const all = snapshot.status === 'measured' ? snapshot.value : [];
    const held = all.filter(({ holders }) => holders.some(({ process }) => process.split(':')[1] === `${puppet.pid}`));
    expect(held).toHaveLength(LEAKED);
  });

  it.each(LOOK)('without %s: refused, and named', async (name) => {
    const { code, stdout, stderr } = await Socktrace.startUnder(under(without(name, LOOK)), ['sockstat']).finished();
    expect(stderr).toContain(`missing CAP_${name.toUpperCase()}: `);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });
});
