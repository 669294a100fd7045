/** From suspects to findings: what is reported, and which of it is a leak. */
import type { Finding, FindingExample } from '../report/types.ts';
import { ageOf, exampleHolder, type SocketEntry, type Traits } from './entry.ts';
import type { ExitSum } from './exits.ts';
import type { SuspectCount } from './growth.ts';
import { isWasteful } from './kinds.ts';
import { type JudgedGroup, leakingParts } from './leaks.ts';
import type { Ledger } from './ledger.ts';
import { compareText } from './order.ts';
import { isCodeKnown, pathKey } from './path-refs.ts';
import { Details, groupSums, type SuspectGroup } from './suspect-sums.ts';
import { programId, sumBy } from './suspects.ts';
import type { PathRef, SocketKind, Thresholds } from './types.ts';

/** What findings are made of: a ledger, or one look at what exists. */
export type FindingSource = Pick<
  Ledger,
  'suspectSums' | 'exitSums' | 'programOf' | 'growthOf' | 'thresholds' | 'nowMs' | 'confirmedAt'
>;

/** Of one program, kind and errno, more processes than these (or processes by call paths) share findings. */
const MOST_SEPARATE = 8;

/** The most holders that a finding names; a program of many processes may have thousands. */
const MOST_HOLDERS = 100;

/** Everything of one program, kind and errno: see leaks.ts. */
interface Habit {
  program: string;
  clusters: Map<string, Cluster>;
}

/** Groups of one habit and pair of call paths, with what processes left that are not told apart. */
interface Cluster {
  groups: SuspectGroup[];
  sum: ExitSum | null;
}

/** What one finding is made of. */
interface Part {
  program: string;
  groups: readonly SuspectGroup[];
  sum: ExitSum | null;
}

/** A part and what it is called. */
interface JudgedPart extends Part {
  leak: boolean;
  undecided: boolean;
}

/**
 * All findings at `nowMs`: leaks first, then by count. A finding is of one process, except that processes of one program
 * that have exited, or that are many, share one. Keys are unique within the result; of several findings with the same
 * kind, executable, errno and paths, all but the first get `#2`, `#3`, ... appended.
 */
export function findingsOf(ledger: FindingSource, nowMs: number = ledger.nowMs): Finding[] {
  const groups = groupSums(ledger.suspectSums(nowMs), nowMs);
  const judge = judgeOf(ledger, nowMs, groups);
  const findings = habitsOf(ledger, groups)
    .flatMap((habit) => judgedParts(habit, judge, ledger.thresholds))
    .flatMap((part) => toFinding(ledger, nowMs, part) ?? []);
  findings.sort(
    (a, b) =>
      Number(b.finding.leak) - Number(a.finding.leak) ||
      b.finding.count - a.finding.count ||
      compareText(a.finding.key, b.finding.key) ||
      compareText(a.id, b.id),
  );
  return withUniqueKeys(findings.map(({ finding }) => finding));
}

function habitsOf(ledger: FindingSource, groups: readonly SuspectGroup[]): Habit[] {
  const habits = new Map<string, Habit>();
  const clusterFor = (kind: SocketKind, { errno, openPath, bindPath }: Traits, program: string): Cluster => {
    const key = `${kind}|${errno ?? '-'}|${program}`;
    const habit = habits.get(key) ?? { program, clusters: new Map<string, Cluster>() };
    habits.set(key, habit);
    const paths = `${pathKey(openPath)}|${pathKey(bindPath)}`;
    const cluster = habit.clusters.get(paths) ?? { groups: [], sum: null };
    habit.clusters.set(paths, cluster);
    return cluster;
  };
  for (const group of groups)
    clusterFor(group.kind, group.traits, ledger.programOf(group.traits.owner)).groups.push(group);
  for (const sum of ledger.exitSums()) clusterFor(sum.traits.kind, sum.traits, sum.program).sum = sum;
  return [...habits.values()];
}

type Judge = (group: SuspectGroup) => JudgedGroup;

function judgeOf(ledger: FindingSource, nowMs: number, groups: readonly SuspectGroup[]): Judge {
  const ofOwners = sumBy(groups, ({ ofOwner }) => ofOwner);
  const isGrowing = (id: string, suspects: SuspectCount): boolean =>
    ledger.growthOf(id)?.isGrowing(nowMs, suspects) ?? false;
  return (group) => ({
    old: group.old,
    count: group.count,
    heldAtExit: group.heldAtExit,
    growing: isGrowing(group.id, group),
    ownerGrowing: isGrowing(group.ofOwner, ofOwners.get(group.ofOwner) ?? group),
  });
}

