/** The lines of a file, as they come: plain or in gzip members, of any size, in little memory. */
import { once } from 'node:events';
import type { ReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { constants, createGunzip } from 'node:zlib';
import { LONGEST_LINE_BYTES } from './format.ts';

const CHUNK_BYTES = 1 << 20;
const PACKED_CHUNK_BYTES = 1 << 16;
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

/** Reads a file once. */
export class LineSource {
  readonly #path: string;
  #file: ReadStream | null = null;
  #damage: string | null = null;

  constructor(path: string) {
    this.#path = path;
  }

  /** Bytes of the file read so far. */
  get bytesRead(): number {
    return this.#file?.bytesRead ?? 0;
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
        if (!skipping) carried.push(chunk);
        carriedBytes += chunk.byteLength;
        if (carriedBytes > LONGEST_LINE_BYTES) {
          carried = [];
          skipping = true;
        }
        continue;
      }
      const head = chunk.subarray(0, end);
      const text = (carried.length > 0 ? Buffer.concat([...carried, head]) : head).toString('utf8');
      const lines = text.split('\n');
      // What is left of a line of which the beginning was not kept.
      if (skipping) lines.shift();
      yield { lines, tooLong: skipping ? 1 : 0, cut: false };
      skipping = false;
      carried = end + 1 < chunk.byteLength ? [chunk.subarray(end + 1)] : [];
      carriedBytes = chunk.byteLength - end - 1;
    }
    if (skipping) yield { lines: [], tooLong: 1, cut: true };
    else if (carriedBytes > 0) yield { lines: [Buffer.concat(carried).toString('utf8')], tooLong: 0, cut: true };
  }

  async *#chunks(): AsyncGenerator<Buffer> {
    const handle = await open(this.#path, 'r');
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(2), 0, 2, 0);
    const packed = bytesRead === 2 && buffer.readUInt16BE(0) === GZIP_MAGIC;
    const file = handle.createReadStream({ start: 0, highWaterMark: packed ? PACKED_CHUNK_BYTES : CHUNK_BYTES });
    this.#file = file;
    yield* packed ? this.#unpacked(file) : (file as AsyncIterable<Buffer>);
  }

  /**
   * A file that ends within a member gives what can be unpacked of it. A damaged one gives what comes before, but for the
   * last few kilobytes: as much is taken out of the unpacker at a time.
   */
  async *#unpacked(file: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
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
    try {
      for await (const chunk of file) {
        await Promise.race([broken, new Promise<void>((done) => gunzip.write(chunk, () => done()))]);
        yield take();
        if (this.#damage !== null) return;
      }
      await Promise.race([broken, new Promise<void>((done) => gunzip.end(() => done()))]);
      yield take();
    } finally {
      gunzip.destroy();
    }
  }
}
