/** The one line that is rewritten on a terminal while a trace runs. */
import type { WriteStream } from 'node:tty';
import { renderStatusLine } from '../render/statusline.ts';
import type { Report } from '../report/types.ts';

/** A report of many suspects takes a while to build, and nobody reads faster. */
const REFRESH_MS = 1_000;

export class StatusLine {
  readonly #stream: WriteStream;
  #dueMs = 0;

  constructor(stream: WriteStream) {
    this.#stream = stream;
  }

  /** Redraws when it is time; `report` is called only then. */
  show(report: () => Report): void {
    const now = performance.now();
    if (now < this.#dueMs) return;
    this.#dueMs = now + REFRESH_MS;
    // Cut, since a line that wraps cannot be rewritten.
    this.#stream.write(`\r\x1b[K${renderStatusLine(report()).slice(0, this.#stream.columns - 1)}`);
  }

  clear(): void {
    this.#stream.write('\r\x1b[K');
  }
}
