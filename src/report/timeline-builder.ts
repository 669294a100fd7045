/** Makes a Timeline: is told every input after the ledger, and asks the ledger once a bucket. Pure. */
import { knownKey, type SocketEntry } from '../ledger/entry.ts';
import { findingKey } from '../ledger/findings.ts';
import { isWasteful } from '../ledger/kinds.ts';
import type { CensusInput, HostSample, Ledger } from '../ledger/ledger.ts';
import { pathKey } from '../ledger/path-refs.ts';
import { groupSuspects, type SuspectGroup, type SuspectKind } from '../ledger/suspects.ts';
import type { FailureFacts, Known, LedgerInput, PathRef, ProcessId } from '../ledger/types.ts';
import { type AmountColumn, Grid, type LevelColumn } from './grid.ts';
import type { Timeline, TimelineFailure, TimelineFinding, TimelinePorts } from './timeline.ts';
import type { Finding, Report } from './types.ts';

/** At most so many sockets are walked a ms, so that the timeline costs no more than the ledger's own samples. */
const WALKED_PER_MS = 100;

/** Beyond this many series, those go that were never large. */
const MOST_SERIES = 1_000;
const MOST_FINDINGS = 200;
const MOST_FAILURES = 300;
const MOST_NAMESPACES = 64;
/** Rows of failed calls whose totals are remembered; one that is quiet for long gets no further total. */
const MOST_ROWS = 50_000;

const OTHERS = '(others)';
const NO_CENSUS: Known<number> = { status: 'unavailable', reason: 'no census of the host was taken' };

/** Suspects of one finding key and owner. */
interface Series {
  facts: Omit<TimelineFinding, 'key' | 'reported' | 'source' | 'counts' | 'ports'>;
  key: string;
  owner: string;
  counts: LevelColumn;
  ports: LevelColumn;
  most: number;
}

interface Sampled {
  count: number;
  ports: Set<number>;
  summedPorts: number;
}

interface FailureSeries {
  facts: Omit<TimelineFailure, 'source' | 'counts'>;
  counts: AmountColumn;
}

interface Columns {
  grid: Grid;
  alloc: LevelColumn;
  held: LevelColumn;
  opened: AmountColumn;
  destroyed: AmountColumn;
  /** wherever the ledger was asked */
  asked: LevelColumn;
}

export class TimelineBuilder {
  readonly #ledger: Ledger;
  #columns: Columns | null = null;
  readonly #kinds = new Map<SuspectKind, LevelColumn>();
  readonly #series = new Map<string, Series>();
  readonly #ports = new Map<number, { limit: Known<number>; bySuspects: LevelColumn; inRange: LevelColumn }>();
  readonly #failures = new Map<string, FailureSeries>();
  readonly #failed = new Map<string, number>();
  #lastSample: HostSample | null = null;
  #askedBucket = -1;
  #nextAskMs = Number.NEGATIVE_INFINITY;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Takes an input that the ledger has taken. */
  take(input: LedgerInput): void {
    if (input.type === 'session') this.#columns ??= columnsFrom(input.session.clock.monotonicMs);
    const columns = this.#columns;
    if (columns === null) return;
    switch (input.type) {
      case 'failure':
        return this.#failure(input.facts, columns.grid);
      case 'hostSample':
        return this.#hostSample(input, columns);
      case 'census':
        return this.#census(input, columns.grid);
      case 'tick':
        return this.#tick(input.atMs, columns);
      default:
        return;
    }
  }

