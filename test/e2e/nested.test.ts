// socktrace in a pid namespace of its own, as in a container without --pid=host: processes by the pids that are known there.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Report, ReportProcess } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { builtProgram, Puppet } from '../host/puppet.ts';
import { nothingLeft, Socktrace } from './socktrace.ts';

const execute = promisify(execFile);
const NESTED = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
const SHORT = ['--min-age', '200ms', '--leak-age', '300ms', '--leak-count', '3'];
/** Starts a service that leaks, waits for its first socket, and becomes socktrace. */
const BESIDE =
  '"$0" unused --rate 10 --lifetime 100 >/dev/null & until readlink /proc/$!/fd/* | grep -q socket:; do sleep 0.05; done; exec "$@" --pid $!';

beforeEach(async (context) => {
  await execute(NESTED[0] as string, [...NESTED.slice(1), 'true']).catch(() => notRun(context, 'no pid namespaces'));
});

afterEach(async () => {
  Socktrace.killAll();
  await nothingLeft();
});

function beside(...args: string[]): Socktrace {
  return Socktrace.startUnder([...NESTED, 'sh', '-c', BESIDE, builtProgram('leaky-service')], args);
}

function ownerIn({ findings, processes }: Report): ReportProcess | undefined {
  return processes.find(({ id }) =>
    findings.some(({ process }) => process.status === 'measured' && process.value === id),
  );
}

describe('inside', () => {
  it('--pid takes and shows the pids of the namespace, with call paths and holders; failures outside are told apart', async () => {
    const running = beside('--json', '--duration', '4s', ...SHORT);
    await running.tracing();
    const refused = 'import os,socket; print(os.getpid()); print(socket.socket().connect_ex(("127.0.0.1", 1)))';
    const [outside, errno] = (await execute('python3', ['-c', refused])).stdout.split('\n').map(Number);
    expect(errno).toBe(111);
    const { stdout, stderr } = await running.finished();
    const report = JSON.parse(stdout) as Report;
    const owner = ownerIn(report);
    expect(stderr).toMatch(new RegExp(`^tracing pid ${owner?.pid} and its children`, 'm'));
    expect(owner).toMatchObject({ comm: 'leaky-service', namespacePids: { value: [owner?.pid] } });
    expect(owner?.cmdline).toMatchObject({ value: expect.arrayContaining(['unused']) });
    expect(report.target.pids).toEqual([owner?.pid]);
    const finding = report.findings.find(({ kind }) => kind === 'unused');
    expect(finding).toMatchObject({ leak: true, holders: [{ process: owner?.id }] });
    expect(JSON.stringify(report.callPaths)).toContain('open_backend_connection');
    const failed = report.failures.status === 'measured' ? report.failures.value : [];
    expect(failed).toContainEqual(expect.objectContaining({ errno: 'ECONNREFUSED', comm: 'python3', pid: 0 }));
    expect(report.processes).toContainEqual(
      expect.objectContaining({ pid: 0, comm: 'python3', namespacePids: { status: 'measured', value: [outside] } }),
    );
  });

  it('snapshot', async () => {
    const { stdout } = await beside('snapshot', '--json').finished();
    const { processes, target } = JSON.parse(stdout) as Report;
    expect(processes).toMatchObject([{ comm: 'leaky-service', pid: target.pids[0] }]);
  });

  it('run', async () => {
    const leak =
      'import os,socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(os.getpid(), flush=True); os._exit(0)';
    const args = ['run', '--fail-on-leak', '--', 'python3', '-c', leak];
    const { code, stdout, stderr } = await Socktrace.startUnder(NESTED, args).finished();
    expect(stderr).toContain(`LEAK  python3[${Number(stdout)}] exited with 1 socket`);
    expect(code).toBe(10);
  });

  it('--all and --comm select what is inside', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.startUnder(NESTED, ['--all', '--comm', 'puppet', '--json', '--duration', '1s', ...SHORT]);
    await running.tracing();
    await puppet.commands('open g v4 12', 'bind g zero');
    const report = JSON.parse((await running.finished()).stdout) as Report;
    expect({ findings: report.findings, opened: report.sockets.opened }).toEqual({ findings: [], opened: 0 });
  });

  it('a pid of the host is no process there', async () => {
    await using puppet = await Puppet.start();
    const { code, stderr } = await Socktrace.startUnder(NESTED, ['--pid', `${puppet.pid}`]).finished();
    expect(stderr).toContain(`there is no process ${puppet.pid}`);
    expect(code).toBe(2);
  });
});

it.each([[['snapshot']], [['--pid', '1']], [['run', '--', 'true']]])(
  'with the /proc of an outer namespace (%j): refused',
  async (args) => {
    const { code, stderr } = await Socktrace.startUnder(
      ['unshare', '--pid', '--fork', '--kill-child'],
      args,
    ).finished();
    expect(stderr).toContain('mount -t proc');
    expect(code).toBe(args[0] === 'run' ? 125 : 3);
  },
);
