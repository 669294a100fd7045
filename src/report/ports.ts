/** The ports of each network namespace at the last look, and how they grew of late. */
import type { NamespacePorts, PortHolder } from '../accounting/ports.ts';
import { type Growth, perMinuteOf } from '../ledger/growth.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { PortGrowth } from '../ledger/port-growth.ts';
import type { Known } from '../ledger/types.ts';
import type { Report, ReportPortHolder, ReportPorts } from './types.ts';

export const NO_CENSUS = 'no census of the host was taken';
const ONE_CENSUS = 'growth shows between two looks only';
const TOO_SHORT = 'growth shows after ten seconds at the earliest';
const TOO_FEW = 'too few came or went to tell a rate';
const TOO_FAR = 'at this rate it is too far ahead to tell from so short a time';

/** Fewer that came or went are chance. */
const FEWEST_GROWN = 10;
/** How many times the time in which growth was seen is looked ahead. */
const MOST_AHEAD = 1_000;

/** The ports of the last census, with their growth. */
export function portsOf({ firstCensus, lastCensus, portGrowth }: Ledger): Report['ports'] {
  if (firstCensus === null || lastCensus === null) return unavailable(NO_CENSUS);
  if (lastCensus.seen.status === 'unavailable') return lastCensus.seen;
  const earlier = firstCensus.seen.status === 'measured' ? firstCensus.seen.value.ports : [];
  const before = new Map(earlier.map((ports) => [ports.netns, ports]));
  const { atMs } = lastCensus;
  const value = lastCensus.seen.value.ports.map((ports) =>
    withGrowth(ports, atMs > firstCensus.atMs ? before.get(ports.netns) : undefined, portGrowth, atMs),
  );
  return { status: 'measured', value };
}

function withGrowth(
  ports: NamespacePorts,
  before: NamespacePorts | undefined,
  growth: PortGrowth,
  atMs: number,
): ReportPorts {
  const { netns, inRange } = ports;
  const counts = before === undefined ? null : new Map(before.holders.map((holder) => [keyOf(holder), holder.count]));
  const holders = ports.holders.map((holder): ReportPortHolder => {
    const rate = rateOf(growth.ofHolder(netns, atMs, holder));
    return {
      ...holder,
      // Who had none at the first look has zero then; who has none any more is not shown.
      before: counts === null ? null : (counts.get(keyOf(holder)) ?? 0),
      perMinute: counts !== null && rate.status === 'measured' ? rate.value : null,
    };
  });
  if (before === undefined || inRange === null)
    return { ...ports, holders, perMinute: unavailable(ONE_CENSUS), msToFull: unavailable(ONE_CENSUS) };
  const recent = growth.ofRange(netns, atMs, inRange);
  return { ...ports, holders, perMinute: rateOf(recent), msToFull: timeToFull(ports, recent) };
}

function keyOf({ process, use }: PortHolder): string {
  return `${process}|${use}`;
}

function rateOf(growth: Growth | null): Known<number> {
  if (growth === null) return unavailable(TOO_SHORT);
  if (growth.grown !== 0 && Math.abs(growth.grown) < FEWEST_GROWN) return unavailable(TOO_FEW);
  return { status: 'measured', value: perMinuteOf(growth) };
}

function timeToFull({ free }: NamespacePorts, growth: Growth | null): Known<number> {
  if (free.status === 'unavailable') return free;
  if (free.value === 0) return { status: 'measured', value: 0 };
  const rate = rateOf(growth);
  if (growth === null || rate.status === 'unavailable') return rate;
  if (growth.grown <= 0) return unavailable('the ports in use do not grow');
  if (free.value > MOST_AHEAD * growth.grown) return unavailable(TOO_FAR);
  return { status: 'measured', value: (free.value / growth.grown) * growth.overMs };
}

function unavailable(reason: string): { status: 'unavailable'; reason: string } {
  return { status: 'unavailable', reason };
}
