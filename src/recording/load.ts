/** A recording as a report: the same ledger as the live session's, told the same. */
import { Ledger } from '../ledger/ledger.ts';
import type { LedgerInput, SessionFacts } from '../ledger/types.ts';
import { buildReport } from '../report/report.ts';
import { type Baseline, reportSince } from '../report/since.ts';
import type { Timeline } from '../report/timeline.ts';
import { TimelineBuilder } from '../report/timeline-builder.ts';
import type { Report } from '../report/types.ts';
import { MOST_BETWEEN_TICKS, RecordingError } from './format.ts';
import { parseLine } from './line.ts';
import { type Replayed, replay } from './replay.ts';
import { LineSource } from './source.ts';

/** A part of a recording. Wall clock, ms since the epoch. */
export interface Part {
  sinceMs: number | null;
  untilMs: number | null;
}

export interface LoadOptions {
  part: Part;
  /** bytes read of the file so far */
  progress?: (bytes: number) => void;
  /** make the timeline too, which takes its time */
  timeline?: boolean;
}

export interface Loaded {
  report: Report;
  replayed: Replayed;
  /** null when it was not asked for */
  timeline: Timeline | null;
}

/**
 * Reads a recording, in memory that depends on what its ledger holds, not on its length.
 * @throws RecordingError when it is none, or has nothing in this part
 */
export async function loadRecording(path: string, { part, progress, timeline = false }: LoadOptions): Promise<Loaded> {
  const ledger = new Ledger();
  const builder = timeline ? new TimelineBuilder(ledger) : null;
  const apply = (input: LedgerInput): void => {
    ledger.apply(input);
    builder?.take(input);
  };
  const start = part.sinceMs === null ? null : new PartStart(ledger, part.sinceMs, apply);
  const untilMs = part.untilMs ?? Number.POSITIVE_INFINITY;
  const take = start === null ? apply : (input: LedgerInput): void => start.take(input);
  const replayed = await replay(path, take, { untilMs, ...(progress === undefined ? {} : { progress }) });
  if (replayed.session.clock.wallMs > untilMs) throw new RecordingError(`${path} begins after --until`);
  const baseline = start === null ? null : start.finish();
  if (baseline === 'not-reached') throw new RecordingError(`${path} ends before --since`);
  const report = buildReport(ledger);
  return {
    report: baseline === null ? report : reportSince(baseline, report),
    replayed,
    timeline: builder?.finish(report) ?? null,
  };
}

/**
 * Finds where a part begins: at the last tick until then. What is read at one time is told between two ticks, so that
 * what comes after that one is of the part.
 */
class PartStart {
  readonly #ledger: Ledger;
  readonly #wallMs: number;
  readonly #apply: (input: LedgerInput) => void;
  /** CLOCK_MONOTONIC */
  #sinceMs = Number.NEGATIVE_INFINITY;
  #pending: LedgerInput[] = [];
  #baseline: Baseline | null | 'not-reached' = 'not-reached';

  constructor(ledger: Ledger, wallMs: number, apply: (input: LedgerInput) => void) {
    this.#ledger = ledger;
    this.#wallMs = wallMs;
    this.#apply = apply;
  }

  take(input: LedgerInput): void {
    if (this.#baseline !== 'not-reached') return this.#apply(input);
    if (input.type === 'session') this.#sinceMs = monotonicOf(input.session, this.#wallMs);
    this.#pending.push(input);
    if (input.type !== 'tick') {
      if (this.#pending.length >= MOST_BETWEEN_TICKS) this.#applyPending();
      return;
    }
    if (input.atMs > this.#sinceMs) {
      // Before the first tick nothing has been counted that could be taken off.
      const isWhole = this.#ledger.lastSample === null;
      this.#baseline = isWhole ? null : baselineOf(this.#ledger);
    }
    this.#applyPending();
  }

  /** How things were where the part begins; null where it is the whole. */
  finish(): Baseline | null | 'not-reached' {
    this.#applyPending();
    return this.#baseline;
  }

  #applyPending(): void {
    for (const input of this.#pending.splice(0)) this.#apply(input);
  }
}

function monotonicOf({ clock }: SessionFacts, wallMs: number): number {
  return clock.monotonicMs + (wallMs - clock.wallMs);
}

function baselineOf(ledger: Ledger): Baseline {
  return {
    report: buildReport(ledger),
    counters: new Map(ledger.callPaths.counted()),
    failedCalls: ledger.session?.failedCalls,
  };
}

/** When a recording begins and ends, at its last tick: wall clock. Looks at no more than it must. */
export async function spanOf(path: string): Promise<{ startMs: number; endMs: number }> {
  let clock: SessionFacts['clock'] | null = null;
  let lastMs: number | null = null;
  for await (const { lines } of new LineSource(path).batches()) {
    const another = lines.findIndex((text, i) => (clock !== null || i > 0) && text.startsWith('{"type":"recording"'));
    const own = another < 0 ? lines : lines.slice(0, another);
    clock ??= clockOf(own);
    lastMs = lastTickOf(own) ?? lastMs;
    if (another >= 0) break;
  }
  if (clock === null) throw new RecordingError(`${path} has no session that tells its time`);
  const { wallMs, monotonicMs } = clock;
  return { startMs: wallMs, endMs: wallMs + ((lastMs ?? monotonicMs) - monotonicMs) };
}

function clockOf(lines: readonly string[]): SessionFacts['clock'] | null {
  for (const text of lines.slice(0, 2)) {
    const line = parseLine(text);
    if (line?.type === 'session') return line.session.clock;
  }
  return null;
}

function lastTickOf(lines: readonly string[]): number | null {
  for (let i = lines.length - 1; i >= 0; i--) {
    const text = lines[i] as string;
    if (!text.startsWith('{"type":"tick"')) continue;
    const line = parseLine(text);
    if (line?.type === 'tick') return line.atMs;
  }
  return null;
}
