import { describe, expect, it } from 'vitest';
import { chosenBoots, tableOf } from '../../scripts/lib/lab.mjs';
import { labKernels, newest } from '../../scripts/lib/lab-kernels.mjs';
import { planOf, readResults, warningsOf } from '../../scripts/lib/lab-plan.mjs';

describe('packages', () => {
  it('the newest by number, not by letter', () => {
    const names = ['linux-image-6.12.9+deb12-cloud-amd64', 'linux-image-6.12.117+deb12-cloud-amd64'];
    expect(newest(names)).toBe(names[1]);
    expect(newest(names.toReversed())).toBe(names[1]);
    expect(newest([])).toBeNull();
  });

  it('of each kernel match stock cloud images only', () => {
    const matching = (name) => labKernels.filter(({ packages }) => packages.test(name)).map((kernel) => kernel.name);
    expect(matching('linux-image-6.1.0-56-cloud-amd64')).toEqual(['6.1']);
    expect(matching('linux-image-6.12.117+deb12-cloud-amd64')).toEqual(['6.12']);
    expect(matching('linux-binary-7.3.4+deb13-cloud-amd64')).toEqual(['7']);
    for (const other of [
      'linux-image-6.1.0-56-cloud-amd64-unsigned',
      'linux-image-6.1.0-56-amd64',
      'linux-image-cloud-amd64',
    ])
      expect(matching(other)).toEqual([]);
  });
});

describe('results of a guest', () => {
  const report = (assertionResults, file = {}) =>
    JSON.stringify({
      testResults: [{ name: '/work/test/host/kinds.test.ts', status: 'passed', assertionResults, ...file }],
    });

  it('one test each, with its message', () => {
    const line = report([
      { status: 'passed', fullName: 'v4 unused', failureMessages: [] },
      { status: 'failed', fullName: 'v4 bound', failureMessages: ['expected 7', 'at x'] },
      { status: 'skipped', fullName: 'v6 unused', failureMessages: [] },
      { status: 'skipped', fullName: 'MPTCP', failureMessages: [], meta: { notRun: 'no MPTCP' } },
    ]);
    expect(readResults(`fentry ${line}\n`)).toEqual([
      { hooks: 'fentry', file: 'host/kinds', name: 'v4 unused', failure: null, notRun: null },
      { hooks: 'fentry', file: 'host/kinds', name: 'v4 bound', failure: 'expected 7\nat x', notRun: null },
      { hooks: 'fentry', file: 'host/kinds', name: 'MPTCP', failure: null, notRun: 'no MPTCP' },
    ]);
  });

  it('a file that broke is a failure, and half a line is nothing', () => {
    const line = report([], { status: 'failed', message: 'no such module' });
    expect(readResults(`cgroup ${line}\n`)).toMatchObject([{ name: 'the file', failure: 'no such module' }]);
    expect(readResults(`cgroup ${line.slice(0, 40)}\n`)).toEqual([]);
  });

  it('a kernel that complains is heard, one that quotes its command line is not', () => {
    expect(warningsOf('[1.0] Command line: quiet panic=-1\n[2.0] all is well')).toEqual([]);
    const bad = ['[1.0] WARNING: CPU: 0 PID: 89 at kernel/bpf/verifier.c', '[2.0] Oops: int3', '[3.0] BUG: unable to'];
    expect(warningsOf(bad.join('\n'))).toEqual(bad);
  });
});

describe('the plan', () => {
  it('is narrowed by a choice', () => {
    const boots = chosenBoots({ hooks: ['kprobe'], pattern: "it's" });
    expect(boots).toHaveLength(1);
    expect(boots[0].runs).toMatchObject([{ hooks: 'kprobe', pattern: "it's" }]);
    expect(planOf(boots[0].runs)).toContain("-t 'it'\\''s'");
  });

  it('tells in a table what ran and what did not', () => {
    const test = { hooks: 'fentry', file: 'host/kinds', name: 'x' };
    const boot = {
      boot: 'plain',
      tests: [
        { ...test, failure: null, notRun: null },
        { ...test, failure: 'bad', notRun: null },
        { ...test, failure: null, notRun: 'no MPTCP' },
      ],
      missing: ['kprobe'],
      notRunSets: [{ hooks: 'cgroup', reason: 'no helper' }],
    };
    const table = tableOf([
      { kernel: '6.1', version: 'p', notRun: null, boots: [boot] },
      { kernel: '7', version: null, notRun: 'no package', boots: [] },
    ]).join('\n');
    for (const part of [
      '1 of 2 FAILED, 1 NOT RUN: no MPTCP',
      'kprobe  -',
      'NO RESULT',
      'NOT RUN: no helper',
      'NOT RUN: no package',
    ])
      expect(table).toContain(part);
  });
});
