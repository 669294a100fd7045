/** How far a long reading is, on a terminal. */
import type { WriteStream } from 'node:tty';

const REFRESH_MS = 100;
/** What is over sooner needs no bar. */
const PATIENCE_MS = 300;
const WIDTH = 30;

export class ProgressBar {
  readonly #stream: WriteStream;
  readonly #sizes: readonly number[];
  readonly #total: number;
  #shownMs = performance.now() + PATIENCE_MS - REFRESH_MS;
  #shown = false;

  /** @param sizes of the files, in bytes */
  constructor(stream: WriteStream, sizes: readonly number[]) {
    this.#stream = stream;
    this.#sizes = sizes;
    this.#total = sizes.reduce((sum, size) => sum + size, 0);
  }

  /** Redraws when it is time: so many bytes of this file, and all of those before it. */
  show(file: number, bytes: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < REFRESH_MS || this.#total === 0) return;
    this.#shownMs = nowMs;
    this.#shown = true;
    const done = this.#sizes.slice(0, file).reduce((sum, size) => sum + size, bytes);
    const share = Math.min(1, done / this.#total);
    const bar = '#'.repeat(Math.round(share * WIDTH)).padEnd(WIDTH, '.');
    this.#stream.write(`\r\x1b[Kreading [${bar}] ${Math.floor(100 * share)}%`);
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[K');
  }
}
