/** The chosen part of the time. Everything that is shown of a time follows it. */
import type { Timeline } from '../../../report/timeline.ts';
import type { Report } from '../../../report/types.ts';
import { type TimeWindow, timesOf, wholeWindow, windowOf } from '../windowed.ts';

export class View {
  readonly report: Report;
  readonly timeline: Timeline;
  readonly endMs: number;
  readonly spanMs: number;
  readonly #listeners: (() => void)[] = [];
  /** All that the report is of: a part of a recording begins later than its timeline. */
  readonly whole: TimeWindow;
  #window: TimeWindow;

  constructor(report: Report, timeline: Timeline) {
    this.report = report;
    this.timeline = timeline;
    this.endMs = Math.max(timeline.startMs, Date.parse(report.window.endedAt));
    this.spanMs = this.endMs - timeline.startMs;
    const { from } = windowOf(timeline, Date.parse(report.window.startedAt), this.endMs);
    this.whole = { from, to: wholeWindow(timeline).to };
    this.#window = this.whole;
  }

  get window(): TimeWindow {
    return this.#window;
  }

  get isWhole(): boolean {
    return this.#window.from <= this.whole.from && this.#window.to >= this.whole.to;
  }

  get times(): { fromMs: number; toMs: number } {
    return timesOf(this.timeline, this.#window, this.endMs);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  choose({ from, to }: TimeWindow): void {
    const last = wholeWindow(this.timeline).to;
    const window = { from: Math.max(0, Math.min(from, last)), to: Math.max(0, Math.min(to, last)) };
    if (window.from > window.to || (window.from === this.#window.from && window.to === this.#window.to)) return;
    this.#window = window;
    for (const listener of this.#listeners) listener();
  }

  chooseTimes(fromMs: number, toMs: number): void {
    const { timeline, whole, endMs } = this;
    const { from, to } = windowOf(timeline, fromMs, toMs);
    // The last bucket may have no length at all, and is what the report says.
    this.choose({ from, to: toMs > endMs - timeline.bucketMs / 2 ? whole.to : to });
  }

  reset(): void {
    this.choose(this.whole);
  }
}
