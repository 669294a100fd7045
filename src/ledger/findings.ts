/** From suspects to findings: what is reported, and which of it is a leak. */
import type { Finding, FindingExample } from '../report/types.ts';
import { ageOf, type SocketEntry } from './entry.ts';
import type { Ledger } from './ledger.ts';
import { compareText } from './order.ts';
import { groupSuspects, type SuspectGroup } from './suspects.ts';
import type { PathRef, ProcessId, Thresholds } from './types.ts';

const MOST_EXAMPLES = 5;

/** What a finding needs of the single sockets of its group. */
interface Details {
  ports: Set<string>;
  holders: Map<ProcessId, number>;
  /** the oldest few, oldest first */
  oldest: SocketEntry[];
}

/**
 * All findings at `nowMs`: leaks first, then by count. Keys are unique within the result; of several findings with
 * the same kind, executable, errno and paths, all but the first get `#2`, `#3`, ... appended.
 */
export function findingsOf(ledger: Ledger, nowMs: number = ledger.nowMs): Finding[] {
  const details = new Map<SuspectGroup, Details>();
  const groups = groupSuspects(ledger.sockets(), nowMs, ledger.thresholds, (group, entry) => {
    const detail = details.get(group) ?? noDetails();
    details.set(group, detail);
    collect(detail, entry);
  });
  const findings = groups.map((group) => {
    return { id: group.id, finding: toFinding(ledger, nowMs, group, details.get(group) ?? noDetails()) };
  });
  findings.sort(
    (a, b) =>
      Number(b.finding.leak) - Number(a.finding.leak) ||
      b.finding.count - a.finding.count ||
      compareText(a.finding.key, b.finding.key) ||
      compareText(a.id, b.id),
  );
  return withUniqueKeys(findings.map(({ finding }) => finding));
}

/** Whether the suspects of a group are a leak, and not merely a habit of the program. */
export function isLeak(
  group: Pick<SuspectGroup, 'kind' | 'old' | 'heldAtExit'>,
  growing: boolean,
  thresholds: Pick<Thresholds, 'leakCount'>,
): boolean {
  if (group.kind === 'released') return false;
  if (group.heldAtExit > 0) return true;
  return group.old >= thresholds.leakCount || (group.old > 0 && growing);
}

function toFinding(ledger: Ledger, nowMs: number, group: SuspectGroup, detail: Details): Finding {
  const { kind, traits } = group;
  const growth = ledger.growthOf(group);
  const perMinute = growth?.perMinute(nowMs, group) ?? null;
  const growing = growth?.isGrowing(nowMs, group) ?? false;
  const leak = isLeak(group, growing, ledger.thresholds);
  return {
    key: keyOf(ledger, group),
    kind,
    leak,
    undecided: !leak && isLeak({ ...group, old: group.count }, growing, ledger.thresholds),
    process: traits.owner,
    holders: [...detail.holders]
      .map(([process, count]) => ({ process, count }))
      .sort((a, b) => b.count - a.count || compareText(a.process, b.process)),
    openPath: traits.openPath,
    bindPath: traits.bindPath,
    errno: traits.errno,
    count: group.count,
    ports: detail.ports.size,
    oldestMs: group.oldestMs,
    perMinute,
    heldAtExit: group.heldAtExit,
    examples: detail.oldest.map((entry) => toExample(entry, nowMs)),
  };
}

function noDetails(): Details {
  return { ports: new Set(), holders: new Map(), oldest: [] };
}

function collect(detail: Details, entry: SocketEntry): void {
  // A port number is a port of its network namespace.
  if (entry.port !== 0) detail.ports.add(`${entry.traits.netns}:${entry.port}`);
  if (entry.endedMs === null) {
    for (const holder of entry.holders ?? []) detail.holders.set(holder, (detail.holders.get(holder) ?? 0) + 1);
  }
  const last = detail.oldest.at(-1);
  if (last !== undefined && detail.oldest.length === MOST_EXAMPLES && compareAge(entry, last) >= 0) return;
  detail.oldest.push(entry);
  detail.oldest.sort(compareAge);
  detail.oldest.length = Math.min(detail.oldest.length, MOST_EXAMPLES);
}

function toExample(entry: SocketEntry, nowMs: number): FindingExample {
  return {
    inode: entry.example?.inode ?? null,
    process: entry.example?.process ?? null,
    fd: entry.example?.fd ?? null,
    family: entry.traits.family,
    localPort: entry.port === 0 ? null : entry.port,
    ageMs: ageOf(entry, nowMs),
  };
}

/** Readable, and the same in another run of the same program: no pid, no address, no time. */
function keyOf(ledger: Ledger, { kind, traits }: SuspectGroup): string {
  const process = traits.owner.status === 'measured' ? ledger.process(traits.owner.value) : undefined;
  const exe = process?.facts.exe;
  // The kernel appends this when the file was replaced by an upgrade; it is the same program still.
  const program = exe?.status === 'measured' ? exe.value.replace(/ \(deleted\)$/, '') : process?.facts.comm;
  return [
    kind,
    program ?? 'unknown',
    traits.errno ?? '-',
    fingerprint(traits.openPath),
    fingerprint(traits.bindPath),
  ].join(':');
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

function compareAge(a: SocketEntry, b: SocketEntry): number {
  return a.sinceMs - b.sinceMs || compareText(a.id, b.id);
}
