/**
 * The `r` key of the live view: the trace into a file. Whenever it is pressed, the recording has the whole trace, as
 * "socktrace record" would have written it: what the ledger was told is kept for that, while it is not too much.
 */
import type { LedgerInput } from '../ledger/types.ts';
import { FileRefusedError } from '../recording/file.ts';
import { shareOfMemory } from '../recording/memory.ts';
import { RecordingWriter } from '../recording/writer.ts';
import { escapeText } from '../render/escape.ts';
import type { Span } from '../render/live/line.ts';
import { countOf, formatBytes } from '../render/numbers.ts';

/** Characters of lines that wait for an `r`; 10,000 suspects write as much in some minutes. */
const MOST_KEPT = Math.min(64 << 20, shareOfMemory(0.1));
/** Characters that wait for a slow disk; more are not read before it has taken some. */
const MOST_WAITING = 16 << 20;

type State =
  | { is: 'keeping' }
  | { is: 'recording'; path: string }
  | { is: 'ended'; path: string }
  /** too much came before anybody asked */
  | { is: 'too-late' };

export class LiveRecorder {
  readonly #writer: RecordingWriter;
  readonly #target: string;
  #state: State = { is: 'keeping' };
  #refusal: string | null = null;
  #closing: Promise<void> = Promise.resolve();

  /** @param target what is traced, for the name of the file */
  constructor(target: string) {
    this.#target = target;
    this.#writer = new RecordingWriter({ pack: false, mostBytes: Number.POSITIVE_INFINITY });
  }

  take(input: LedgerInput): void {
    if (this.#state.is === 'ended' || this.#state.is === 'too-late') return;
    this.#writer.write(input);
    if (this.#state.is === 'keeping' && this.#writer.waiting > MOST_KEPT) {
      this.#writer.drop();
      this.#state = { is: 'too-late' };
    }
  }

  /** Nothing more is to be taken before the disk has written some. */
  get isBehind(): boolean {
    return this.#state.is === 'recording' && this.#writer.waiting > MOST_WAITING;
  }

  /** Begins a recording, or ends it. */
  toggle(): void {
    switch (this.#state.is) {
      case 'keeping':
        return this.#begin();
      case 'recording':
        this.#closing = this.#end(this.#state.path, 'asked to stop recording');
        return;
      case 'ended':
        this.#refusal = 'one recording a trace:';
        return;
      case 'too-late':
        this.#refusal = 'too long ago: its beginning is not kept; "socktrace record" records a trace from the first';
    }
  }

  /** What the header says of it. */
  get note(): Span | null {
    const { failure } = this.#writer;
    switch (this.#state.is) {
      case 'recording':
        return failure === null
          ? { text: `REC ${escapeText(this.#state.path)}`, tone: 'red' }
          : { text: `recording broke off: ${escapeText(failure.message)}`, tone: 'yellow' };
      case 'ended':
        return { text: [this.#refusal, 'recorded', escapeText(this.#state.path)].filter(Boolean).join(' ') };
      default:
        return this.#refusal === null ? null : { text: escapeText(this.#refusal), tone: 'yellow' };
    }
  }

  /**
   * Ends what goes on, with the trace.
   * @returns what to say of it; null when nothing was recorded
   */
  async close(because: string): Promise<string | null> {
    if (this.#state.is === 'recording') await this.#end(this.#state.path, because);
    await this.#closing;
    if (this.#state.is !== 'ended') return null;
    const { failure, lines, bytes } = this.#writer;
    const name = escapeText(this.#state.path);
    if (failure !== null)
      return `the recording broke off: ${escapeText(failure.message)}; ${formatBytes(bytes)} were written to ${name}, and can be read`;
    return `recorded ${countOf(lines, 'line')}, ${formatBytes(bytes)}, to ${name}; "socktrace report ${name}" reads it`;
  }

  #begin(): void {
    const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '');
    const path = `socktrace-${this.#target}-${time}.ndjson`;
    try {
      this.#writer.open(path, false);
      this.#state = { is: 'recording', path };
      this.#refusal = null;
    } catch (error) {
      if (!(error instanceof FileRefusedError)) throw error;
      this.#refusal = error.message;
    }
  }

  async #end(path: string, because: string): Promise<void> {
    this.#state = { is: 'ended', path };
    await this.#writer.close(because);
  }
}
