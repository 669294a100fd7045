/** How the ports in use developed from look to look: of each network namespace, and of who has most of them. */
import type { NamespacePorts, PortHolder } from '../accounting/ports.ts';
import { type Growth, GrowthSeries } from './growth.ts';

/** There may be thousands, each with a port or two. */
const MOST_HOLDERS = 100;

interface Namespace {
  /** of the ports of the range */
  range: GrowthSeries;
  holders: Map<string, GrowthSeries>;
  /** at the last look, of all of them */
  counts: Map<string, number>;
}

export class PortGrowth {
  #namespaces = new Map<number, Namespace>();
  #lookedMs: number | null = null;
  #looks = 0;

  /** Takes one look at all namespaces; what is gone by then is forgotten. */
  add(atMs: number, all: readonly NamespacePorts[]): void {
    const namespaces = new Map<number, Namespace>();
    for (const { netns, inRange, holders } of all) {
      const known = this.#namespaces.get(netns);
      const range = known?.range ?? new GrowthSeries(null);
      if (inRange !== null) range.add(atMs, of(inRange));
      const series = new Map<string, GrowthSeries>();
      for (const holder of holders.slice(0, MOST_HOLDERS)) {
        const one = known?.holders.get(keyOf(holder)) ?? this.#seriesFrom(known?.counts.get(keyOf(holder)) ?? 0, known);
        one.add(atMs, of(holder.count));
        series.set(keyOf(holder), one);
      }
      const counts = new Map(holders.map((holder) => [keyOf(holder), holder.count]));
      namespaces.set(netns, { range, holders: series, counts });
    }
    this.#namespaces = namespaces;
    this.#lookedMs = atMs;
    this.#looks += 1;
  }

  /** Of the first and the last look alone, a burst would look like growth all the time. */
  #inBetween(netns: number): Namespace | undefined {
    return this.#looks < 3 ? undefined : this.#namespaces.get(netns);
  }

  /** Of one that was not among the largest: it begins with what it had at the last look. */
  #seriesFrom(count: number, known: Namespace | undefined): GrowthSeries {
    const series = new GrowthSeries(null);
    if (known !== undefined && this.#lookedMs !== null) series.add(this.#lookedMs, of(count));
    return series;
  }

  /** Of late, of the ports of a namespace's range; null when it was looked at for too short a time, or not in between. */
  ofRange(netns: number, atMs: number, inRange: number): Growth | null {
    return this.#inBetween(netns)?.range.recent(atMs, of(inRange)) ?? null;
  }

  /** The same of one holder's ports; null, too, where it is not among those that have most. */
  ofHolder(netns: number, atMs: number, holder: PortHolder): Growth | null {
    return this.#inBetween(netns)?.holders.get(keyOf(holder))?.recent(atMs, of(holder.count)) ?? null;
  }
}

function of(count: number): { count: number; fromStart: number } {
  return { count, fromStart: 0 };
}

function keyOf({ process, use }: PortHolder): string {
  return `${process}|${use}`;
}