/** The findings of one habit: of each pair of call paths, one for each process, or one for all where there are many. */
function judgedParts({ program, clusters }: Habit, judge: Judge, thresholds: Thresholds): JudgedPart[] {
  const all = [...clusters.values()];
  const many = all.reduce((sum, { groups }) => sum + groups.filter(isAlive).length, 0) > MOST_SEPARATE;
  const living = all.flatMap(({ groups }): Part[][] => {
    const alive = groups.filter(isAlive);
    if (alive.length === 0) return [];
    const separate = many ? [alive] : alive.map((group) => [group]);
    return [separate.map((part) => ({ program, groups: part, sum: null }))];
  });
  const shares = living.map((parts) => ({
    codeKnown: parts.every(({ groups }) => groups.every(({ traits }) => isCodeKnown(traits))),
    parts: parts.map((part) => ({ part, groups: part.groups.map(judge) })),
  }));
  const leaking = leakingParts(shares, thresholds, ({ old }) => old);
  const wouldLeak = leakingParts(shares, thresholds, ({ count }) => count);
  const exited = all.flatMap(({ groups, sum }): Part[] => {
    const gone = groups.filter((group) => !isAlive(group));
    return gone.length > 0 || sum !== null ? [{ program, groups: gone, sum }] : [];
  });
  return [
    ...living.flat().map((part) => {
      const leak = leaking.has(part) && !isReleased(part);
      return { ...part, leak, undecided: !leak && wouldLeak.has(part) && !isReleased(part) };
    }),
    ...exited.map((part) => ({ ...part, leak: true, undecided: false })),
  ];
}

function isAlive({ count, heldAtExit }: SuspectGroup): boolean {
  return heldAtExit !== count;
}

/** What no descriptor holds is not the program's leak. */
function isReleased({ groups }: Part): boolean {
  return groups.some(({ kind }) => kind === 'released');
}

function toFinding(
  ledger: FindingSource,
  nowMs: number,
  { program, groups, sum, leak, undecided }: JudgedPart,
): { id: string; finding: Finding } | null {
  const largest = groups.toSorted((a, b) => b.count - a.count || compareText(a.id, b.id))[0];
  const traits = largest?.traits ?? sum?.traits;
  const kind = largest?.kind ?? sum?.traits.kind;
  if (traits === undefined || kind === undefined || (kind !== 'released' && !isWasteful(kind))) return null;

  const total = (of: (group: SuspectGroup) => number): number => groups.reduce((all, group) => all + of(group), 0);
  const count = total((group) => group.count) + (sum?.count ?? 0);
  const heldAtExit = total((group) => group.heldAtExit) + (sum?.count ?? 0);
  const growth =
    largest && ledger.growthOf(groups.length === 1 ? largest.id : programId(largest.kind, largest.traits, program));
  const alive = {
    count: total((group) => group.count - group.heldAtExit),
    fromStart: total((group) => group.fromStart),
  };

  const { portsInAll, holders, unconfirmed, oldest } = mergeDetails(groups.map(({ details }) => details));
  for (const entry of sum?.examples ?? []) oldest.add(entry);
  const finding: Finding = {
    key: findingKey(kind, program, traits),
    kind,
    leak,
    undecided,
    process: traits.owner,
    processes: groups.length + (sum?.processes ?? 0),
    holders: [...holders]
      .map(([process, held]) => ({ process, count: held }))
      .sort((a, b) => b.count - a.count || compareText(a.process, b.process))
      .slice(0, MOST_HOLDERS),
    ...unconfirmedOf(unconfirmed, ledger.confirmedAt),
    openPath: traits.openPath,
    bindPath: traits.bindPath,
    errno: traits.errno,
    count,
    ports: portsInAll + (sum?.ports ?? 0),
    oldestMs: groups.reduce((oldest, group) => Math.max(oldest, group.oldestMs), sum?.oldestMs ?? 0),
    oldestIsLowerBound: kind === 'closed-unknown' || groups.some(({ fromStart }) => fromStart > 0),
    perMinute: alive.count > 0 ? (growth?.perMinute(nowMs, alive) ?? null) : null,
    heldAtExit,
    examples: oldest.entries.map((entry) => toExample(entry, nowMs)),
  };
  return { id: largest?.id ?? finding.key, finding };
}

function unconfirmedOf(count: number, since: string | null): Pick<Finding, 'unconfirmed'> {
  return count === 0 || since === null ? {} : { unconfirmed: { count, since } };
}

function mergeDetails(all: readonly Details[]): Details {
  const [only] = all;
  if (only !== undefined && all.length === 1) return only;
  const merged = new Details();
  for (const details of all) merged.merge(details);
  return merged;
}

function toExample(entry: SocketEntry, nowMs: number): FindingExample {
  const { fd, holders, inode, port, traits } = entry;
  return {
    inode: fd < 0 ? null : String(inode),
    process: fd < 0 ? null : exampleHolder(holders, traits.owner),
    fd: fd < 0 ? null : fd,
    family: traits.family,
    localPort: port === 0 ? null : port,
    ageMs: ageOf(entry, nowMs),
  };
}

/** Readable, and the same in another run of the same program: no pid, no address, no time. */
export function findingKey(
  kind: SocketKind,
  program: string,
  { errno, openPath, bindPath }: Pick<Traits, 'errno' | 'openPath' | 'bindPath'>,
): string {
  return [kind, program, errno ?? '-', fingerprint(openPath), fingerprint(bindPath)].join(':');
}

function fingerprint(path: PathRef | null): string {
  return path?.status === 'resolved' ? path.id : '-';
}

function withUniqueKeys(findings: Finding[]): Finding[] {
  const seen = new Map<string, number>();
  return findings.map((finding) => {
    const nth = (seen.get(finding.key) ?? 0) + 1;
    seen.set(finding.key, nth);
    return nth === 1 ? finding : { ...finding, key: `${finding.key}#${nth}` };
  });
}
