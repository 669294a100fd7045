/**
 * Writes a recording so that whatever ends the writer, all but the last second can be read: lines go to the disk, and are
 * synchronized there, twice a second. A slow disk makes lines wait here; the caller sees that, and reads on later.
 */
import { close, fdatasync, write } from 'node:fs';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import type { LedgerInput } from '../ledger/types.ts';
import { renderJsonLine } from '../render/json.ts';
import { VERSION } from '../version.ts';
import { Compactor } from './compact.ts';
import { createFile, syncName } from './file.ts';
import { RECORDING_VERSION, type RecordingLine } from './format.ts';

const FLUSH_MS = 500;
const LOOK_MS = 50;
/** Written, and packed as one gzip member, at a time. */
const MOST_PART_CHARACTERS = 1 << 22;
/** Lines of a kind repeat each other: packed ones are smaller by about this much. */
const PACKED_BY = 16;

const writeAsync = promisify(write);
const syncAsync = promisify(fdatasync);
const closeAsync = promisify(close);
const gzipAsync = promisify(gzip);

export interface RecordingOptions {
  /** write gzip members instead of plain lines */
  pack: boolean;
  /** the file is full when it has reached this size */
  mostBytes: number;
}

export class RecordingWriter {
  readonly #options: RecordingOptions;
  readonly #compactor = new Compactor();
  #file: number | null = null;
  #timer: NodeJS.Timeout | null = null;
  #waiting: string[] = [];
  #waitingCharacters = 0;
  #lines = 0;
  #bytes = 0;
  #flushedMs = Number.NEGATIVE_INFINITY;
  #flushing: Promise<void> | null = null;
  #failure: Error | null = null;

  constructor(options: RecordingOptions) {
    this.#options = options;
    const tool = { name: 'socktrace', version: VERSION };
    this.#add({ type: 'recording', version: RECORDING_VERSION, tool });
  }

  /** Makes the file; what was taken before is kept for it. @throws FileRefusedError */
  open(path: string, replace: boolean): void {
    this.#file = createFile(path, replace);
    syncName(path);
    this.#timer = setInterval(() => this.#pump(), LOOK_MS).unref();
  }

  /** Lines so far, the header included. */
  get lines(): number {
    return this.#lines;
  }

  /** Written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Characters that wait for the disk. */
  get waiting(): number {
    return this.#waitingCharacters;
  }

  /** Why nothing can be written any more: the disk is full, say. What was written before stays. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** Whether the file has its greatest size. */
  get isFull(): boolean {
    const coming = this.#waitingCharacters / (this.#options.pack ? PACKED_BY : 1);
    return this.#bytes + coming >= this.#options.mostBytes;
  }

  /** Takes one input. It is written soon, whenever the event loop turns. */
  write(input: LedgerInput): void {
    for (const line of this.#compactor.linesOf(input)) this.#add(line);
  }

  /** Starts writing what waits, when that is due. */
  #pump(): void {
    if (this.#file === null || this.#flushing !== null || this.#failure !== null || this.#waiting.length === 0) return;
    const due = performance.now() - this.#flushedMs >= FLUSH_MS || this.#waitingCharacters >= MOST_PART_CHARACTERS;
    if (due) this.#flush(this.#file);
  }

  /** Writes what waits now. A failure to is in `failure`. */
  async flush(): Promise<void> {
    await this.#flushing;
    if (this.#file !== null && this.#failure === null && this.#waiting.length > 0) await this.#flush(this.#file);
  }

  /** Forgets what waits, where no file was made for it. */
  drop(): void {
    this.#waiting = [];
    this.#waitingCharacters = 0;
  }

  /** Says why it ends, writes everything, and closes the file. A failure to is in `failure`. */
  async close(because: string): Promise<void> {
    this.#add({ type: 'end', because, lines: this.#lines });
    await this.flush();
    if (this.#timer !== null) clearInterval(this.#timer);
    const file = this.#file;
    this.#file = null;
    if (file === null) return;
    try {
      // Some file systems say only now that what was written is lost.
      await closeAsync(file);
    } catch (error) {
      this.#failure ??= error as Error;
    }
  }

  #add(line: RecordingLine): void {
    if (this.#failure !== null) return;
    const text = renderJsonLine(line);
    this.#waiting.push(text);
    this.#waitingCharacters += text.length;
    this.#lines += 1;
  }

  #flush(file: number): Promise<void> {
    this.#flushing = this.#writeOut(file)
      .catch((error: Error) => {
        this.#failure = error;
        this.#waiting = [];
        this.#waitingCharacters = 0;
      })
      .finally(() => {
        this.#flushing = null;
        this.#flushedMs = performance.now();
      });
    return this.#flushing;
  }

  /** All that waits when it begins, in parts, and to the disk. */
  async #writeOut(file: number): Promise<void> {
    for (let left = this.#waiting.length; left > 0; ) {
      const part = this.#takePart(left);
      left -= part.length;
      const plain = Buffer.from(part.join(''));
      const bytes = this.#options.pack ? await gzipAsync(plain, { level: constants.Z_BEST_SPEED }) : plain;
      await this.#writeAll(file, bytes);
    }
    await syncAsync(file);
  }

  /** At most `most` lines, and not many characters. */
  #takePart(most: number): string[] {
    let count = 0;
    let characters = 0;
    while (count < most && characters < MOST_PART_CHARACTERS) {
      characters += this.#waiting[count]?.length ?? 0;
      count += 1;
    }
    this.#waitingCharacters -= characters;
    return this.#waiting.splice(0, count);
  }

  async #writeAll(file: number, bytes: Uint8Array): Promise<void> {
    for (let offset = 0; offset < bytes.byteLength; ) {
      const { bytesWritten } = await writeAsync(file, bytes, offset);
      offset += bytesWritten;
      this.#bytes += bytesWritten;
    }
  }
}
