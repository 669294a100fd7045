/**
 * Suspects summed as findings show them, in parts that can be kept: a part is the same at any later time while its
 * sockets are, and thousands of them need not be looked at for each report.
 */
import { ageOf, type SocketEntry, type Traits } from './entry.ts';
import { compareText } from './order.ts';
import {
  ByTraits,
  isOld,
  isYoung,
  type SuspectCounts,
  type SuspectIds,
  type SuspectKind,
  suspectIds,
  suspectKind,
} from './suspects.ts';
import type { ProcessId, Thresholds } from './types.ts';

const MOST_EXAMPLES = 5;

/** Suspects of some sockets that share their traits. */
export interface SuspectSum extends SuspectCounts {
  /** of those that live, the earliest that one entered the kind */
  sinceMs: number;
  /** of those that ended, the longest time in the kind */
  endedAgeMs: number;
  /** of each that lives and has one, in the network namespace of the traits */
  ports: number[];
  /** of each that ended and had one */
  formerPorts: number[];
  /** of those that live */
  holders: Map<ProcessId, number>;
  /** of those that live: no walk of descriptors has come by yet */
  unconfirmed: number;
  oldest: Oldest;
}

/** All suspects of one kind, owner, errno and pair of call paths. */
export interface SuspectGroup extends SuspectCounts, SuspectIds {
  oldestMs: number;
  details: Details;
}

/** What a finding needs of the single sockets of its groups. */
export class Details {
  readonly holders = new Map<ProcessId, number>();
  /** of those that live: no walk of descriptors has come by yet */
  unconfirmed = 0;
  readonly oldest = new Oldest();
  /** of those that live */
  readonly ports = new Ports();
  readonly #formerPorts = new Ports();

  /** How many ports there are or were. */
  get portsInAll(): number {
    return this.ports.size + this.#formerPorts.sizeWithout(this.ports);
  }

  add(sum: SuspectSum): void {
    this.ports.add(sum.traits.netns, sum.ports);
    this.#formerPorts.add(sum.traits.netns, sum.formerPorts);
    this.#addRest(sum);
  }

  merge(other: Details): void {
    this.ports.merge(other.ports);
    this.#formerPorts.merge(other.#formerPorts);
    this.#addRest(other);
  }

  #addRest({ holders, unconfirmed, oldest }: Pick<SuspectSum, 'holders' | 'unconfirmed' | 'oldest'>): void {
    this.unconfirmed += unconfirmed;
    for (const [process, count] of holders) this.holders.set(process, (this.holders.get(process) ?? 0) + count);
    for (const entry of oldest.entries) this.oldest.add(entry);
  }
}

/** Different ports, each in its network namespace. */
export class Ports {
  readonly #byNetns = new Map<number, Set<number>>();

  get size(): number {
    return this.sizeWithout(new Ports());
  }

  sizeWithout(others: Ports): number {
    let size = 0;
    for (const [netns, ports] of this.#byNetns) {
      const those = others.#byNetns.get(netns);
      if (those === undefined) size += ports.size;
      else for (const port of ports) if (!those.has(port)) size += 1;
    }
    return size;
  }

  /** How many there are in each namespace that has some. */
  *byNetns(): Generator<[netns: number, size: number]> {
    for (const [netns, ports] of this.#byNetns) yield [netns, ports.size];
  }

  add(netns: number, ports: Iterable<number>): void {
    const known = this.#byNetns.get(netns) ?? new Set<number>();
    for (const port of ports) known.add(port);
    if (known.size > 0) this.#byNetns.set(netns, known);
  }

  merge(other: Ports): void {
    for (const [netns, ports] of other.#byNetns) this.add(netns, ports);
  }
}

/** The oldest few sockets, oldest first. */
export class Oldest {
  readonly entries: SocketEntry[] = [];

  add(entry: SocketEntry): void {
    const last = this.entries.at(-1);
    if (last !== undefined && this.entries.length === MOST_EXAMPLES && compareAge(entry, last) >= 0) return;
    this.entries.push(entry);
    this.entries.sort(compareAge);
    this.entries.length = Math.min(this.entries.length, MOST_EXAMPLES);
  }
}

/** `lasts`: the sums are the same at any later time, unless a socket changes. */
export function sumSuspects(
  entries: Iterable<SocketEntry>,
  nowMs: number,
  thresholds: Thresholds,
): { sums: SuspectSum[]; lasts: boolean } {
  const sums: SuspectSum[] = [];
  const sumOf = new ByTraits((kind, traits) => {
    const sum = emptySum(kind, traits);
    sums.push(sum);
    return sum;
  });
  let lasts = true;
  for (const entry of entries) {
    const kind = suspectKind(entry);
    if (kind === null) continue;
    if (isYoung(entry, nowMs, thresholds.minAgeMs)) {
      lasts = false;
      continue;
    }
    const sum = sumOf.of(kind, entry.traits);
    if (isOld(entry, kind, nowMs, thresholds)) sum.old += 1;
    else lasts = false;
    addTo(sum, entry);
  }
  return { sums, lasts };
}

function emptySum(kind: SuspectKind, traits: Traits): SuspectSum {
  return {
    kind,
    traits,
    count: 0,
    fromStart: 0,
    heldAtExit: 0,
    old: 0,
    sinceMs: Number.POSITIVE_INFINITY,
    endedAgeMs: 0,
    ports: [],
    formerPorts: [],
    holders: new Map(),
    unconfirmed: 0,
    oldest: new Oldest(),
  };
}

function addTo(sum: SuspectSum, entry: SocketEntry): void {
  sum.count += 1;
  if (entry.fromStart) sum.fromStart += 1;
  const ports = entry.endedMs === null ? sum.ports : sum.formerPorts;
  if (entry.port !== 0) ports.push(entry.port);
  sum.oldest.add(entry);
  if (entry.endedMs !== null) {
    sum.heldAtExit += 1;
    sum.endedAgeMs = Math.max(sum.endedAgeMs, ageOf(entry, entry.endedMs));
    return;
  }
  sum.sinceMs = Math.min(sum.sinceMs, entry.sinceMs);
  if (entry.holders === null) sum.unconfirmed += 1;
  for (const holder of entry.holders ?? []) sum.holders.set(holder, (sum.holders.get(holder) ?? 0) + 1);
}

/** The groups of suspects at a time, from sums as of that time. */
export function groupSums(sums: Iterable<SuspectSum>, nowMs: number): SuspectGroup[] {
  const groups = new Map<string, SuspectGroup>();
  const groupOf = new ByTraits((kind, traits) => {
    const ids = suspectIds(kind, traits);
    const counts = { count: 0, fromStart: 0, heldAtExit: 0, old: 0, oldestMs: 0 };
    const group = groups.get(ids.id) ?? { ...ids, kind, traits, ...counts, details: new Details() };
    groups.set(ids.id, group);
    return group;
  });
  for (const sum of sums) {
    const group = groupOf.of(sum.kind, sum.traits);
    group.count += sum.count;
    group.fromStart += sum.fromStart;
    group.heldAtExit += sum.heldAtExit;
    group.old += sum.old;
    group.oldestMs = Math.max(group.oldestMs, sum.endedAgeMs, nowMs - sum.sinceMs);
    group.details.add(sum);
  }
  return [...groups.values()];
}

function compareAge(a: SocketEntry, b: SocketEntry): number {
  return (
    a.sinceMs - b.sinceMs ||
    a.birthSeconds - b.birthSeconds ||
    a.birthNanoseconds - b.birthNanoseconds ||
    compareText(a.address, b.address)
  );
}
