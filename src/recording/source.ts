/** The lines of a file, as they come: plain or in gzip members, of any size, in little memory. */
import { isAscii } from 'node:buffer';
import { once } from 'node:events';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { constants, createGunzip } from 'node:zlib';
import { LONGEST_LINE_BYTES, RecordingError } from './format.ts';

const CHUNK_BYTES = 1 << 17;
/** Unpacked it may be a thousand times as much. */
const PACKED_CHUNK_BYTES = 1 << 14;
const UNPACKED_CHUNK_BYTES = 1 << 14;
const NEWLINE = 0x0a;
const GZIP_MAGIC = 0x1f8b;

/** Some lines, without their newlines. */
export interface LineBatch {
  lines: string[];
  /** lines longer than any that is written: skipped */
  tooLong: number;
  /** the last of `lines` had no newline: the file ends within it */
  cut: boolean;
}

/** What these bytes say in UTF-8, for which ASCII takes no decoding. */
function textOf(bytes: Buffer): string {
  return bytes.toString(isAscii(bytes) ? 'latin1' : 'utf8');
}

/** The lines of some bytes. Of these, nothing is copied but what completes the line that `carried` begins. */
function linesOf(carried: readonly Buffer[], bytes: Buffer): string[] {
  if (carried.length === 0) return textOf(bytes).split('\n');
  const end = bytes.indexOf(NEWLINE);
  const first = textOf(Buffer.concat([...carried, end < 0 ? bytes : bytes.subarray(0, end)]));
  return end < 0 ? [first] : [first, ...textOf(bytes.subarray(end + 1)).split('\n')];
}

/** Reads a file once. */
export class LineSource {
  readonly #path: string;
  #bytesRead = 0;
  #damage: string | null = null;
  /** offset in the file */
  #damagedChunk: number | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Bytes of the file read so far. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Why the file could not be unpacked to its end; null when it could. */
  get damage(): string | null {
    return this.#damage;
  }

  /** @throws Error when the file cannot be read */
  async *batches(): AsyncGenerator<LineBatch> {
    let carried: Buffer[] = [];
    let carriedBytes = 0;
    let skipping = false;
    for await (const chunk of this.#chunks()) {
      const end = chunk.lastIndexOf(NEWLINE);
      if (end < 0) {
        if (!skipping) carried.push(Buffer.from(chunk));
        carriedBytes += chunk.byteLength;
        if (carriedBytes > LONGEST_LINE_BYTES) {
          carried = [];
          skipping = true;
        }
        continue;
      }
      const lines = linesOf(carried, chunk.subarray(0, end));
      // What is left of a line of which the beginning was not kept.
      if (skipping) lines.shift();
      yield { lines, tooLong: skipping ? 1 : 0, cut: false };
      skipping = false;
      carried = end + 1 < chunk.byteLength ? [Buffer.from(chunk.subarray(end + 1))] : [];
      carriedBytes = chunk.byteLength - end - 1;
    }
    if (skipping) yield { lines: [], tooLong: 1, cut: true };
    else if (carriedBytes > 0) yield { lines: [textOf(Buffer.concat(carried))], tooLong: 0, cut: true };
  }

  /** Each is valid until the next is asked for. */
  async *#chunks(): AsyncGenerator<Buffer> {
    // To open a pipe may wait for ever, to open a device may do something.
    if (!(await stat(this.#path)).isFile()) throw new RecordingError(`${this.#path} is no file`);
    const handle = await open(this.#path, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    if (bytesRead < 2 || buffer.readUInt16BE(0) !== GZIP_MAGIC) {
      yield* this.#plain(handle);
      return;
    }
    let given = 0;
    for await (const chunk of this.#unpacked(handle, Number.POSITIVE_INFINITY)) {
      given += chunk.byteLength;
      yield chunk;
    }
    if (this.#damagedChunk === null) return;
    // What the unpacker had not given out when it met the damage: once more, and byte by byte there.
    for await (const chunk of this.#unpacked(await open(this.#path, 'r'), this.#damagedChunk)) {
      if (chunk.byteLength > given) yield chunk.subarray(given);
      given = Math.max(0, given - chunk.byteLength);
    }
  }

  /** All in one buffer: a new one for each chunk would have the garbage collector run for them alone. */
  async *#plain(handle: FileHandle): AsyncGenerator<Buffer> {
    try {
      const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
      for (this.#bytesRead = 0; ; ) {
        const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, this.#bytesRead);
        if (bytesRead === 0) return;
        this.#bytesRead += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }

  /**
   * A file that ends within a member gives what can be unpacked of it.
   * @param carefulFrom offset in the file from which on no output waits for further input: what is unpacked before a
   * damage is not lost with it
   */
  async *#unpacked(handle: FileHandle, carefulFrom: number): AsyncGenerator<Buffer> {
    const gunzip = createGunzip({ chunkSize: UNPACKED_CHUNK_BYTES, finishFlush: constants.Z_SYNC_FLUSH });
    let unpacked: Buffer[] = [];
    gunzip.on('data', (chunk: Buffer) => unpacked.push(chunk));
    const broken = once(gunzip, 'error').then(([error]: Error[]) => {
      this.#damage = error?.message ?? 'it cannot be unpacked';
    });
    const take = (): Buffer => {
      const chunk = Buffer.concat(unpacked);
      unpacked = [];
      return chunk;
    };
    const write = (piece: Buffer): Promise<void> =>
      Promise.race([broken, new Promise<void>((done) => gunzip.write(piece, () => done()))]);
    let fed = 0;
    this.#damage = null;
    try {
      this.#bytesRead = 0;
      for await (const chunk of handle.createReadStream({ start: 0, highWaterMark: PACKED_CHUNK_BYTES })) {
        this.#bytesRead += chunk.byteLength;
        const step = fed >= carefulFrom ? 1 : chunk.byteLength;
        for (let at = 0; at < chunk.byteLength && this.#damage === null; at += step) {
          await write(chunk.subarray(at, at + step));
          // Behind a member the unpacker passes over whatever begins with a zero, to the end of the file.
          if (this.#damage === null && gunzip.bytesWritten < fed + at + step) this.#damage = 'something else follows';
        }
        yield take();
        if (this.#damage !== null) {
          this.#damagedChunk = fed;
          return;
        }
        fed += chunk.byteLength;
      }
      await Promise.race([broken, new Promise<void>((done) => gunzip.end(() => done()))]);
      yield take();
    } finally {
      gunzip.destroy();
    }
  }
}
