// What each selector takes, when it takes it, and that it takes nothing else. Every test has a process that leaks as
// much and is not selected; names, users and cgroups are this test's own, since others run on the host too.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { type SelectionOptions, selectionOf } from '../../src/cli/selection.ts';
import { cgroupMount } from '../../src/procfs/cgroup-tree.ts';
import type { Report } from '../../src/report/types.ts';
import type { SessionOptions } from '../../src/session/session.ts';
import { notRun } from './not-run.ts';
import { builtProgram, Puppet } from './puppet.ts';
import { Tracing } from './tracing.ts';

const NAME = `st-${process.pid}`;
const UID = 54_000 + (process.pid % 1_000);

function select(options: SelectionOptions, changed: Partial<SessionOptions> = {}): Tracing {
  const selection = selectionOf(options);
  if (selection === undefined) throw new Error('nothing is selected');
  return Tracing.of([], { selection, ...changed });
}

async function leak(puppet: Puppet, count: number): Promise<void> {
  await puppet.command(`open g v4 ${count}`);
}

async function named(name: string): Promise<Puppet> {
  const puppet = await Puppet.start({ netns: true });
  await puppet.command(`name ${name}`);
  return puppet;
}

/** Waits for the findings of these processes, lets all else ripen, and holds the owners against them. */
async function expectOwners(tracing: Tracing, counts: readonly [Puppet | number, number][]): Promise<Report> {
  const pids = new Map(counts.map(([who, count]) => [typeof who === 'number' ? who : who.pid, count]));
  const seen = (report: Report): Map<number, number> => {
    const owned = new Map<number, number>();
    for (const { process, count } of report.findings) {
      const pid = process.status === 'measured' ? Number(process.value.split(':')[1]) : -1;
      owned.set(pid, (owned.get(pid) ?? 0) + count);
    }
    return owned;
  };
  await tracing.until(`findings of ${JSON.stringify([...pids])}`, (report) => {
    const owned = seen(report);
    return [...pids].every(([pid, count]) => owned.get(pid) === count);
  });
  const report = await tracing.ripen();
  expect(seen(report)).toEqual(pids);
  return report;
}

/** Pids of the processes that were ever traced. */
function traced(tracing: Tracing): Set<number> {
  return new Set(
    tracing.inputs.flatMap((input) =>
      input.type === 'process' && input.activity.status === 'measured' ? [input.facts.pid] : [],
    ),
  );
}

