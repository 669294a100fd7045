// What an empty program tells of a hook set is what loading and attaching the first program of the set tells.
import { expect, it } from 'vitest';
import { type HookSetName, tryProgram } from '../../src/kernel/binding.ts';
import { Tracing } from './tracing.ts';

const FIRST_PROGRAMS: Readonly<Record<HookSetName, string>> = {
  fentry: 'fentry_init',
  kprobe: 'kprobe_init',
  cgroup: 'cgroup_open',
};

it('"auto" takes the first of fentry, kprobe and cgroup that this kernel takes, and says why not those before it', () => {
  using tracing = Tracing.of([process.pid], { hooks: 'auto' });
  const { set, refused } = tracing.session.hooks;
  const taken = Object.entries(FIRST_PROGRAMS).flatMap(([name, program]) => (tryProgram(program) ? [] : [name]));
  expect(set).toBe(taken[0]);
  expect([...refused.map((other) => other.set), set]).toEqual(Object.keys(FIRST_PROGRAMS).slice(0, refused.length + 1));
  for (const { reason } of refused)
    expect(reason).toMatch(/^(load|attach): E[A-Z]+ \(an empty (fentry|kprobe) program/);
});
