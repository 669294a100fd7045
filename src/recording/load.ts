/** A recording as a report: the same ledger as the live session's, told the same. */
import { Ledger } from '../ledger/ledger.ts';
import type { LedgerInput, SessionFacts } from '../ledger/types.ts';
import { buildReport } from '../report/report.ts';
import { type Baseline, reportSince } from '../report/since.ts';
import type { Timeline } from '../report/timeline.ts';
import { TimelineBuilder } from '../report/timeline-builder.ts';
import type { Report } from '../report/types.ts';
import { RecordingError } from './format.ts';
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
  let sinceMs = Number.POSITIVE_INFINITY;
  let baseline: Baseline | null = null;
  const take = (input: LedgerInput): void => {
    if (input.type === 'session' && part.sinceMs !== null) sinceMs = monotonicOf(input.session, part.sinceMs);
    if (input.type === 'tick' && input.atMs >= sinceMs) {
      baseline = baselineOf(ledger);
      sinceMs = Number.POSITIVE_INFINITY;
    }
    ledger.apply(input);
    builder?.take(input);
  };
  const untilMs = part.untilMs ?? Number.POSITIVE_INFINITY;
  const replayed = await replay(path, take, { untilMs, ...(progress === undefined ? {} : { progress }) });
  if (replayed.session.clock.wallMs > untilMs) throw new RecordingError(`${path} begins after --until`);
  if (sinceMs !== Number.POSITIVE_INFINITY) throw new RecordingError(`${path} ends before --since`);
  const report = buildReport(ledger);
  return {
    report: baseline === null ? report : reportSince(baseline, report),
    replayed,
    timeline: builder?.finish(report) ?? null,
  };
}

function monotonicOf({ clock }: SessionFacts, wallMs: number): number {
  return clock.monotonicMs + (wallMs - clock.wallMs);
}

function baselineOf(ledger: Ledger): Baseline {
  return { report: buildReport(ledger), counters: new Map(ledger.callPaths.counted()) };
}

/** When a recording ends: its last tick, wall clock. Looks at no more than it must. */
export async function endOf(path: string): Promise<number> {
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
  return clock.wallMs + ((lastMs ?? clock.monotonicMs) - clock.monotonicMs);
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
