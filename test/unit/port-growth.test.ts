import { expect, it } from 'vitest';
import type { NamespacePorts, PortHolder } from '../../src/accounting/ports.ts';
import { PortGrowth } from '../../src/ledger/port-growth.ts';

const NETNS = 7;

function holder(process: number, count: number): PortHolder {
  return { process: `b:${process}:1`, use: 'connected', count, inRange: 0 };
}

/** Of so many ports by each process, most first, as a look has them. */
function look(...counts: number[]): NamespacePorts[] {
  const holders = counts.map((count, process) => holder(process, count)).toSorted((a, b) => b.count - a.count);
  return [{ netns: NETNS, inRange: 0, holders } as NamespacePorts];
}

it('of a holder that was not among the most at the last look begins with what it had then', () => {
  const growth = new PortGrowth();
  const many = Array.from({ length: 100 }, () => 41);
  growth.add(0, look(...many, 40));
  growth.add(10_000, look(...many, 40));
  growth.add(20_000, look(...many, 42));
  expect(growth.ofHolder(NETNS, 20_000, holder(100, 42))).toEqual({ grown: 2, overMs: 10_000 });
});

it('of one that had none begins with none', () => {
  const growth = new PortGrowth();
  growth.add(0, look(5));
  growth.add(10_000, look(5));
  growth.add(20_000, look(5, 30));
  expect(growth.ofHolder(NETNS, 20_000, holder(1, 30))).toEqual({ grown: 30, overMs: 10_000 });
});

it('is not told by the first and the last look alone: a burst would be growth', () => {
  const growth = new PortGrowth();
  growth.add(0, look(5));
  growth.add(60_000, look(205));
  expect(growth.ofHolder(NETNS, 60_000, holder(0, 205))).toBeNull();
  growth.add(120_000, look(205));
  expect(growth.ofHolder(NETNS, 120_000, holder(0, 205))).toEqual({ grown: 0, overMs: 60_000 });
});
