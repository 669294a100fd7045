// Every class of sockets of both families at once, in one census: each takes seconds where the CPU is emulated.
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Census } from '../../../src/accounting/census.ts';
import { classify } from '../../../src/accounting/classes.ts';
import { CENSUS_CASES, expectCase, takeCensus } from '../../host/census-cases.ts';
import { Puppet } from '../../host/puppet.ts';

const CASES = ['v4', 'v6'].flatMap((family) => CENSUS_CASES.map((wanted) => ({ family, ...wanted })));

const puppets: Puppet[] = [];
let census: Census;

beforeAll(async () => {
  for (const { family, commands } of CASES) {
    const puppet = await Puppet.start({ netns: true, timeoutMs: 120_000 });
    puppets.push(puppet);
    for (const command of commands) await puppet.command(command.replaceAll('%f', family));
  }
  census = takeCensus();
}, 300_000);

afterAll(async () => {
  for (const puppet of puppets) await puppet.close();
});

it.each(CASES.map((wanted, i) => ({ ...wanted, i })))('$family $name', ({ i, ...wanted }) => {
  expectCase(census, puppets[i] as Puppet, wanted);
});

it('nothing was left out, and the sum closes', () => {
  expect(census.unseen).toEqual([]);
  expect(classify(census).unplaced).toEqual({ status: 'measured', value: 0 });
});
