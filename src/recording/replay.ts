/** Reads a recording: its inputs in their order, and what could not be read. */
import type { LedgerInput, SessionFacts } from '../ledger/types.ts';
import { Expander } from './compact.ts';
import {
  type EndLine,
  MOST_BETWEEN_TICKS,
  RECORDING_VERSION,
  RecordingError,
  type RecordingHeader,
  type RecordingLine,
} from './format.ts';
import { isNewerLine } from './line.ts';
import { MemoryGuard, memoryInWords } from './memory.ts';
import { readLine } from './quick.ts';
import { LineSource } from './source.ts';

export interface Replayed {
  session: SessionFacts;
  /** that were taken */
  lines: number;
  /** lines that could not be read, or that are missing */
  torn: number;
  /** lines of types that this version does not know */
  newer: number;
  /** null: whatever wrote it was killed, or could not write on */
  end: EndLine | null;
  /** the rest was not asked for */
  cutShort: boolean;
  /** why the file could not be read to its end */
  damage: string | null;
}

export interface ReplayOptions {
  /**
   * Wall clock, ms since the epoch. What comes after the last tick until then is not taken: what is read at one time is
   * told between two ticks, so one without the other would contradict itself.
   */
  untilMs?: number;
  /** bytes read of the file so far; called from time to time */
  progress?: (bytes: number) => void;
}

/** For what is read: a report of it takes the rest. */
const MOST_OF_MEMORY = 0.7;

/**
 * Gives every input of a recording to `take`. A line that is torn or not valid is counted and left out: the last input
 * is the loss of them.
 * @throws RecordingError when the file is no recording of a session, or holds too much
 */
export async function replay(
  path: string,
  take: (input: LedgerInput) => void,
  options: ReplayOptions = {},
): Promise<Replayed> {
  const source = new LineSource(path);
  const memory = new MemoryGuard(MOST_OF_MEMORY);
  const player = new Player(path, take, options.untilMs ?? Number.POSITIVE_INFINITY);
  for await (const { lines, tooLong, cut } of source.batches()) {
    player.skip(tooLong);
    for (const line of lines) player.play(line, cut);
    if (memory.isUsedUp) throw new RecordingError(`${path} holds more than fits into ${memoryInWords()}`);
    options.progress?.(source.bytesRead);
    if (player.isOver) break;
  }
  // Nobody knows how many lines are behind it.
  if (source.damage !== null) player.skip(1);
  return { ...player.finish(), damage: player.refusal ?? source.damage };
}

/** So many lines in a row that cannot be read are no recording that broke: they may go on for ever. */
const MOST_TORN = 100_000;

class Player {
  readonly #path: string;
  readonly #take: (input: LedgerInput) => void;
  readonly #untilMs: number;
  readonly #expander = new Expander();
  #header: RecordingHeader | null = null;
  #session: SessionFacts | null = null;
  #end: EndLine | null = null;
  #lines = 0;
  #torn = 0;
  #newer = 0;
  #tornInARow = 0;
  /** CLOCK_MONOTONIC */
  #lastMs = Number.POSITIVE_INFINITY;
  /** since the last tick; null when everything is taken */
  #pending: LedgerInput[] | null = null;
  isOver = false;
  /** why lines are not looked at that there are */
  refusal: string | null = null;

  constructor(path: string, take: (input: LedgerInput) => void, untilMs: number) {
    this.#path = path;
    this.#take = take;
    this.#untilMs = untilMs;
    if (untilMs !== Number.POSITIVE_INFINITY) this.#pending = [];
  }

  skip(lines: number): void {
    if (!this.isOver) this.#torn += lines;
  }

  /** @param cut the file ends within this line */
  play(text: string, cut: boolean): void {
    if (this.isOver) return;
    const line = readLine(text);
    if (this.#header === null) {
      this.#header = this.#checked(line, text, cut);
      this.#lines = 1;
      return;
    }
    // What follows is of another time, perhaps of another host.
    if (line?.type === 'recording') return this.#refuse('another recording begins there');
    // Nothing comes after the end.
    if (line === null || this.#end !== null) {
      if (this.#end === null && isNewerLine(text)) this.#newer += 1;
      else this.#torn += 1;
      this.#tornInARow += 1;
      if (this.#tornInARow === MOST_TORN) this.#refuse('nothing in a hundred thousand lines could be read');
      return;
    }
    this.#tornInARow = 0;
    if (line.type === 'end') {
      this.#end = line;
      this.#torn = Math.max(this.#torn, line.lines - this.#lines - this.#newer);
      return;
    }
    if (line.type === 'tick' && line.atMs > this.#lastMs) {
      this.isOver = true;
      this.#lines -= this.#pending?.length ?? 0;
      return;
    }
    const input = this.#expander.expand(line);
    if (input === undefined || !this.#belongs(input)) {
      this.#torn += 1;
      return;
    }
    this.#lines += 1;
    if (input === null) return;
    if (this.#pending === null) return this.#take(input);
    this.#pending.push(input);
    const isWhole = input.type === 'tick' || input.type === 'session';
    if (isWhole || this.#pending.length >= MOST_BETWEEN_TICKS) this.#takePending();
  }

  #takePending(): void {
    for (const input of this.#pending?.splice(0) ?? []) this.#take(input);
  }

  #refuse(why: string): void {
    this.#torn += 1;
    this.refusal = why;
    this.isOver = true;
  }

  finish(): Omit<Replayed, 'damage'> {
    if (this.#header === null) throw new RecordingError(`${this.#path} is empty`);
    if (this.#session === null)
      throw new RecordingError(`${this.#path} ends before anything was recorded: there is nothing to report`);
    if (!this.isOver || this.refusal !== null) this.#takePending();
    if (this.#torn > 0) this.#take({ type: 'loss', losses: [{ code: 'recording-torn', count: this.#torn }] });
    if (this.#newer > 0) this.#take({ type: 'loss', losses: [{ code: 'recording-newer', count: this.#newer }] });
    return {
      session: this.#session,
      lines: this.#lines,
      torn: this.#torn,
      newer: this.#newer,
      end: this.#end,
      cutShort: this.isOver && this.refusal === null,
    };
  }

  #checked(line: RecordingLine | null, text: string, cut: boolean): RecordingHeader {
    if (line?.type !== 'recording') {
      const why = cut && text.startsWith('{"type":"recording"') ? 'ends within its first line' : 'is no recording';
      throw new RecordingError(`${this.#path} ${why}: "socktrace record -o FILE" makes one`);
    }
    if ((line.version as number) !== RECORDING_VERSION)
      throw new RecordingError(
        `${this.#path} is a recording of format ${line.version}, by ${line.tool.name} ${line.tool.version}; this version reads format ${RECORDING_VERSION}`,
      );
    return line;
  }

  /** The session comes first, once: without it, no other line can be understood. */
  #belongs(input: LedgerInput | null): boolean {
    if (input?.type !== 'session') return this.#session !== null;
    if (this.#session !== null) return false;
    this.#session = input.session;
    const { monotonicMs, wallMs } = input.session.clock;
    this.#lastMs = monotonicMs + (this.#untilMs - wallMs);
    return true;
  }
}