  /** The timeline so far, with the keys of the findings of `report`. */
  finish(report: Report): Timeline | null {
    const columns = this.#columns;
    if (columns === null) return null;
    const { grid } = columns;
    const nowMs = this.#ledger.nowMs;
    this.#ask(grid.at(nowMs), nowMs, columns);
    const asked = columns.asked.values(grid.buckets);
    const { wallMs } = this.#ledger.session?.clock ?? { wallMs: 0 };
    return {
      startMs: wallMs,
      bucketMs: grid.bucketMs,
      buckets: grid.buckets,
      sources: [
        {
          name: '',
          hostname: report.host.hostname,
          alloc: columns.alloc.values(grid.buckets),
          held: columns.held.values(grid.buckets),
          opened: columns.opened.values(grid.buckets),
          destroyed: columns.destroyed.values(grid.buckets),
          ports: this.#portsOf(grid.buckets, asked),
        },
      ],
      byKind: [...this.#kinds].map(([kind, counts]) => ({ kind, counts: filled(counts, asked) })),
      findings: this.#findingsOf(report.findings, asked),
      failures: [...this.#failures.values()]
        .sort((a, b) => b.counts.total - a.counts.total)
        .map(({ facts, counts }) => ({ ...facts, source: 0, counts: counts.values(grid.buckets) })),
    };
  }

  #tick(atMs: number, columns: Columns): void {
    const bucket = columns.grid.at(atMs);
    if (bucket === this.#askedBucket || atMs < this.#nextAskMs) return;
    const walked = this.#ask(bucket, atMs, columns);
    this.#nextAskMs = atMs + walked / WALKED_PER_MS;
  }

  /** Asks the ledger for its suspects; returns how many there were. */
  #ask(bucket: number, atMs: number, { grid, asked }: Columns): number {
    const samples = new Map<SuspectGroup, Sampled>();
    const portsBy = new Map<number, Set<number>>();
    const groups = groupSuspects(this.#ledger.sockets(), atMs, this.#ledger.thresholds, (group, entry) => {
      const sample = samples.get(group) ?? { count: 0, ports: new Set<number>(), summedPorts: 0 };
      samples.set(group, sample);
      collect(sample, entry, portsBy);
    });
    const byKey = new Map<string, { series: Series; count: number; ports: number }>();
    const add = (series: Series, count: number, ports: number): void => {
      const sum = byKey.get(series.owner + series.key) ?? { series, count: 0, ports: 0 };
      byKey.set(series.owner + series.key, { series, count: sum.count + count, ports: sum.ports + ports });
    };
    for (const group of groups) {
      const sample = samples.get(group);
      const { owner } = group.traits;
      if (sample === undefined) continue;
      const program = this.#ledger.programOf(owner);
      add(this.#seriesFor(grid, group.kind, program, owner, group.traits), sample.count, sample.ports.size);
    }
    for (const { traits, program, count, ports } of this.#ledger.exitSums()) {
      if (!isWasteful(traits.kind)) continue;
      const owner = { status: 'unavailable', reason: 'processes that have exited' } as const;
      add(this.#seriesFor(grid, traits.kind, program, owner, traits), count, ports);
    }
    this.#write(bucket, grid, byKey, portsBy);
    asked.set(bucket, 1);
    this.#askedBucket = bucket;
    return [...byKey.values()].reduce((sum, { count }) => sum + count, 0);
  }

  #write(
    bucket: number,
    grid: Grid,
    byKey: ReadonlyMap<string, { series: Series; count: number; ports: number }>,
    portsBy: ReadonlyMap<number, ReadonlySet<number>>,
  ): void {
    const kinds = new Map<SuspectKind, number>();
    for (const [id, series] of this.#series) {
      const now = byKey.get(id);
      const count = now?.count ?? 0;
      series.counts.set(bucket, count);
      series.ports.set(bucket, now?.ports ?? 0);
      series.most = Math.max(series.most, count);
      if (count > 0) kinds.set(series.facts.kind, (kinds.get(series.facts.kind) ?? 0) + count);
    }
    for (const kind of kinds.keys()) if (!this.#kinds.has(kind)) this.#kinds.set(kind, grid.levels());
    for (const [kind, column] of this.#kinds) column.set(bucket, kinds.get(kind) ?? 0);
    for (const netns of portsBy.keys()) this.#namespace(grid, netns);
    for (const [netns, { bySuspects }] of this.#ports) bySuspects.set(bucket, portsBy.get(netns)?.size ?? 0);
    if (this.#series.size > MOST_SERIES) this.#forgetSmall(grid);
  }

  #forgetSmall(grid: Grid): void {
    const bySize = [...this.#series].sort(([, a], [, b]) => b.most - a.most);
    for (const [id, { counts, ports }] of bySize.slice(MOST_SERIES / 2)) {
      this.#series.delete(id);
      grid.drop(counts);
      grid.drop(ports);
    }
  }

  #seriesFor(
    grid: Grid,
    kind: SuspectKind,
    program: string,
    owner: Known<ProcessId>,
    { errno, openPath, bindPath }: { errno: string | null; openPath: PathRef; bindPath: PathRef | null },
  ): Series {
    const key = findingKey(kind, program, { errno, openPath, bindPath });
    const ownerKey = knownKey(owner);
    let series = this.#series.get(ownerKey + key);
    if (series === undefined) {
      const facts = { kind, errno, program, process: owner, openPath, bindPath };
      series = { facts, key, owner: ownerKey, counts: grid.levels(), ports: grid.levels(), most: 0 };
      this.#series.set(ownerKey + key, series);
    }
    return series;
  }

  #namespace(grid: Grid, netns: number): { limit: Known<number>; bySuspects: LevelColumn; inRange: LevelColumn } {
    let ports = this.#ports.get(netns);
    if (ports === undefined) {
      ports = { limit: NO_CENSUS, bySuspects: grid.levels(), inRange: grid.levels() };
      if (this.#ports.size < MOST_NAMESPACES) this.#ports.set(netns, ports);
    }
    return ports;
  }

  #census({ atMs, seen }: CensusInput, grid: Grid): void {
    if (seen.status === 'unavailable') return;
    const bucket = grid.at(atMs);
    for (const { netns, range, free, inRange } of seen.value.ports) {
      const ports = this.#namespace(grid, netns);
      if (inRange !== null) ports.inRange.set(bucket, inRange);
      if (range.status === 'unavailable') ports.limit = range;
      else if (inRange === null) ports.limit = { status: 'unavailable', reason: 'the ports in use are not known' };
      else if (free.status === 'unavailable') ports.limit = free;
      else ports.limit = { status: 'measured', value: free.value + inRange };
    }
  }

  #hostSample(sample: HostSample, { grid, alloc, held, opened, destroyed }: Columns): void {
    const bucket = grid.at(sample.atMs);
    if (sample.sockstat.status === 'measured') alloc.set(bucket, sample.sockstat.value.alloc);
    const now = sample.tracked;
    const came = now.opened + now.accepted + now.arrived;
    held.set(bucket, came + now.preexisting - now.destroyed);
    const before = this.#lastSample?.tracked;
    const cameBefore = before === undefined ? 0 : before.opened + before.accepted + before.arrived;
    opened.add(bucket, Math.max(0, came - cameBefore));
    destroyed.add(bucket, Math.max(0, now.destroyed - (before?.destroyed ?? 0)));
    this.#lastSample = sample;
  }

  #failure({ process, comm, operation, errno, detail, cause, count, firstMs, path }: FailureFacts, grid: Grid): void {
    const row = `${process}|${operation}|${errno}|${detail}|${firstMs}`;
    const before = this.#failed.get(row) ?? 0;
    if (count <= before) return;
    // A Map keeps the order of insertion: what is told again is the last to be forgotten.
    this.#failed.delete(row);
    this.#failed.set(row, count);
    if (this.#failed.size > MOST_ROWS) this.#forgetOldest();
    const facts = { comm, operation, errno, cause, path };
    this.#failureSeries(grid, facts).counts.add(grid.at(this.#ledger.nowMs), count - before);
  }

  #forgetOldest(): void {
    const oldest = this.#failed.keys().next();
    if (!oldest.done) this.#failed.delete(oldest.value);
  }

  #failureSeries(grid: Grid, facts: FailureSeries['facts']): FailureSeries {
    const { comm, operation, errno, cause, path } = facts;
    const key = [comm, operation, errno, cause, pathKey(path)].join('|');
    let series = this.#failures.get(key);
    if (series === undefined) {
      if (this.#failures.size >= MOST_FAILURES && comm !== OTHERS)
        return this.#failureSeries(grid, { ...facts, comm: OTHERS, path: null });
      series = { facts, counts: grid.amounts() };
      this.#failures.set(key, series);
    }
    return series;
  }

  #portsOf(buckets: number, asked: readonly (number | null)[]): TimelinePorts[] {
    return [...this.#ports].map(([netns, { limit, bySuspects, inRange }]) => ({
      netns,
      limit,
      bySuspects: filled(bySuspects, asked),
      inRange: inRange.values(buckets),
    }));
  }

  /** Series by the findings that they have become; others keep a key of their own. */
  #findingsOf(findings: readonly Finding[], asked: readonly (number | null)[]): TimelineFinding[] {
    const keys = new Map<string, string>();
    for (const { key, process, processes } of findings) {
      const common = key.replace(/#\d+$/, '');
      if (processes === 1) keys.set(`${knownKey(process)}${common}`, key);
      else if (!keys.has(common)) keys.set(common, key);
    }
    const named = new Map<string, { series: Series; reported: boolean; parts: Series[] }>();
    for (const [id, series] of this.#series) {
      const reported = keys.get(id) ?? keys.get(series.key);
      const key = reported ?? series.key;
      const known = named.get(key);
      if (known === undefined) named.set(key, { series, reported: reported !== undefined, parts: [series] });
      else known.parts.push(series);
    }
    return [...named]
      .map(([key, { series, reported, parts }]): TimelineFinding & { most: number } => ({
        key,
        reported,
        source: 0,
        ...series.facts,
        counts: sumOf(parts.map(({ counts }) => filled(counts, asked))),
        ports: sumOf(parts.map(({ ports }) => filled(ports, asked))),
        most: parts.reduce((sum, { most }) => sum + most, 0),
      }))
      .sort((a, b) => Number(b.reported) - Number(a.reported) || b.most - a.most)
      .slice(0, MOST_FINDINGS)
      .map(({ most: _most, ...finding }) => finding);
  }
}

function columnsFrom(startMs: number): Columns {
  const grid = new Grid(startMs);
  return {
    grid,
    alloc: grid.levels(),
    held: grid.levels(),
    opened: grid.amounts(),
    destroyed: grid.amounts(),
    asked: grid.levels(),
  };
}

function collect(sample: Sampled, entry: SocketEntry, portsBy: Map<number, Set<number>>): void {
  sample.count += 1;
  if (entry.port === 0) return;
  const { netns } = entry.traits;
  // A port number is a port of its network namespace.
  sample.ports.add(netns * 65_536 + entry.port);
  if (entry.endedMs !== null) return;
  const ports = portsBy.get(netns) ?? new Set<number>();
  portsBy.set(netns, ports.add(entry.port));
}

/** Where the ledger was asked and knew of none, there were none. */
function filled(column: LevelColumn, asked: readonly (number | null)[]): (number | null)[] {
  return column.values(asked.length).map((value, i) => (asked[i] === null ? null : (value ?? 0)));
}

function sumOf(columns: readonly (number | null)[][]): (number | null)[] {
  const [first = [], ...rest] = columns;
  return first.map((value, i) => (value === null ? null : rest.reduce((sum, column) => sum + (column[i] ?? 0), value)));
}
