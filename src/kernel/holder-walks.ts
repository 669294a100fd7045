/**
 * What differs between two walks of descriptors. Most sockets are held as they were, and thousands of records are
 * decoded only where they are not those of the walk before: these are kept as they came, outside of the heap.
 */
import type { SocketId } from '../ledger/types.ts';
import { socketIdOf } from './decode.ts';
import { HOLDER_RECORD } from './layout.ts';

const WORDS = HOLDER_RECORD.size / 4;
const SOCKET = HOLDER_RECORD.fields.sk[0] / 4;
const TGID = HOLDER_RECORD.fields.tgid[0] / 4;
const FD = HOLDER_RECORD.fields.fd[0] / 4;

export interface HolderChanges {
  /** all records of each socket that is held otherwise than after the walk before */
  records: Uint8Array;
  /** sockets that are held no more */
  gone: SocketId[];
}

export class HolderWalks {
  #before = new Records(0);
  #now = new Records(0);
  #touched = new Touched();

  /** Takes a part of the walk that is under way: whole records, in the order of the walk. */
  take(buffer: Uint8Array, bytes: number): void {
    this.#now.add(new Int32Array(buffer.buffer, buffer.byteOffset, bytes / 4));
  }

  /**
   * The walk is over. What one that is not `complete` did not show is as it was, and only the next whole one can tell what
   * is gone.
   */
  end(complete: boolean): HolderChanges {
    const before = this.#before;
    const now = this.#now;
    const touched = this.#touched;
    const kept = complete ? null : new Records(before.size + now.size);
    let old = 0;
    const passOld = (): void => {
      if (kept === null) touched.add(before, old);
      else kept.add(before.at(old));
      old += 1;
    };
    for (let i = 0; i < now.size; i++) {
      while (old < before.size && before.compare(old, now, i) < 0) passOld();
      const isSameDescriptor = old < before.size && before.compare(old, now, i) === 0;
      if (!isSameDescriptor || !before.isAlike(old, now, i)) {
        touched.add(now, i);
        if (isSameDescriptor) touched.add(before, old);
      }
      if (isSameDescriptor) old += 1;
      kept?.add(now.at(i));
    }
    while (old < before.size) passOld();
    this.#before = kept ?? now;
    this.#now = kept === null ? before : now;
    this.#now.clear();
    const changes = touched.of(this.#before);
    if (!complete) return { ...changes, gone: [] };
    this.#touched = new Touched();
    return changes;
  }
}

/** The sockets of records that one of two walks has and the other has not. */
class Touched {
  readonly #ids = new Set<SocketId>();
  /** halves of their addresses: of most records these tell already that it is of none of them */
  readonly #halves = new Set<number>();

  add(records: Records, i: number): void {
    this.#ids.add(records.socketOf(i));
    this.#halves.add(records.half(i));
  }

  of(walk: Records): HolderChanges {
    if (this.#ids.size === 0) return { records: new Uint8Array(0), gone: [] };
    const chosen = new Records(this.#ids.size);
    for (let i = 0; i < walk.size; i++) {
      if (!this.#halves.has(walk.half(i))) continue;
      if (this.#ids.has(walk.socketOf(i))) chosen.add(walk.at(i));
    }
    const gone = new Set(this.#ids);
    for (let i = 0; i < chosen.size; i++) gone.delete(chosen.socketOf(i));
    return { records: chosen.bytes, gone: [...gone] };
  }
}

/** Records of bpf/records.h as they came, in 32-bit words. */
class Records {
  #words: Int32Array<ArrayBuffer>;
  #size = 0;

  constructor(capacity: number) {
    this.#words = new Int32Array(capacity * WORDS);
  }

  get size(): number {
    return this.#size;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#words.buffer, 0, this.#size * HOLDER_RECORD.size);
  }

  clear(): void {
    this.#size = 0;
  }

  add(words: Int32Array): void {
    const used = this.#size * WORDS;
    if (used + words.length > this.#words.length) {
      const grown = new Int32Array(
        Math.max(used + words.length, Math.ceil(this.#words.length / WORDS / 2) * 3 * WORDS),
      );
      grown.set(this.#words.subarray(0, used));
      this.#words = grown;
    }
    this.#words.set(words, used);
    this.#size += words.length / WORDS;
  }

  at(i: number): Int32Array {
    return this.#words.subarray(i * WORDS, (i + 1) * WORDS);
  }

  half(i: number): number {
    return this.#words[i * WORDS + SOCKET] as number;
  }

  socketOf(i: number): SocketId {
    const record = new DataView(this.#words.buffer, i * HOLDER_RECORD.size, HOLDER_RECORD.size);
    return socketIdOf(record, HOLDER_RECORD.fields.sk[0], HOLDER_RECORD.fields.birth_ns[0]);
  }

  /** In the order in which a walk shows descriptors. Where it does not, what is unchanged may count as changed. */
  compare(i: number, other: Records, j: number): number {
    const [a, b] = [i * WORDS, j * WORDS];
    const tgid = (this.#words[a + TGID] as number) - (other.#words[b + TGID] as number);
    return tgid !== 0 ? tgid : (this.#words[a + FD] as number) - (other.#words[b + FD] as number);
  }

  isAlike(i: number, other: Records, j: number): boolean {
    const [a, b] = [i * WORDS, j * WORDS];
    for (let word = 0; word < WORDS; word++) if (this.#words[a + word] !== other.#words[b + word]) return false;
    return true;
  }
}
