/** What changed from one report to another: of two releases, two days, two hosts. */
import { formatCount } from '../ledger/format-count.ts';
import { compareText } from '../ledger/order.ts';
import { isCodeKnown } from '../ledger/path-refs.ts';
import { HARMLESS_LOSSES, type PathRef, type ProcessId, type Verdict, type WastefulKind } from '../ledger/types.ts';
import { type DiffNote, notesOf } from './diff-notes.ts';
import { programsOf } from './programs.ts';
import { type Finding, type Report, SCHEMA_VERSION } from './types.ts';

/** `not-known`: as many may be under another finding, of which one of the reports knows less. */
export type Change = 'new' | 'grown' | 'unchanged' | 'shrunk' | 'gone' | 'not-known';

/** Sockets of one finding, summed over its processes. */
export interface DiffSide {
  count: number;
  ports: number;
  leak: boolean;
  perMinute: number | null;
}

export interface DiffEntry {
  /** of the findings, without what tells processes of one report apart */
  key: string;
  change: Change;
  kind: WastefulKind | 'released';
  errno: string | null;
  /** executable, else comm, of the owner */
  program: string;
  /** comm of the owner; of several processes, of one */
  comm: string;
  openPath: PathRef;
  bindPath: PathRef | null;
  before: DiffSide | null;
  after: DiffSide | null;
}

/** Findings of one program whose changes are not known one by one. */
export interface Indistinct {
  program: string;
  comm: string;
  keys: string[];
  /** sockets of all of them */
  before: number;
  after: number;
}

export interface ReportDiff {
  schemaVersion: typeof SCHEMA_VERSION;
  before: Pick<Report, 'tool' | 'host' | 'target' | 'window' | 'verdict' | 'loss'>;
  after: Pick<Report, 'tool' | 'host' | 'target' | 'window' | 'verdict' | 'loss'>;
  /** why the two may not be comparable */
  notes: DiffNote[];
  /** of what is new, has grown or has become one: a leak that was there before, and has not grown, is none here */
  verdict: Verdict;
  /** what is new or has grown first, most sockets first */
  findings: DiffEntry[];
  indistinct: Indistinct[];
}

const ORDER: readonly Change[] = ['new', 'grown', 'not-known', 'shrunk', 'gone', 'unchanged'];

/** Compares by finding key, which is stable across runs of a program. */
export function diffReports(before: Report, after: Report): ReportDiff {
  const [earlier, later] = [sidesOf(before), sidesOf(after)];
  const compared = [...new Set([...earlier.keys(), ...later.keys()])].map((key): DiffEntry => {
    const [then, now] = [earlier.get(key), later.get(key)];
    const { side: _side, ...facts } = (now ?? then) as Summed;
    return { key, change: changeOf(then, now), ...facts, before: then?.side ?? null, after: now?.side ?? null };
  });
  const groups = confusable(compared);
  const doubtful = new Set(groups.flat());
  const findings = compared.map(
    (entry): DiffEntry => (doubtful.has(entry) ? { ...entry, change: 'not-known' } : entry),
  );
  findings.sort(
    (a, b) =>
      ORDER.indexOf(a.change) - ORDER.indexOf(b.change) ||
      Math.abs(moved(b)) - Math.abs(moved(a)) ||
      compareText(a.key, b.key),
  );
  const indistinct = groups.map(sumUp);
  return {
    schemaVersion: SCHEMA_VERSION,
    before: headOf(before),
    after: headOf(after),
    notes: notesOf(before, after),
    verdict: verdictOf(findings, indistinct, after),
    findings,
    indistinct,
  };
}

interface Summed extends Pick<DiffEntry, 'kind' | 'errno' | 'program' | 'comm' | 'openPath' | 'bindPath'> {
  side: DiffSide;
}

function sidesOf(report: Report): Map<string, Summed> {
  const names = new Map<ProcessId, string>(report.processes.map(({ id, comm }) => [id, comm]));
  const programs = programsOf(report);
  const sides = new Map<string, Summed>();
  for (const { key, kind, errno, openPath, bindPath, process, count, ports, leak, perMinute } of report.findings) {
    const common = commonKey(key);
    const known = sides.get(common)?.side;
    const side = {
      count: (known?.count ?? 0) + count,
      ports: (known?.ports ?? 0) + ports,
      leak: (known?.leak ?? false) || leak,
      perMinute: known === undefined ? perMinute : add(known.perMinute, perMinute),
    };
    const owner = process.status === 'measured' ? process.value : '';
    const comm = names.get(owner) ?? 'unknown process';
    sides.set(common, { kind, errno, program: programs.get(owner) ?? comm, comm, openPath, bindPath, side });
  }
  return sides;
}

