// What the kernel's refusals mean to who has to do something about them.
import { expect, it } from 'vitest';
import { explainRefusal } from '../../src/cli/refusal.ts';
import { KernelError } from '../../src/kernel/binding.ts';

const EINVAL = 22;

it.each(['unknown func bpf_probe_read#4', 'program of this type cannot use helper bpf_probe_read_kernel#113'])(
  'lockdown: "%s"',
  (detail) => {
    const step = 'load the programs of the census';
    const { message } = explainRefusal(new KernelError({ step, errno: EINVAL, detail }), false);
    const [first = '', ...others] = message.split('\n');
    // As root; a user without rights is told that first.
    expect(first).toMatch(/^cannot trace: this kernel is locked down \(lockdown=confidentiality\)/);
    expect(others.join('\n')).toContain('fentry');
    expect(others.at(-1)).toBe(`The kernel refused: ${step}: EINVAL (${detail})`);
  },
);

it('what has no explanation is told as it is, once', () => {
  const { message } = explainRefusal(new KernelError({ step: 'attach', errno: EINVAL, detail: 'libbpf: no' }));
  expect(message.split('\n')).toEqual([
    'cannot trace: attach: EINVAL (libbpf: no)',
    expect.stringMatching(/doctor" tries each part/),
  ]);
});

it('lockdown, in a nested pid namespace: no hook set does, the host does', () => {
  const failure = { step: 'load the programs', errno: EINVAL, detail: 'unknown func bpf_probe_read_kernel#113' };
  const { message } = explainRefusal(new KernelError(failure), true);
  expect(message).toContain('the reads that a nested pid namespace needs');
  expect(message).toContain('possible from outside of this pid namespace');
  expect(message).not.toContain('possible with hook set fentry');
  expect(explainRefusal(new KernelError(failure), false).message).toContain('possible with hook set fentry');
});
