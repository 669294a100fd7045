/** One reading of the kernel's socket count and of the hooks' counters, which no call gives together. */
import type { HostCounters, Known, Sockstat } from '../ledger/types.ts';

export interface HostReading {
  sockstat: Known<Sockstat>;
  /** read right after */
  counters: HostCounters;
  /** the counters did not move while sockstat was read */
  still: boolean;
}

/**
 * The reading to believe. Sockets may be half way even in a still one: `alloc` rises before an open or a clone is
 * counted, and falls after a destroy is, so the one in which `alloc` is least ahead is the truest. Where nothing ever
 * stood still, each reading is off by what happened in between, in either direction: the middle one.
 * @param readings at least one
 */
export function truestReading(readings: readonly HostReading[]): HostReading {
  const still = readings.filter((reading) => reading.still);
  const sorted = (still.length > 0 ? still : [...readings]).sort((a, b) => ahead(a) - ahead(b));
  const truest = sorted[still.length > 0 ? 0 : Math.floor(sorted.length / 2)];
  if (truest === undefined) throw new RangeError('no reading to choose from');
  return truest;
}

/**
 * Whether one reading will do: it stood still, and what was half way would make it differ from the reading before, which
 * was the truest of many or agreed with one that was.
 */
export function agrees(reading: HostReading, before: HostReading): boolean {
  return reading.still && ahead(reading) === ahead(before);
}

export function sameCounters(a: HostCounters, b: HostCounters): boolean {
  return a.opened === b.opened && a.cloned === b.cloned && a.destroyed === b.destroyed;
}

/** By how much `alloc` exceeds what the hooks counted since they were switched on, plus what there was before. */
function ahead({ sockstat, counters }: HostReading): number {
  const net = counters.opened + counters.cloned - counters.destroyed;
  return sockstat.status === 'measured' ? sockstat.value.alloc - net : 0;
}