function commonKey(key: string): string {
  return key.replace(/#\d+$/, '');
}

function add(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : a + b;
}

function changeOf(then: Summed | undefined, now: Summed | undefined): Change {
  if (then === undefined) return 'new';
  if (now === undefined) return 'gone';
  if (now.side.count === then.side.count) return 'unchanged';
  return now.side.count > then.side.count ? 'grown' : 'shrunk';
}

function moved({ before, after }: Pick<DiffEntry, 'before' | 'after'>): number {
  return (after?.count ?? 0) - (before?.count ?? 0);
}

/**
 * A recording that began later knows neither kind nor code of what was open by then, so the very same sockets are under
 * other findings in it. Such a one that has more sockets, and one that is known better and has fewer (or the other way
 * round), say nothing each for itself.
 * @returns the findings that hang together in this way
 */
function confusable(entries: readonly DiffEntry[]): DiffEntry[][] {
  const byProgram = new Map<string, Set<DiffEntry>>();
  for (const entry of entries) {
    if (moved(entry) === 0) continue;
    byProgram.set(entry.program, (byProgram.get(entry.program) ?? new Set<DiffEntry>()).add(entry));
  }
  const groups: DiffEntry[][] = [];
  for (const left of byProgram.values()) {
    for (const first of left) {
      const group = takeGroup(first, left);
      if (group.length > 1) groups.push(group);
    }
  }
  return groups;
}

/** Takes out of `left` what hangs together with `first`, over whatever steps. */
function takeGroup(first: DiffEntry, left: Set<DiffEntry>): DiffEntry[] {
  left.delete(first);
  const group = [first];
  for (const entry of group) {
    for (const other of left) {
      if (!mayHide(entry, other)) continue;
      left.delete(other);
      group.push(other);
    }
  }
  return group;
}

function mayHide(a: DiffEntry, b: DiffEntry): boolean {
  return moved(a) > 0 !== moved(b) > 0 && (mayBeSame(a, b) || mayBeSame(b, a));
}

/** Everything else is in CLOSE. */
const NOT_CLOSED: readonly DiffEntry['kind'][] = ['close-wait', 'released'];

/** Whether sockets under `vague` could be under `clear`, had they been seen from their beginning. */
function mayBeSame(vague: DiffEntry, clear: DiffEntry): boolean {
  if (vague.kind === 'closed-unknown') return !NOT_CLOSED.includes(clear.kind) && clear.kind !== vague.kind;
  return vague.kind === clear.kind && vague.errno === clear.errno && !isCodeKnown(vague) && isCodeKnown(clear);
}

function sumUp(group: readonly DiffEntry[]): Indistinct {
  const [{ program, comm }] = group as [DiffEntry];
  const sum = (side: 'before' | 'after'): number => group.reduce((all, entry) => all + (entry[side]?.count ?? 0), 0);
  return { program, comm, keys: group.map(({ key }) => key), before: sum('before'), after: sum('after') };
}

function verdictOf(entries: readonly DiffEntry[], indistinct: readonly Indistinct[], after: Report): Verdict {
  const leaks = entries.filter(isWorse);
  const byKey = new Map(entries.map((entry) => [entry.key, entry]));
  const isLeaking = (key: string): boolean => byKey.get(key)?.after?.leak === true;
  const leaking = indistinct.filter(({ keys }) => keys.some(isLeaking));
  // Whichever of them they are under: there are more sockets than before.
  const more = leaking.filter((group) => group.after > group.before).flatMap(({ keys }) => keys.filter(isLeaking));
  const keys = [...leaks.map(({ key }) => key), ...more];
  if (keys.length > 0) return { is: 'leak', findings: keys };
  const because = [
    ...leaking.map(
      ({ comm, keys: { length } }) =>
        `${formatCount(length)} findings of ${comm} that may be the same sockets, of which one recording knows less`,
    ),
    ...unseenOf(entries, after),
  ];
  return because.length > 0 ? { is: 'not-known', because } : { is: 'no-leak' };
}

/** A leak that was none before, or has more sockets. */
export function isWorse({ change, before, after }: DiffEntry): boolean {
  if (after?.leak !== true || change === 'not-known') return false;
  return before === null || !before.leak || after.count > before.count;
}

/** What may hide a new leak: an old one decides the report's own verdict, whatever was lost. */
function unseenOf(entries: readonly DiffEntry[], { verdict, loss, findings }: Report): string[] {
  if (verdict.is === 'not-known') return verdict.because;
  const worse = new Set(entries.filter(({ change }) => change === 'new' || change === 'grown').map(({ key }) => key));
  const young = findings.filter(({ key, undecided }: Finding) => undecided && worse.has(commonKey(key)));
  return [
    ...loss.reasons
      .filter(({ code }) => !HARMLESS_LOSSES.includes(code))
      .map(({ what, count }) => `${formatCount(count)} ${what}`),
    ...young.map(
      ({ count, kind, oldestIsLowerBound }) =>
        `${formatCount(count)} more ${kind} sockets that are ${oldestIsLowerBound ? 'not known to be old enough' : 'too young to tell'}`,
    ),
  ];
}

function headOf({ tool, host, target, window, verdict, loss }: Report): ReportDiff['before'] {
  return { tool, host, target, window, verdict, loss };
}
