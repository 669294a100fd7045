/** A terminal taken over for a while: the alternate screen, raw keys, and the way back. */
import { writeSync } from 'node:fs';
import type { ReadStream, WriteStream } from 'node:tty';

// No automatic wrap: where a terminal thinks a character wider than we do, its line is cut, and no other one moves.
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J';
const LEAVE = '\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l';
/** Terminals that know it show the changes at once. */
const BEGIN_UPDATE = '\x1b[?2026h';
const END_UPDATE = '\x1b[?2026l';

type Output = WriteStream & { fd: number };

export class Screen {
  readonly #input: ReadStream;
  readonly #output: Output;
  #entered = false;
  /** what is on it */
  #lines: readonly string[] = [];

  constructor(input: ReadStream, output: Output) {
    this.#input = input;
    this.#output = output;
  }

  get isEntered(): boolean {
    return this.#entered;
  }

  get size(): { columns: number; rows: number } {
    // 0 by 0 where nobody set a size (a serial line).
    return { columns: this.#output.columns || 80, rows: this.#output.rows || 24 };
  }

  enter(): void {
    this.#input.setRawMode(true);
    this.#input.resume();
    this.#entered = true;
    this.#output.write(ENTER);
    this.#lines = [];
  }

  /** Nothing of what is on it is known any more, as after a resize. */
  forget(): void {
    if (this.#entered) this.#output.write('\x1b[2J');
    this.#lines = [];
  }

  /** Writes the lines that differ from those on the screen. */
  draw(lines: readonly string[]): void {
    const changes = lines.flatMap((line, i) =>
      // Erased first: behind a full line the cursor still stands on its last character.
      line === this.#lines[i] ? [] : [`\x1b[${i + 1};1H\x1b[2K${line}`],
    );
    this.#lines = lines;
    if (changes.length > 0) this.#output.write(`${BEGIN_UPDATE}${changes.join('')}${END_UPDATE}`);
  }

  /** The screen as it was before, from any state and in any hurry: nothing is left to the event loop. */
  leave(): void {
    if (!this.#entered) return;
    this.#entered = false;
    try {
      writeSync(this.#output.fd, LEAVE);
      this.#input.setRawMode(false);
    } catch {
      // The terminal has gone.
    }
    this.#input.pause();
  }
}
