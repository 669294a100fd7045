/** Makes a Timeline: is told every input after the ledger, and asks the ledger once a bucket. Pure. */
import { knownKey } from '../ledger/entry.ts';
import { findingKey } from '../ledger/findings.ts';
import { isWasteful } from '../ledger/kinds.ts';
import type { CensusInput, HostSample, Ledger } from '../ledger/ledger.ts';
import { pathKey } from '../ledger/path-refs.ts';
import { groupSums, Ports } from '../ledger/suspect-sums.ts';
import type { SuspectKind } from '../ledger/suspects.ts';
import type { FailureFacts, Known, LedgerInput, ProcessId } from '../ledger/types.ts';
import { type AmountColumn, Grid, type LevelColumn } from './grid.ts';
import type { Timeline, TimelineFailure, TimelineFinding, TimelinePorts } from './timeline.ts';
import type { Finding, Report } from './types.ts';

/** At most so many sockets are walked a ms, so that the timeline costs no more than the ledger's own samples. */
const WALKED_PER_MS = 100;

/** Beyond this many series, one is started only in the place of one that was never as large. */
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
  facts: Omit<TimelineFinding, 'key' | 'reported' | 'source' | 'followedFromMs' | 'counts' | 'ports'>;
  key: string;
  /** CLOCK_MONOTONIC; null where it had no sockets before */
  followedFromMs: number | null;
  counts: LevelColumn;
  ports: LevelColumn;
  most: number;
}

/** What the ledger says of a series now. */
interface Told extends Pick<Series, 'facts' | 'key'> {
  count: number;
  ports: number;
}

