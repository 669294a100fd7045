/** The one line that is rewritten on a terminal while a trace runs. */
import type { WriteStream } from 'node:tty';
import { renderStatusLine } from '../render/statusline.ts';
import type { Report } from '../report/types.ts';
import { PacedJob } from '../session/pace.ts';
import type { Display } from './display.ts';

/** At least so far apart; a report of many suspects takes a while to build, and comes more rarely. */
const REFRESH_MS = 1_000;

export class StatusLine implements Display {
  readonly #stream: WriteStream;
  readonly #job = new PacedJob(REFRESH_MS, 0, () => performance.now());

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** Redraws when it is time; `report` is called only then. */
  show(report: () => Report): void {
    this.#job.whenDue(() => {
      // Cut, since a line that wraps cannot be rewritten.
      this.#stream.write(`\r\x1b[K${renderStatusLine(report()).slice(0, this.#stream.columns - 1)}`);
    });
  }

  close(): void {
    this.#stream.write('\r\x1b[K');
  }
}
