/** The ports of each network namespace at the last look, and how they grew since the first. */
import type { NamespacePorts, PortHolder } from '../accounting/ports.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { Known } from '../ledger/types.ts';
import type { Report, ReportPortHolder, ReportPorts } from './types.ts';

const MS_PER_MINUTE = 60_000;
export const NO_CENSUS = 'no census of the host was taken';
const ONE_CENSUS = 'growth shows between two looks only';

/** The ports of the last census, with their growth since the first. */
export function portsOf({ firstCensus, lastCensus }: Ledger): Report['ports'] {
  if (firstCensus === null || lastCensus === null) return unavailable(NO_CENSUS);
  if (lastCensus.seen.status === 'unavailable') return lastCensus.seen;
  const earlier = firstCensus.seen.status === 'measured' ? firstCensus.seen.value.ports : [];
  const before = new Map(earlier.map((ports) => [ports.netns, ports]));
  const minutes = (lastCensus.atMs - firstCensus.atMs) / MS_PER_MINUTE;
  const value = lastCensus.seen.value.ports.map((ports) =>
    withGrowth(ports, minutes > 0 ? before.get(ports.netns) : undefined, minutes),
  );
  return { status: 'measured', value };
}

function withGrowth(ports: NamespacePorts, before: NamespacePorts | undefined, minutes: number): ReportPorts {
  const holders = holdersWithGrowth(ports.holders, before?.holders ?? null, minutes);
  const range = [before?.inRange ?? null, ports.inRange] as const;
  if (range[0] === null || range[1] === null)
    return { ...ports, holders, perMinute: unavailable(ONE_CENSUS), msToFull: unavailable(ONE_CENSUS) };
  const perMinute = (range[1] - range[0]) / minutes;
  return {
    ...ports,
    holders,
    perMinute: { status: 'measured', value: perMinute },
    msToFull: timeToFull(ports, perMinute),
  };
}

/** Who had none at the first look has zero then; who has none any more is not shown. */
function holdersWithGrowth(
  now: readonly PortHolder[],
  then: readonly PortHolder[] | null,
  minutes: number,
): ReportPortHolder[] {
  if (then === null) return now.map((holder) => ({ ...holder, before: null, perMinute: null }));
  const counts = new Map(then.map((holder) => [keyOf(holder), holder.count]));
  return now.map((holder) => {
    const before = counts.get(keyOf(holder)) ?? 0;
    return { ...holder, before, perMinute: (holder.count - before) / minutes };
  });
}

function keyOf({ process, use }: PortHolder): string {
  return `${process}|${use}`;
}

function timeToFull({ free }: NamespacePorts, perMinute: number): Known<number> {
  if (free.status === 'unavailable') return free;
  if (perMinute <= 0 && free.value > 0) return unavailable('the ports in use do not grow');
  return { status: 'measured', value: free.value === 0 ? 0 : (free.value / perMinute) * MS_PER_MINUTE };
}

function unavailable(reason: string): { status: 'unavailable'; reason: string } {
  return { status: 'unavailable', reason };
}
