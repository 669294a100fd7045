// Failed calls are counted by process, operation, errno and cause, also of processes that nobody traces.
import { describe, expect, it } from 'vitest';
import type { Failure, Report } from '../../src/report/types.ts';
import { Puppet } from './puppet.ts';
import { Tracing } from './tracing.ts';

function failuresOf(report: Report, pid: number): Pick<Failure, 'operation' | 'errno' | 'cause' | 'count'>[] {
  if (report.failures.status === 'unavailable') return [];
  return report.failures.value
    .filter((failure) => failure.pid === pid)
    .map(({ operation, errno, cause, count }) => ({ operation, errno, cause, count }))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

const CASES: {
  name: string;
  commands: string[];
  failures: [Failure['operation'], string, Failure['cause'], number][];
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

describe.each([
  { family: 'v4', foreign: '192.0.2.1' },
  { family: 'v6', foreign: '2001:db8::1' },
])('$family', ({ family, foreign }) => {
  it.each(CASES)('$name', async ({ commands, failures }) => {
    await using traced = await Puppet.start({ netns: true });
    await using stranger = await Puppet.start({ netns: true });
    using tracing = Tracing.of([traced.pid]);
    const expected = [] as ReturnType<typeof failuresOf>;
    for (const command of commands) {
      const line = command.replaceAll('%f', family).replaceAll('%a', foreign);
      const answer = await traced.command(line);
      await stranger.command(line);
      if (line.startsWith('open'))
        for (const [errno, count] of Object.entries(answer.errors)) note('socket', errno, count);
    }
    for (const [operation, errno, cause, count] of failures)
      if (count >= 0) expected.push({ operation, errno, cause, count });
    expected.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    const report = tracing.finish();
    expect(failuresOf(report, traced.pid)).toEqual(expected);
    // What fails later is known of traced sockets only: nobody asked the stranger's.
    const later = failures.some(([, errno]) => errno === 'ECONNREFUSED') ? 3 : null;
    expect(failuresOf(report, stranger.pid)).toEqual(
      expected.map((failure) => (later === null ? failure : { ...failure, count: later })),
    );
    expect(report.findings.every(({ process }) => process.status === 'measured')).toBe(true);

    function note(operation: Failure['operation'], errno: string, count: number): void {
      const cause = failures.find(([of, name]) => of === operation && name === errno)?.[2];
      if (cause !== undefined) expected.push({ operation, errno, cause, count });
    }
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
