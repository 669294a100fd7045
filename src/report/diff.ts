/** What changed from one report to another: of two releases, two days, two hosts. */
import { compareText } from '../ledger/order.ts';
import type { WastefulKind } from '../ledger/types.ts';
import { type Finding, type Report, SCHEMA_VERSION } from './types.ts';

export type Change = 'new' | 'grown' | 'unchanged' | 'shrunk' | 'gone';

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
  before: DiffSide | null;
  after: DiffSide | null;
}

export interface ReportDiff {
  schemaVersion: typeof SCHEMA_VERSION;
  before: Pick<Report, 'tool' | 'host' | 'target' | 'window' | 'verdict' | 'loss'>;
  after: Pick<Report, 'tool' | 'host' | 'target' | 'window' | 'verdict' | 'loss'>;
  /** what is new or has grown first, most sockets first */
  findings: DiffEntry[];
}

const ORDER: readonly Change[] = ['new', 'grown', 'shrunk', 'gone', 'unchanged'];

/** Compares by finding key, which is stable across runs of a program. */
export function diffReports(before: Report, after: Report): ReportDiff {
  const [earlier, later] = [sidesOf(before.findings), sidesOf(after.findings)];
  const findings = [...new Set([...earlier.keys(), ...later.keys()])].map((key): DiffEntry => {
    const [then, now] = [earlier.get(key), later.get(key)];
    const { kind, errno } = (now ?? then) as Summed;
    return { key, change: changeOf(then, now), kind, errno, before: then?.side ?? null, after: now?.side ?? null };
  });
  const moved = (entry: DiffEntry): number => Math.abs((entry.after?.count ?? 0) - (entry.before?.count ?? 0));
  findings.sort(
    (a, b) => ORDER.indexOf(a.change) - ORDER.indexOf(b.change) || moved(b) - moved(a) || compareText(a.key, b.key),
  );
  return { schemaVersion: SCHEMA_VERSION, before: headOf(before), after: headOf(after), findings };
}

interface Summed {
  kind: DiffEntry['kind'];
  errno: string | null;
  side: DiffSide;
}

function sidesOf(findings: readonly Finding[]): Map<string, Summed> {
  const sides = new Map<string, Summed>();
  for (const { key, kind, errno, count, ports, leak, perMinute } of findings) {
    const common = key.replace(/#\d+$/, '');
    const known = sides.get(common)?.side;
    const side = {
      count: (known?.count ?? 0) + count,
      ports: (known?.ports ?? 0) + ports,
      leak: (known?.leak ?? false) || leak,
      perMinute: known === undefined ? perMinute : add(known.perMinute, perMinute),
    };
    sides.set(common, { kind, errno, side });
  }
  return sides;
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

function headOf({ tool, host, target, window, verdict, loss }: Report): ReportDiff['before'] {
  return { tool, host, target, window, verdict, loss };
}