describe('--comm', () => {
  it('takes processes of exactly that name, with what they hold already', async () => {
    await using one = await named(NAME);
    await using longer = await named(`${NAME}x`);
    await using shorter = await named(NAME.slice(0, -1));
    for (const puppet of [one, longer, shorter]) await leak(puppet, 4);
    using tracing = select({ comm: [NAME] });
    for (const puppet of [one, longer, shorter]) await leak(puppet, 3);
    await expectOwners(tracing, [[one, 7]]);
    const report = tracing.finish();
    expect(report.sockets).toMatchObject({ preexisting: 4, opened: 3 });
    expect(report.target).toMatchObject({ pids: [], selectors: [{ by: 'comm', value: NAME }] });
  });

  it('takes a name that follows a longer one', async () => {
    await using puppet = await named('a-longer-name-x');
    await puppet.command(`name ${NAME}`);
    using tracing = select({ comm: [NAME] });
    await leak(puppet, 3);
    await expectOwners(tracing, [[puppet, 3]]);
  });

  it('takes programs that are started later, from their exec on, and their children', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'socktrace-selection-'));
    const executable = join(folder, NAME);
    copyFileSync(builtProgram('puppet'), executable);
    execFileSync('chmod', ['755', executable]);
    try {
      using tracing = select({ comm: [NAME] });
      await using other = await Puppet.start();
      await using puppet = await Puppet.start({ executable });
      const { pid } = await puppet.command('fork');
      await puppet.command('child 1 open g v4 4');
      for (const one of [puppet, other]) await leak(one, 3);
      await expectOwners(tracing, [
        [puppet, 3],
        [pid as number, 4],
      ]);
      expect(tracing.finish().sockets).toMatchObject({ opened: 7, preexisting: 0, arrived: 0 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('with --no-follow takes a child by its own name only', async () => {
    await using puppet = await named(NAME);
    using tracing = select({ comm: [NAME] }, { follow: false });
    await puppet.command('fork');
    await puppet.command('child 1 name other');
    // A child has its parent's name when it is born, and a match is for life.
    await puppet.command('child 1 exec');
    await puppet.command('child 1 open g v4 3');
    await leak(puppet, 4);
    const report = await tracing.until('both', (now) => now.findings.length === 2);
    expect(report.findings.map(({ count }) => count).sort()).toEqual([3, 4]);
  });
});

describe('--user', () => {
  it('takes processes of that user, and one that becomes it', async () => {
    await using before = await Puppet.start({ netns: true });
    await using after = await Puppet.start({ netns: true });
    await using root = await Puppet.start({ netns: true });
    await before.command(`setuid ${UID}`);
    using tracing = select({ user: [String(UID)] });
    await after.command(`setuid ${UID}`);
    for (const puppet of [before, after, root]) await leak(puppet, 3);
    await expectOwners(tracing, [
      [before, 3],
      [after, 3],
    ]);
  });
});

describe('--netns-of', () => {
  it('takes processes in that network namespace, and one that is started in it', async () => {
    await using first = await Puppet.start({ netns: true });
    await using elsewhere = await Puppet.start({ netns: true });
    using tracing = select({ netnsOf: [first.pid] });
    await using later = await Puppet.start({ netnsOf: first });
    await using mover = await Puppet.start({ netns: true });
    for (const puppet of [first, later, elsewhere, mover]) await leak(puppet, 3);
    await expectOwners(tracing, [
      [first, 3],
      [later, 3],
    ]);
  });
});

describe('--cgroup', () => {
  let mount = cgroupMount();
  let mounted: string | null = null;
  const name = `socktrace-${process.pid}.service`;

  beforeAll(() => {
    if (mount !== null) return;
    mounted = mkdtempSync(join(tmpdir(), 'socktrace-cgroup-'));
    try {
      execFileSync('mount', ['-t', 'cgroup2', 'none', mounted], { stdio: 'ignore' });
      mount = mounted;
    } catch {
      rmdirSync(mounted);
      mounted = null;
    }
  });

  afterAll(() => {
    if (mounted === null) return;
    execFileSync('umount', [mounted]);
    rmdirSync(mounted);
  });

  function make(context: TestContext, path: string): string {
    if (mount === null) return notRun(context, 'this kernel has no cgroup2');
    const made = join(mount, path);
    mkdirSync(made, { recursive: true });
    return made;
  }

  function move(pid: number, cgroup: string): void {
    writeFileSync(join(cgroup, 'cgroup.procs'), String(pid));
  }

  /** What ended leaves its cgroup a little later. */
  async function remove(cgroup: string): Promise<void> {
    for (let tries = 0; existsSync(cgroup); tries++) {
      try {
        rmdirSync(cgroup);
      } catch (error) {
        if (tries > 500) throw error;
        await new Promise((done) => setTimeout(done, 10));
      }
    }
  }

  for (const how of ['path', 'unit', 'unit without .service'] as const)
    it(`by ${how}: what is in it or below, and what moves in`, async (context) => {
      const cgroup = make(context, name);
      const inner = make(context, `${name}/inner`);
      const beside = make(context, `x${name}`);
      try {
        await using within = await Puppet.start();
        await using below = await Puppet.start();
        await using near = await Puppet.start();
        await using late = await Puppet.start();
        move(within.pid, cgroup);
        move(below.pid, inner);
        move(near.pid, beside);
        const wanted = { path: `/${name}`, unit: name, 'unit without .service': name.replace('.service', '') }[how];
        using tracing = select({ cgroup: [wanted] });
        move(late.pid, inner);
        for (const puppet of [within, below, near, late]) await leak(puppet, 3);
        await expectOwners(tracing, [
          [within, 3],
          [below, 3],
          [late, 3],
        ]);
      } finally {
        for (const made of [inner, cgroup, beside]) await remove(made);
      }
    });

  it('by the first digits of a container id', async (context) => {
    const id = `${process.pid.toString(16).padStart(12, 'a')}${'0'.repeat(52)}`;
    const cgroup = make(context, `docker-${id}.scope`);
    try {
      await using puppet = await Puppet.start();
      await using other = await Puppet.start();
      move(puppet.pid, cgroup);
      using tracing = select({ cgroup: [id.slice(0, 12)] });
      for (const one of [puppet, other]) await leak(one, 3);
      await expectOwners(tracing, [[puppet, 3]]);
    } finally {
      await remove(cgroup);
    }
  });

  it('a service that is started again has a new cgroup of the same path', async (context) => {
    const cgroup = make(context, name);
    try {
      const first = await Puppet.start();
      move(first.pid, cgroup);
      using tracing = select({ cgroup: [`/${name}`] });
      await first.close();
      await remove(cgroup);
      make(context, name);
      await using second = await Puppet.start();
      move(second.pid, cgroup);
      await leak(second, 3);
      await expectOwners(tracing, [[second, 3]]);
    } finally {
      await remove(cgroup);
    }
  });
});

describe('--all', () => {
  it('takes every process, those to come too, but neither this one nor what it starts for itself', async () => {
    await using before = await Puppet.start({ netns: true });
    const server = createServer();
    using tracing = select({ all: true }, { callPaths: true });
    await using after = await Puppet.start({ netns: true });
    for (const puppet of [before, after]) await leak(puppet, 3);
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    try {
      await tracing.findingsOf(before.pid, [{ kind: 'unused', count: 3, pid: before.pid }]);
      await tracing.findingsOf(after.pid, [{ kind: 'unused', count: 3, pid: after.pid }]);
      await tracing.ripen();
      const { unwinderPid } = tracing.session.callPathStats();
      const mine = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').map(Number);
      const all = traced(tracing);
      expect(all.has(process.pid)).toBe(false);
      if (unwinderPid > 0) {
        expect(mine).toContain(unwinderPid);
        expect(all.has(unwinderPid)).toBe(false);
      }
      expect(all.has(process.ppid)).toBe(true);
    } finally {
      await new Promise((done) => server.close(done));
    }
  });
});

describe('together', () => {
  it('what any of them matches is taken, and pids beside', async () => {
    await using byName = await named(NAME);
    await using byUser = await Puppet.start({ netns: true });
    await using byPid = await Puppet.start({ netns: true });
    await using none = await Puppet.start({ netns: true });
    await byUser.command(`setuid ${UID}`);
    const selection = selectionOf({ comm: [NAME], user: [String(UID)] });
    if (selection === undefined) throw new Error('nothing is selected');
    using tracing = Tracing.of([byPid.pid], { selection });
    for (const puppet of [byName, byUser, byPid, none]) await leak(puppet, 3);
    const report = await expectOwners(tracing, [
      [byName, 3],
      [byUser, 3],
      [byPid, 3],
    ]);
    expect(report.target.pids).toEqual([byPid.pid]);
  });

  it('a selection that nothing matches yet goes on, and reports nothing', async () => {
    using tracing = select({ comm: [NAME] });
    await using puppet = await Puppet.start();
    await leak(puppet, 3);
    const report = await tracing.ripen();
    expect(tracing.session.targetsGone).toBe(false);
    expect({ findings: report.findings, opened: report.sockets.opened }).toEqual({ findings: [], opened: 0 });
  });
});

it('a process in a pid namespace of its own is traced by the pid that it has here, and is shown with both', async (context) => {
  if (!existsSync('/proc/self/ns/pid_for_children')) notRun(context, 'this kernel has no pid namespaces');
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-selection-'));
  const executable = join(folder, 'nested');
  writeFileSync(executable, `#!/bin/sh\nexec unshare --pid --fork ${builtProgram('puppet')}\n`, { mode: 0o755 });
  try {
    await using puppet = await Puppet.start({ executable });
    using tracing = Tracing.of([puppet.pid]);
    await leak(puppet, 3);
    const report = await tracing.until('its finding', ({ findings }) => findings.length === 1);
    const owner = report.processes.find(({ id }) => {
      const { process } = report.findings[0] as Report['findings'][number];
      return process.status === 'measured' && id === process.value;
    });
    expect(owner?.pid).not.toBe(puppet.pid);
    expect(owner?.namespacePids).toEqual({ status: 'measured', value: [owner?.pid, 1] });
  } finally {
    rmSync(folder, { recursive: true });
  }
});
