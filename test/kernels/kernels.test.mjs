// The scenarios on stock kernels in emulated machines: what each guest ran is a test here, with what it said.
import { describe, expect, it } from 'vitest';
import { leftOutOf, runLab, tableOf } from '../../scripts/lib/lab.mjs';

const choice = JSON.parse(process.env.SOCKTRACE_LAB ?? '{}');
const kernels = await runLab(choice);
process.stdout.write(`\n${tableOf(kernels).join('\n')}\n\n`);
for (const name of leftOutOf(choice)) process.stdout.write(`NOT RUN in guests, only on this machine: ${name}\n`);

for (const { kernel, required, notRun, version, guests } of kernels) {
  if (notRun !== null) {
    const name = `kernel ${kernel} NOT RUN: ${notRun}`;
    if (required) it(name, () => expect.unreachable(notRun));
    else it.skip(name);
    continue;
  }
  describe.each(guests)(
    `kernel ${kernel} (${version}), $boot, $hooks`,
    ({ notRun: lack, ended, said, tests, warnings }) => {
      if (lack !== null) {
        it.skip(`NOT RUN: ${lack}`);
        return;
      }
      it('ran to its end, and left results', () => {
        expect({ ended, results: tests.length > 0 }, said).toEqual({ ended: 'powered off', results: true });
      });
      it('no warning of the kernel', () => expect(warnings).toEqual([]));
      for (const { file, name, failure, notRun: why } of tests)
        if (why === null) it(`${file}: ${name}`, () => expect(failure).toBeNull());
        else it.skip(`${file}: ${name} NOT RUN: ${why}`);
    },
  );
}
