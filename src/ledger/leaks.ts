/**
 * Which suspects of one program, kind and errno are a leak, and not merely a habit of the program. Whether there is a
 * leak at all is decided for the program as a whole, so that one which goes through several processes or several call
 * paths is not missed. Which call paths are called one is decided for each, so that a leak at one place in the code
 * accuses no other.
 */
import type { SuspectGroup } from './suspect-sums.ts';
import type { Thresholds } from './types.ts';

/** A group of suspects, and how it and all groups of its owner develop. */
export interface JudgedGroup extends Pick<SuspectGroup, 'old' | 'count' | 'heldAtExit'> {
  growing: boolean;
  /** of this kind and errno in its process, whichever code opens them */
  ownerGrowing: boolean;
}

/** Suspects that share a pair of call paths, in the parts that become one finding each. */
export interface PathShare<Part> {
  codeKnown: boolean;
  parts: readonly { part: Part; groups: readonly JudgedGroup[] }[];
}

type CountOf = (group: JudgedGroup) => number;

/**
 * The parts that are a leak.
 * @param oldOf how many of a group to take for old enough: those that are, or those that will be if they stay
 */
export function leakingParts<Part>(
  shares: readonly PathShare<Part>[],
  { leakCount }: Pick<Thresholds, 'leakCount'>,
  oldOf: CountOf,
): Set<Part> {
  const judged = shares.map((share) => judgeAlone(share, leakCount, oldOf));
  const total = sum(judged, ({ old }) => old);
  const isExplained = judged.some(({ leaks }) => leaks);
  const rest = sum(judged, ({ old, leaks }) => (leaks ? 0 : old));
  const leaking = new Set<Part>();
  for (const { share, old, leaks } of judged) {
    // Where it is not known which code opened them, they may as well be of the code that leaks.
    const byNumber = leaks ? old >= leakCount : rest >= leakCount || (!share.codeKnown && total >= leakCount);
    const byOwner = !isExplained || !share.codeKnown;
    for (const { part, groups } of share.parts) {
      const oldOnes = groups.filter((group) => oldOf(group) > 0);
      const grows = oldOnes.some((group) => isGrowing(group) || (byOwner && group.ownerGrowing));
      if ((oldOnes.length > 0 && byNumber) || grows || groups.some(({ heldAtExit }) => heldAtExit > 0))
        leaking.add(part);
    }
  }
  return leaking;
}

function judgeAlone<Part>(
  share: PathShare<Part>,
  leakCount: number,
  oldOf: CountOf,
): { share: PathShare<Part>; old: number; leaks: boolean } {
  const groups = share.parts.flatMap((part) => part.groups);
  const old = sum(groups, oldOf);
  return { share, old, leaks: old >= leakCount || groups.some((group) => oldOf(group) > 0 && isGrowing(group)) };
}

/** Sockets whose path is found late come to its group one after the other; then the owner has not more of them. */
function isGrowing({ growing, ownerGrowing }: JudgedGroup): boolean {
  return growing && ownerGrowing;
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((all, item) => all + of(item), 0);
}