interface Namespace {
  limit: Known<number>;
  bySuspects: LevelColumn;
  inRange: LevelColumn;
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
  /** some were not followed for want of room: what begins now may not be new */
  #wasFull = false;
  readonly #ports = new Map<number, Namespace>();
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
      findings: this.#findingsOf(report.findings, asked, wallMs - grid.startMs),
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
    const told = new Map<string, Told>();
    const held = new Ports();
    for (const { kind, traits, count, details } of groupSums(this.#ledger.suspectSums(atMs), atMs)) {
      const { owner } = traits;
      addTo(told, factsOf(kind, this.#ledger.programOf(owner), owner, traits), count, details.portsInAll);
      held.merge(details.ports);
    }
    for (const { traits, program, count, ports } of this.#ledger.exitSums()) {
      if (!isWasteful(traits.kind)) continue;
      const owner = { status: 'unavailable', reason: 'processes that have exited' } as const;
      addTo(told, factsOf(traits.kind, program, owner, traits), count, ports);
    }
    this.#follow(told, atMs, grid);
    this.#write(bucket, grid, told, new Map(held.byNetns()));
    asked.set(bucket, 1);
    this.#askedBucket = bucket;
    return [...told.values()].reduce((sum, { count }) => sum + count, 0);
  }

  #write(bucket: number, grid: Grid, told: ReadonlyMap<string, Told>, portsBy: ReadonlyMap<number, number>): void {
    for (const [id, series] of this.#series) {
      const now = told.get(id);
      const count = now?.count ?? 0;
      series.counts.set(bucket, count);
      series.ports.set(bucket, now?.ports ?? 0);
      series.most = Math.max(series.most, count);
    }
    const kinds = new Map<SuspectKind, number>();
    for (const { facts, count } of told.values()) kinds.set(facts.kind, (kinds.get(facts.kind) ?? 0) + count);
    for (const kind of kinds.keys()) if (!this.#kinds.has(kind)) this.#kinds.set(kind, grid.levels());
    for (const [kind, column] of this.#kinds) column.set(bucket, kinds.get(kind) ?? 0);
    for (const netns of portsBy.keys()) this.#namespace(grid, netns);
    for (const [netns, { bySuspects }] of this.#ports) bySuspects.set(bucket, portsBy.get(netns) ?? 0);
  }

  /** Starts series of what has none yet, the largest first, and while there is room or in the place of smaller ones. */
  #follow(told: ReadonlyMap<string, Told>, atMs: number, grid: Grid): void {
    const room = MOST_SERIES - this.#series.size;
    const others = [...told].filter(([id]) => !this.#series.has(id));
    const kept = others.length > room ? [...this.#series].sort(([, a], [, b]) => a.most - b.most) : [];
    const least = kept[0]?.[1].most ?? 0;
    const larger = others.length > room ? others.filter(([, { count }]) => room > 0 || count > least) : others;
    larger.sort(([, a], [, b]) => b.count - a.count);
    const followedFromMs = this.#wasFull ? atMs : null;
    if (others.length > room) this.#wasFull = true;
    for (const [i, [id, { facts, key, count }]] of larger.entries()) {
      const smaller = i < room ? undefined : kept[i - room];
      if (i >= room && (smaller === undefined || smaller[1].most >= count)) return;
      if (smaller !== undefined) this.#drop(smaller, grid);
      this.#series.set(id, { facts, key, followedFromMs, counts: grid.levels(), ports: grid.levels(), most: 0 });
    }
  }

  #drop([id, { counts, ports }]: [string, Series], grid: Grid): void {
    this.#series.delete(id);
    grid.drop(counts);
    grid.drop(ports);
  }

  /** Null beyond the most that are followed. */
  #namespace(grid: Grid, netns: number): Namespace | null {
    const known = this.#ports.get(netns);
    if (known !== undefined) return known;
    if (this.#ports.size >= MOST_NAMESPACES) return null;
    const ports = { limit: NO_CENSUS, bySuspects: grid.levels(), inRange: grid.levels() };
    this.#ports.set(netns, ports);
    return ports;
  }

  #census({ atMs, seen }: CensusInput, grid: Grid): void {
    if (seen.status === 'unavailable') return;
    const bucket = grid.at(atMs);
    for (const { netns, range, free, inRange } of seen.value.ports) {
      const ports = this.#namespace(grid, netns);
      if (ports === null) continue;
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
  #findingsOf(findings: readonly Finding[], asked: readonly (number | null)[], toWallMs: number): TimelineFinding[] {
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
    const counts = new Map(findings.map(({ key, count }) => [key, count]));
    return (
      [...named]
        .map(([key, { series, reported, parts }]): TimelineFinding & { most: number } => ({
          key,
          reported,
          source: 0,
          ...series.facts,
          followedFromMs: parts.reduce<number | null>((latest, { followedFromMs }) => {
            const fromMs = followedFromMs === null ? null : followedFromMs + toWallMs;
            return latest === null || (fromMs ?? latest) > latest ? fromMs : latest;
          }, null),
          counts: sumOf(parts.map((part) => filled(part.counts, asked))),
          ports: sumOf(parts.map((part) => filled(part.ports, asked))),
          most: parts.reduce((sum, { most }) => sum + most, 0),
        }))
        // One that processes share may have parts for which there was no room: then it is not followed.
        .filter((one) => !this.#wasFull || !one.reported || one.counts.at(-1) === counts.get(one.key))
        .sort((a, b) => Number(b.reported) - Number(a.reported) || b.most - a.most)
        .slice(0, MOST_FINDINGS)
        .map(({ most: _most, ...finding }) => finding)
    );
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

/** Of one finding key and owner. */
function factsOf(
  kind: SuspectKind,
  program: string,
  process: Known<ProcessId>,
  { errno, openPath, bindPath }: Pick<Series['facts'], 'errno' | 'openPath' | 'bindPath'>,
): Series['facts'] {
  return { kind, errno, program, process, openPath, bindPath };
}

function addTo(told: Map<string, Told>, facts: Series['facts'], count: number, ports: number): void {
  const key = findingKey(facts.kind, facts.program, facts);
  const id = knownKey(facts.process) + key;
  const known = told.get(id);
  if (known === undefined) told.set(id, { facts, key, count, ports });
  else {
    known.count += count;
    known.ports += ports;
  }
}

/** Where the ledger was asked and knew of none, there were none. */
function filled(column: LevelColumn, asked: readonly (number | null)[]): (number | null)[] {
  return column.values(asked.length).map((value, i) => (asked[i] === null ? null : (value ?? 0)));
}

function sumOf(columns: readonly (number | null)[][]): (number | null)[] {
  const [first = [], ...rest] = columns;
  return first.map((value, i) => (value === null ? null : rest.reduce((sum, column) => sum + (column[i] ?? 0), value)));
}
