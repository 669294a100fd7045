/** Which sockets are suspects, grouped as findings show them: one kind, owner, errno and pair of call paths. */
import { ageOf, idleAgeOf, isAgedByIdleness, knownKey, type SocketEntry, shownKind, type Traits } from './entry.ts';
import type { SuspectCount } from './growth.ts';
import { isWasteful } from './kinds.ts';
import { pathKey } from './path-refs.ts';
import type { Thresholds, WastefulKind } from './types.ts';

export type SuspectKind = WastefulKind | 'released';

export interface SuspectGroup {
  /** equal for the same group at different times of one session */
  id: string;
  /** shared by the groups that differ in call paths only */
  ofOwner: string;
  kind: SuspectKind;
  traits: Traits;
  count: number;
  /** of `count`: existed in this kind when watching began */
  fromStart: number;
  /** of `count`: ended, because their process exited */
  heldAtExit: number;
  /** of `count`: old enough for a leak */
  old: number;
  oldestMs: number;
}

/**
 * A socket is a suspect when it has been of a wasteful kind for `minAgeMs`, or when no descriptor is left, or, at
 * any age, when its process exited with it.
 */
export function groupSuspects(
  entries: Iterable<SocketEntry>,
  nowMs: number,
  thresholds: Thresholds,
  visit: (group: SuspectGroup, entry: SocketEntry) => void = () => {},
): SuspectGroup[] {
  const groups = new Map<string, SuspectGroup>();
  // Traits are shared, so most sockets find their group without a string being built.
  const ofOwnKind = new Map<Traits, SuspectGroup>();
  const abandoned = new Map<Traits, SuspectGroup>();
  for (const entry of entries) {
    const kind = shownKind(entry);
    if (!isWasteful(kind) && kind !== 'released') continue;
    const ageMs = ageOf(entry, nowMs);
    if (ageMs < thresholds.minAgeMs && entry.endedMs === null) continue;

    const byTraits = kind === entry.traits.kind ? ofOwnKind : abandoned;
    let group = byTraits.get(entry.traits);
    if (group === undefined) {
      group = groupFor(groups, kind, entry.traits);
      byTraits.set(entry.traits, group);
    }
    group.count += 1;
    if (ageMs > group.oldestMs) group.oldestMs = ageMs;
    if (entry.fromStart) group.fromStart += 1;
    if (entry.endedMs !== null) group.heldAtExit += 1;
    if (isOld(entry, kind, nowMs, thresholds)) group.old += 1;
    visit(group, entry);
  }
  return [...groups.values()];
}

function groupFor(groups: Map<string, SuspectGroup>, kind: SuspectKind, traits: Traits): SuspectGroup {
  const ofOwner = [kind, traits.errno ?? '-', knownKey(traits.owner)].join('|');
  const id = [ofOwner, pathKey(traits.openPath), pathKey(traits.bindPath)].join('|');
  let group = groups.get(id);
  if (group === undefined) {
    group = { id, ofOwner, kind, traits, count: 0, fromStart: 0, heldAtExit: 0, old: 0, oldestMs: 0 };
    groups.set(id, group);
  }
  return group;
}

function isOld(entry: SocketEntry, kind: SuspectKind, nowMs: number, thresholds: Thresholds): boolean {
  if (isAgedByIdleness(kind)) return idleAgeOf(entry, nowMs) >= thresholds.idleLeakAgeMs;
  return ageOf(entry, nowMs) >= thresholds.leakAgeMs;
}

/** Sums over the groups of each `ofOwner`: what is so whichever code opened the sockets. */
export function sumByOwner(groups: readonly SuspectGroup[]): Map<string, SuspectCount> {
  const sums = new Map<string, SuspectCount>();
  for (const { ofOwner, count, fromStart } of groups) {
    const sum = sums.get(ofOwner) ?? { count: 0, fromStart: 0 };
    sums.set(ofOwner, { count: sum.count + count, fromStart: sum.fromStart + fromStart });
  }
  return sums;
}
