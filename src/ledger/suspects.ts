/** Which sockets are suspects, grouped as findings show them: one kind, owner, errno and pair of call paths. */
import { ageOf, idleAgeOf, isAgedByIdleness, knownKey, type SocketEntry, shownKind, type Traits } from './entry.ts';
import type { SuspectCount } from './growth.ts';
import { isWasteful } from './kinds.ts';
import { pathKey } from './path-refs.ts';
import type { Thresholds, WastefulKind } from './types.ts';

export type SuspectKind = WastefulKind | 'released';

export interface SuspectIds {
  /** equal for the same group at different times of one session */
  id: string;
  /** shared by the groups that differ in call paths only */
  ofOwner: string;
}

export interface SuspectCounts {
  kind: SuspectKind;
  traits: Traits;
  count: number;
  /** of `count`: existed in this kind when watching began */
  fromStart: number;
  /** of `count`: ended, because their process exited */
  heldAtExit: number;
  /** of `count`: old enough for a leak */
  old: number;
}

/** Suspects that share their traits. */
export interface Tally extends SuspectCount {
  kind: SuspectKind;
  traits: Traits;
}

/** Counts the suspects, of each sort in one or more parts. `young`: among the others are some that will become one. */
export function tallySuspects(
  entries: Iterable<SocketEntry>,
  nowMs: number,
  minAgeMs: number,
): { tallies: Tally[]; young: boolean } {
  const tallies: Tally[] = [];
  const tallyOf = new ByTraits((kind, traits) => {
    const tally = { kind, traits, count: 0, fromStart: 0 };
    tallies.push(tally);
    return tally;
  });
  let young = false;
  for (const entry of entries) {
    const kind = suspectKind(entry);
    if (kind === null) continue;
    if (isYoung(entry, nowMs, minAgeMs)) {
      young = true;
      continue;
    }
    const tally = tallyOf.of(kind, entry.traits);
    tally.count += 1;
    if (entry.fromStart) tally.fromStart += 1;
  }
  return { tallies, young };
}

/** Sums up tallies as findings show them. */
export function groupTallies(tallies: readonly Tally[]): (Tally & SuspectIds)[] {
  const groups = new Map<string, Tally & SuspectIds>();
  const groupOf = new ByTraits((kind, traits) => {
    const ids = suspectIds(kind, traits);
    const group = groups.get(ids.id) ?? { ...ids, kind, traits, count: 0, fromStart: 0 };
    groups.set(ids.id, group);
    return group;
  });
  for (const { kind, traits, count, fromStart } of tallies) {
    const group = groupOf.of(kind, traits);
    group.count += count;
    group.fromStart += fromStart;
  }
  return [...groups.values()];
}

/**
 * A socket is a suspect when it has been of a wasteful kind for `minAgeMs`, or when no descriptor is left, or, at
 * any age, when its process exited with it. Null for what cannot be one, at any age.
 */
export function suspectKind(entry: SocketEntry): SuspectKind | null {
  const kind = shownKind(entry);
  return isWasteful(kind) || kind === 'released' ? kind : null;
}

export function isYoung(entry: SocketEntry, nowMs: number, minAgeMs: number): boolean {
  return entry.endedMs === null && ageOf(entry, nowMs) < minAgeMs;
}

/** What suspects of a kind and traits are added to. Traits are shared, so most find it without a string being built. */
export class ByTraits<Group> {
  readonly #ofOwnKind = new Map<Traits, Group>();
  readonly #abandoned = new Map<Traits, Group>();
  readonly #make: (kind: SuspectKind, traits: Traits) => Group;

  constructor(make: (kind: SuspectKind, traits: Traits) => Group) {
    this.#make = make;
  }

  of(kind: SuspectKind, traits: Traits): Group {
    const groups = kind === traits.kind ? this.#ofOwnKind : this.#abandoned;
    let group = groups.get(traits);
    if (group === undefined) {
      group = this.#make(kind, traits);
      groups.set(traits, group);
    }
    return group;
  }
}

/** What the groups share that differ in their process only: equal at different times of one session. */
export function programId(kind: SuspectKind, { errno, openPath, bindPath }: Traits, program: string): string {
  return ['program', kind, errno ?? '-', program, pathKey(openPath), pathKey(bindPath)].join('|');
}

export function suspectIds(kind: SuspectKind, traits: Traits): SuspectIds {
  const ofOwner = [kind, traits.errno ?? '-', knownKey(traits.owner)].join('|');
  return { ofOwner, id: [ofOwner, pathKey(traits.openPath), pathKey(traits.bindPath)].join('|') };
}

export function isOld(entry: SocketEntry, kind: SuspectKind, nowMs: number, thresholds: Thresholds): boolean {
  if (isAgedByIdleness(kind)) return idleAgeOf(entry, nowMs) >= thresholds.idleLeakAgeMs;
  return ageOf(entry, nowMs) >= thresholds.leakAgeMs;
}

/** Sums over the groups of each key. */
export function sumBy<Group extends SuspectCount>(
  groups: readonly Group[],
  keyOf: (group: Group) => string,
): Map<string, SuspectCount> {
  const sums = new Map<string, SuspectCount>();
  for (const group of groups) {
    const key = keyOf(group);
    const sum = sums.get(key) ?? { count: 0, fromStart: 0 };
    sums.set(key, { count: sum.count + group.count, fromStart: sum.fromStart + group.fromStart });
  }
  return sums;
}
