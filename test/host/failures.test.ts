// Failed calls are counted by process, operation, errno and cause, also of processes that nobody traces.
import { describe, expect, it } from 'vitest';
import type { Failure, Report } from '../../src/report/types.ts';
import { requireSocketCalls } from './not-run.ts';
import { Puppet } from './puppet.ts';
import { Tracing } from './tracing.ts';

function failuresOf(report: Report, pid: number): Pick<Failure, 'operation' | 'errno' | 'cause' | 'count'>[] {
  if (report.failures.status === 'unavailable') return [];
  return report.failures.value
    .filter((failure) => failure.pid === pid)
    .map(({ operation, errno, cause, count }) => ({ operation, errno, cause, count }))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

type ExpectedFailure = [Failure['operation'], string, Failure['cause'], number];

/** The failures of a case; a count of -1 is what the puppet's own calls told. */
function counted(
  failures: readonly ExpectedFailure[],
  told: readonly ExpectedFailure[],
): ReturnType<typeof failuresOf> {
  return failures
    .map(([operation, errno, cause, count]) => {
      const answered = told.filter(([of, name]) => of === operation && name === errno);
      return { operation, errno, cause, count: count >= 0 ? count : answered.reduce((sum, [, , , n]) => sum + n, 0) };
    })
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const CASES: {
  name: string;
  commands: string[];
  failures: ExpectedFailure[];
  /** of a process that is not traced, where they differ: nobody asked its sockets what happened later */
  strangers?: ExpectedFailure[];
}[] = [
  {
    name: 'bind: taken port, foreign address, range full',
    commands: [
      'open l %f 1',
      'bind l 20000',
      'listen l 8',
      'open a %f 3',
      'bind a 20000',
      'open b %f 2',
      'bind b zero %a',
      'port-range 30000 30009',
      'open c %f 14',
      'bind c zero',
    ],
    failures: [
      ['bind', 'EADDRINUSE', 'port-taken', 3],
      ['bind', 'EADDRNOTAVAIL', 'address-not-local', 2],
      ['bind', 'EADDRINUSE', 'no-free-port', 4],
    ],
  },
  {
    name: 'bind: privileged port',
    commands: ['setuid 65534', 'open a %f 3', 'bind a 80'],
    failures: [['bind', 'EACCES', 'privileged-port', 3]],
  },
  {
    name: 'connect: refused, at once and later',
    commands: ['open a %f 3', 'connect a lo 9', 'open b %f 4', 'connect b lo 9 nonblock', 'poll-connect b'],
    failures: [['connect', 'ECONNREFUSED', 'refused', 7]],
    strangers: [['connect', 'ECONNREFUSED', 'refused', 3]],
  },
  {
    name: 'connect: refused later, once, though asked for again; then tried again',
    commands: [
      'open a %f 4',
      'connect a lo 9 nonblock',
      'poll-connect a',
      'connect a lo 9',
      'connect a lo 9 nonblock',
      'poll-connect a',
    ],
    failures: [['connect', 'ECONNREFUSED', 'refused', 8]],
    strangers: [['connect', 'ECONNABORTED', 'other', 4]],
  },
  {
    name: 'connect: no free port, and a pair of endpoints that exists',
    commands: [
      'port-range 30000 30009',
      'open l %f 1',
      'bind l 20000',
      'listen l 64',
      'open one %f 1',
      'reuseaddr one',
      'bind one 30000',
      'connect one lo 20000',
      'open same %f 1',
      'reuseaddr same',
      'bind same 30000',
      'connect same lo 20000',
      'open full %f 9',
      'bind full zero',
      'open a %f 5',
      'connect a lo 20000',
    ],
    failures: [
      ['connect', 'EADDRNOTAVAIL', 'tuple-in-use', 1],
      ['connect', 'EADDRNOTAVAIL', 'no-free-port', 5],
    ],
  },
  {
    name: 'listen: no free port',
    commands: ['port-range 30000 30009', 'open full %f 10', 'bind full zero', 'open a %f 2', 'listen a 8'],
    failures: [['listen', 'EADDRINUSE', 'no-free-port', 2]],
  },
  {
    name: 'socket: descriptor limit',
    commands: ['fd-limit 40', 'open a %f 60'],
    failures: [['socket', 'EMFILE', 'descriptor-limit', -1]],
  },
];

// By position: a name put in for $family is quoted, and the kernel lab chooses by it.
describe.each([
  ['v4', '192.0.2.1'],
  ['v6', '2001:db8::1'],
])('%s', (family, foreign) => {
  it.for(CASES)('$name', async ({ commands, failures, strangers = failures }, context) => {
    await using traced = await Puppet.start({ netns: true });
    await using stranger = await Puppet.start({ netns: true });
    using tracing = Tracing.of([traced.pid]);
    if (failures.some(([call]) => call === 'socket')) requireSocketCalls(context, tracing);
    const unforeseen: ExpectedFailure[] = [];
    for (const command of commands) {
      const line = command.replaceAll('%f', family).replaceAll('%a', foreign);
      const answer = await traced.command(line);
      await stranger.command(line);
      if (line.startsWith('open'))
        for (const [errno, count] of Object.entries(answer.errors)) unforeseen.push(['socket', errno, 'other', count]);
    }
    const report = tracing.finish();
    expect(failuresOf(report, traced.pid)).toEqual(counted(failures, unforeseen));
    expect(failuresOf(report, stranger.pid)).toEqual(counted(strangers, unforeseen));
    expect(report.findings.every(({ process }) => process.status === 'measured')).toBe(true);
  });

  it('has the network namespace of each, however short the process lives', async () => {
    await using traced = await Puppet.start();
    using tracing = Tracing.of([traced.pid]);
    const places: number[] = [];
    const pids: number[] = [];
    {
      // Both at once: a namespace that has ended may leave its number to the next.
      await using one = await Puppet.start({ netns: true });
      await using other = await Puppet.start({ netns: true });
      for (const stranger of [one, other]) {
        await stranger.commands('port-range 30000 30004', `open a ${family} 6`, 'bind a zero');
        places.push((await stranger.command('self')).netns ?? 0);
        pids.push(stranger.pid);
      }
    }
    const { failures } = tracing.finish();
    const all = failures.status === 'measured' ? failures.value : [];
    expect(new Set(places).size).toBe(2);
    expect(pids.map((pid) => all.find((failure) => failure.pid === pid)?.netns)).toEqual(places);
  });

  it('a listen that fails is no listening', async () => {
    await using puppet = await Puppet.start({ netns: true });
    using tracing = Tracing.of([puppet.pid]);
    await puppet.commands('port-range 30000 30009', `open full ${family} 10`, 'bind full zero', `open a ${family} 2`);
    await puppet.commands('listen a 8', `open l ${family} 1`, 'bind l 20000', 'listen l 8');
    const report = tracing.finish();
    const process = report.processes.find(({ pid }) => pid === puppet.pid);
    expect(process?.activity).toMatchObject({ value: { opened: 13, bound: 11, listened: 1 } });
    expect(failuresOf(report, puppet.pid)).toMatchObject([{ operation: 'listen', cause: 'no-free-port', count: 2 }]);
  });

  it('strangers are left alone with --no-victims', async () => {
    await using traced = await Puppet.start({ netns: true });
    await using stranger = await Puppet.start({ netns: true });
    using tracing = Tracing.of([traced.pid], { victims: false });
    for (const puppet of [traced, stranger]) await puppet.commands(`open a ${family} 3`, 'connect a lo 9');
    const report = tracing.finish();
    expect(failuresOf(report, traced.pid)).toHaveLength(1);
    expect(failuresOf(report, stranger.pid)).toEqual([]);
  });
});
