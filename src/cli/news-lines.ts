/** What is told of findings where no terminal shows them: lines, now and then. */
import type { Writable } from 'node:stream';
import { FindingNews } from '../render/news.ts';
import type { Report } from '../report/types.ts';
import { PacedJob } from '../session/pace.ts';
import type { Display } from './display.ts';

/** At least so far apart; a report of many suspects takes a while to build, and comes more rarely. */
const SHORTEST_MS = 1_000;

export class NewsLines implements Display {
  readonly #stream: Writable;
  readonly #news = new FindingNews();
  readonly #job = new PacedJob(SHORTEST_MS, 0, () => performance.now());

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  show(report: () => Report): void {
    // A reader that takes nothing gets no more.
    if (this.#stream.writableLength > 0) return;
    this.#job.whenDue(() => {
      for (const line of this.#news.linesOf(report())) this.#stream.write(`${line}\n`);
    });
  }

  close(): void {}
}
