import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chosenGuests, tableOf } from '../../scripts/lib/lab.mjs';
import { labKernels, newest } from '../../scripts/lib/lab-kernels.mjs';
import { ciPattern, labGuests, machineOnly, planOf, readResults, warningsOf } from '../../scripts/lib/lab-plan.mjs';
import { root } from '../../scripts/lib/run.mjs';

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
    expect(readResults(`${line}\nvitest exited with 1\n`)).toEqual([
      { file: 'host/kinds', name: 'v4 unused', failure: null, notRun: null },
      { file: 'host/kinds', name: 'v4 bound', failure: 'expected 7\nat x', notRun: null },
      { file: 'host/kinds', name: 'MPTCP', failure: null, notRun: 'no MPTCP' },
    ]);
  });

  it('a file that broke is a failure, and half a line is nothing', () => {
    const line = report([], { status: 'failed', message: 'no such module' });
    expect(readResults(`${line}\n`)).toMatchObject([{ name: 'the file', failure: 'no such module' }]);
    expect(readResults(`${line.slice(0, 40)}\n`)).toEqual([]);
  });

  it('what should have run and did not is a failure, and so is an end that no test explains', () => {
    const passed = { status: 'passed', fullName: 'v4 unused', failureMessages: [] };
    const died = report([passed, { status: 'pending', fullName: 'v4 bound', failureMessages: [] }]);
    expect(readResults(`${died}\nvitest exited with 1\n`)).toMatchObject([
      { name: 'v4 unused', failure: null },
      { name: 'v4 bound', failure: expect.stringContaining('pending') },
    ]);
    const files = ['test/host/kinds.test.ts', 'test/host/storms.test.ts'];
    expect(readResults(`${report([passed])}\nvitest exited with 0\n`, files)).toMatchObject([
      { file: 'host/kinds', failure: null },
      { file: 'host/storms', failure: 'none of its tests was run' },
    ]);
    for (const end of ['vitest exited with 1\n', ''])
      expect(readResults(`${report([passed])}\n${end}`).map(({ failure }) => failure !== null)).toEqual([false, true]);
  });

  it('a kernel that complains is heard, one that quotes its command line is not', () => {
    expect(warningsOf('[1.0] Command line: quiet panic=-1\n[2.0] all is well')).toEqual([]);
    const bad = ['[1.0] WARNING: CPU: 0 PID: 89 at kernel/bpf/verifier.c', '[2.0] Oops: int3', '[3.0] BUG: unable to'];
    expect(warningsOf(bad.join('\n'))).toEqual(bad);
  });
});

describe('the plan', () => {
  it('is narrowed by a choice', () => {
    const guests = chosenGuests({ hooks: ['kprobe'], pattern: "it's" });
    expect(guests).toMatchObject([{ boot: 'plain', hooks: 'kprobe', pattern: "it's" }]);
    expect(planOf(guests[0])).toContain("-t 'it'\\''s'");
  });

  it('of npm test leaves out, by name and nothing else, what runs on the machine itself only; the whole one does not', () => {
    const [whole] = chosenGuests({ whole: true });
    const [ci] = chosenGuests({});
    for (const [file, names] of Object.entries(machineOnly)) {
      expect(labGuests[0].files).toContain(file);
      for (const name of names) {
        expect(ci.pattern).toBe(ciPattern(whole.pattern));
        expect(`v4 ${name}`).not.toMatch(new RegExp(ci.pattern));
        expect(`v4 ${name}`).toMatch(new RegExp(whole.pattern));
        expect(`v4 ${name} again`).toMatch(new RegExp(ci.pattern));
        expect(`v6 ${name} again`).not.toMatch(new RegExp(ci.pattern));
      }
    }
  });

  it.each(Object.entries(machineOnly))('%s has the tests that are left out', (file, names) => {
    const source = readFileSync(join(root, file), 'utf8');
    // As they are written: what is put in their place is not.
    const written = [...source.matchAll(/\b(?:it|describe)(?:\.each\(\w+\))?\((['`])(.*?)\1/g)].map(([, , name]) =>
      name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&').replaceAll(/%s|\\\$\\\{how\\\}/g, '[\\w .]+'),
    );
    for (const name of names)
      expect(
        written.filter((test) => new RegExp(`${test}$`).test(name)),
        name,
      ).not.toEqual([]);
  });

  it('tells in a table what ran and what did not', () => {
    const test = { file: 'host/kinds', name: 'x' };
    const guest = { boot: 'plain', hooks: 'fentry', notRun: null, tests: [] };
    const guests = [
      {
        ...guest,
        tests: [
          { ...test, failure: null, notRun: null },
          { ...test, failure: 'bad', notRun: null },
          { ...test, failure: null, notRun: 'no MPTCP' },
        ],
      },
      { ...guest, hooks: 'kprobe' },
      { ...guest, hooks: 'cgroup', notRun: 'no helper' },
    ];
    const table = tableOf([
      { kernel: '6.1', version: 'p', notRun: null, guests },
      { kernel: '7', version: null, notRun: 'no package', guests: [] },
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
