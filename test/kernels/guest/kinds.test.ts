// Every scenario of both families at once, in one session: to open one takes seconds where the CPU is emulated.
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../../../src/report/types.ts';
import { builtProgram, Puppet } from '../../host/puppet.ts';
import { FAMILY_NAMES, opened, scenariosOf } from '../../host/scenarios.ts';
import { expectSumsToClose, Tracing, unmendedLoss } from '../../host/tracing.ts';

const SCENARIOS = FAMILY_NAMES.flatMap((family) => scenariosOf(family).map((scenario) => ({ family, ...scenario })));

/** Copies of the puppet: the processes of one program would share their findings. */
const copies = mkdtempSync(join(tmpdir(), 'puppets-'));
const puppets: Puppet[] = [];
let tracing: Tracing;
let report: Report;

beforeAll(async () => {
  for (const i of SCENARIOS.keys()) {
    const executable = join(copies, `puppet-${i}`);
    copyFileSync(builtProgram('puppet'), executable);
    puppets.push(await Puppet.start({ netns: true, executable, timeoutMs: 120_000 }));
  }
  tracing = Tracing.of(
    puppets.map(({ pid }) => pid),
    { callPaths: true },
  );
  for (const [i, { commands }] of SCENARIOS.entries()) {
    for (const command of commands) await puppets[i]?.command(command);
    tracing.session.poll();
  }
  await tracing.ripen();
}, 300_000);

afterAll(async () => {
  tracing.session.close();
  for (const puppet of puppets) await puppet.close();
  rmSync(copies, { recursive: true });
});

it.each(SCENARIOS.map((scenario, i) => ({ ...scenario, i })))('$family $name', async ({ expected, i }) => {
  const { pid } = puppets[i] as Puppet;
  await tracing.findingsOf(
    pid,
    expected.map((finding) => ({ ...finding, pid })),
  );
});

describe('all of them', () => {
  it('nothing was lost, and the sums close', () => {
    report = tracing.finish();
    expect(unmendedLoss(report)).toEqual([]);
    expect(report.sockets.opened).toBe(SCENARIOS.reduce((sum, { commands }) => sum + opened(commands), 0));
    expect(report.sockets.preexisting).toBe(0);
    expectSumsToClose(report);
  });
});
