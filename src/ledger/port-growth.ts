/** How the ports in use developed from look to look: of each network namespace, and of who has most of them. */
import type { NamespacePorts, PortHolder } from '../accounting/ports.ts';
import { type Growth, GrowthSeries } from './growth.ts';

/** There may be thousands, each with a port or two. */
const MOST_HOLDERS = 100;

interface Namespace {
  /** of the ports of the range */
  range: GrowthSeries;
  holders: Map<string, GrowthSeries>;
}

export class PortGrowth {
  #namespaces = new Map<number, Namespace>();
  #lookedMs: number | null = null;

  /** Takes one look at all namespaces; what is gone by then is forgotten. */
  add(atMs: number, all: readonly NamespacePorts[]): void {
    const namespaces = new Map<number, Namespace>();
    for (const { netns, inRange, holders } of all) {
      const known = this.#namespaces.get(netns);
      const range = known?.range ?? new GrowthSeries(null);
      if (inRange !== null) range.add(atMs, of(inRange));
      // Who had none at the last look had zero then.
      const emptyAtMs = known === undefined ? null : this.#lookedMs;
      const series = new Map<string, GrowthSeries>();
      for (const holder of holders.slice(0, MOST_HOLDERS)) {
        const one = known?.holders.get(keyOf(holder)) ?? new GrowthSeries(emptyAtMs);
        one.add(atMs, of(holder.count));
        series.set(keyOf(holder), one);
      }
      namespaces.set(netns, { range, holders: series });
    }
    this.#namespaces = namespaces;
    this.#lookedMs = atMs;
  }

  /** Of late, of the ports of a namespace's range; null when it was looked at for too short a time. */
  ofRange(netns: number, atMs: number, inRange: number): Growth | null {
    return this.#namespaces.get(netns)?.range.recent(atMs, of(inRange)) ?? null;
  }

  /** The same of one holder's ports; null, too, where it is not among those that have most. */
  ofHolder(netns: number, atMs: number, holder: PortHolder): Growth | null {
    return this.#namespaces.get(netns)?.holders.get(keyOf(holder))?.recent(atMs, of(holder.count)) ?? null;
  }
}

function of(count: number): { count: number; fromStart: number } {
  return { count, fromStart: 0 };
}

function keyOf({ process, use }: PortHolder): string {
  return `${process}|${use}`;
}
