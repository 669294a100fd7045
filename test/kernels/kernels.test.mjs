// The scenarios on stock kernels in emulated machines: what each guest ran is a test here, with what it said.
import { describe, expect, it } from 'vitest';
import { runLab, tableOf } from '../../scripts/lib/lab.mjs';

const kernels = await runLab(JSON.parse(process.env.SOCKTRACE_LAB ?? '{}'));
process.stdout.write(`\n${tableOf(kernels).join('\n')}\n\n`);

for (const { kernel, required, notRun, version, boots } of kernels) {
  if (notRun !== null) {
    const name = `kernel ${kernel} NOT RUN: ${notRun}`;
    if (required) it(name, () => expect.unreachable(notRun));
    else it.skip(name);
    continue;
  }
  describe.each(boots)(
    `kernel ${kernel} (${version}), $boot`,
    ({ ended, said, tests, missing, warnings, notRunSets }) => {
      for (const { hooks, reason } of notRunSets) it.skip(`${hooks} NOT RUN: ${reason}`);
      if (ended === null) return;
      it('ran to its end', () => {
        expect({ ended, missing }, said).toEqual({ ended: 'powered off', missing: [] });
      });
      it('no warning of the kernel', () => expect(warnings).toEqual([]));
      for (const { hooks, file, name, failure, notRun: why } of tests)
        if (why === null) it(`${hooks} ${file}: ${name}`, () => expect(failure).toBeNull());
        else it.skip(`${hooks} ${file}: ${name} NOT RUN: ${why}`);
    },
  );
}
