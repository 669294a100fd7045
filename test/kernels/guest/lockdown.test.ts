// A kernel that refuses the program that sees calls return: what is not seen then is said, and not shown as none.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { renderText } from '../../../src/render/text.ts';
import { notRun } from '../../host/not-run.ts';
import { Puppet } from '../../host/puppet.ts';
import { expectSumsToClose, Tracing, unmendedLoss } from '../../host/tracing.ts';

const HOOKS = process.env['SOCKTRACE_HOOKS'] ?? 'auto';

it('lockdown: sockets are counted, and failed calls are not known', async (context) => {
  if (!/\blockdown=confidentiality\b/.test(readFileSync('/proc/cmdline', 'utf8')) || HOOKS !== 'cgroup')
    notRun(context, 'only the cgroup hooks under lockdown=confidentiality lose the ends of calls');
  await using puppet = await Puppet.start({ netns: true, timeoutMs: 120_000 });
  using tracing = Tracing.of([puppet.pid], { callPaths: true });
  await puppet.commands(
    'open held v4 5',
    'open taken v4 1',
    'bind taken 20000',
    'open failing v4 3',
    'bind failing 20000',
  );
  await tracing.findings([
    { kind: 'unused', count: 8, pid: puppet.pid },
    { kind: 'bound-inactive', count: 1, pid: puppet.pid },
  ]);
  const report = tracing.finish();
  expect(report.failures).toEqual({ status: 'unavailable', reason: expect.stringMatching(/helper|func/) });
  expect(renderText(report)).toMatch(/^FAILED CALLS\n {2}not known: /m);
  expect(report.host.hooks.blindSpots).toContainEqual(expect.stringContaining('syscall_exit refused'));
  expect(unmendedLoss(report)).toEqual([]);
  expectSumsToClose(report);
});
