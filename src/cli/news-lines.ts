/** What is told of findings where no terminal shows them: lines, now and then. */
import type { Writable } from 'node:stream';
import { FindingNews } from '../render/news.ts';
import type { Report } from '../report/types.ts';
import { Cost, Pace } from '../session/pace.ts';
import type { Display } from './display.ts';

/** At least so far apart; a report of many suspects takes a while to build, and comes more rarely. */
const SHORTEST_MS = 1_000;

export class NewsLines implements Display {
  readonly #stream: Writable;
  readonly #news = new FindingNews();
  readonly #pace = new Pace(SHORTEST_MS, 0);
  readonly #cost = new Cost();

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  show(report: () => Report): void {
    // A reader that takes nothing gets no more.
    if (!this.#pace.isDue(performance.now()) || this.#stream.writableLength > 0) return;
    const costMs = this.#cost.of(() => {
      for (const line of this.#news.linesOf(report())) this.#stream.write(`${line}\n`);
    });
    this.#pace.ran(costMs, performance.now());
  }

  close(): void {}
}
