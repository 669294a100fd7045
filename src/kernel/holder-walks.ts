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

/** Records that are kept, and handed out, together. */
const CHUNK_RECORDS = 1_024;
const CHUNK_WORDS = CHUNK_RECORDS * WORDS;

/** Compares each walk with the one before while it comes, and uses that one's memory meanwhile: there is little more than one. */
export class HolderWalks {
  readonly #spare: Int32Array[] = [];
  #before = new Records(this.#spare);
  #now = new Records(this.#spare);
  /** of the walk before: records up to here have been compared */
  #old = 0;
  /** records of the walk before that this one has not shown, and how many it had shown when it went past them */
  #passed = new Records(this.#spare);
  #passedAt: number[] = [];
  #touched = new Touched();

  /** Takes a part of the walk that is under way: whole records, in the order of the walk. */
  take(buffer: Uint8Array, bytes: number): void {
    const words = new Int32Array(buffer.buffer, buffer.byteOffset, bytes / 4);
    for (let at = 0; at < words.length; at += WORDS) this.#see(words, at);
  }

  /**
   * The walk is over. What one that is not `complete` did not show is as it was, and only the next whole one can tell what
   * is gone.
   * @param tell is given all records of each socket that is held otherwise than after the walk before, in parts that are
   * valid until it returns
   * @returns sockets that are held no more
   */
  end(complete: boolean, tell: (records: Uint8Array) => void): SocketId[] {
    while (this.#old < this.#before.size) this.#pass();
    if (this.#old % CHUNK_RECORDS !== 0) this.#before.letGoBefore(this.#old);
    if (complete) for (let i = 0; i < this.#passed.size; i++) this.#touched.add(this.#passed.chunk(i), offset(i));
    else this.#keepPassed();
    this.#before = this.#now;
    this.#now = new Records(this.#spare);
    this.#passed = new Records(this.#spare);
    this.#passedAt = [];
    this.#old = 0;
    // Of a walk of fewer descriptors many are left.
    this.#spare.length = Math.min(this.#spare.length, 1);
    const gone = this.#touched.tell(this.#before, tell);
    if (!complete) return [];
    this.#touched = new Touched();
    return gone;
  }

  #see(words: Int32Array, at: number): void {
    const before = this.#before;
    let order = 1;
    while (this.#old < before.size) {
      order = compare(before.chunk(this.#old), offset(this.#old), words, at);
      if (order >= 0) break;
      order = 1;
      this.#pass();
    }
    const isSameDescriptor = order === 0;
    if (!isSameDescriptor || !isAlike(before.chunk(this.#old), offset(this.#old), words, at)) {
      this.#touched.add(words, at);
      if (isSameDescriptor) this.#touched.add(before.chunk(this.#old), offset(this.#old));
    }
    if (isSameDescriptor) this.#leaveOld();
    this.#now.add(words, at);
  }

  #pass(): void {
    this.#passed.add(this.#before.chunk(this.#old), offset(this.#old));
    this.#passedAt.push(this.#now.size);
    this.#leaveOld();
  }

  #leaveOld(): void {
    this.#old += 1;
    if (this.#old % CHUNK_RECORDS === 0) this.#before.letGoBefore(this.#old);
  }

  /** Each where it was. */
  #keepPassed(): void {
    const shown = this.#now;
    this.#now = new Records(this.#spare);
    let passed = 0;
    const keepUpTo = (at: number): void => {
      for (; passed < this.#passed.size && (this.#passedAt[passed] as number) <= at; passed++)
        this.#now.add(this.#passed.chunk(passed), offset(passed));
    };
    for (let i = 0; i < shown.size; i++) {
      keepUpTo(i);
      this.#now.add(shown.chunk(i), offset(i));
    }
    keepUpTo(shown.size);
  }
}

/** The sockets of records that one of two walks has and the other has not. */
class Touched {
  readonly #ids = new Set<SocketId>();
  /** halves of their addresses: of most records these tell already that it is of none of them */
  readonly #halves = new Set<number>();

  add(words: Int32Array, at: number): void {
    this.#ids.add(socketOf(words, at));
    this.#halves.add(words[at + SOCKET] as number);
  }

  /** Tells their records of a walk. @returns those that have none there */
  tell(walk: Records, tell: (records: Uint8Array) => void): SocketId[] {
    if (this.#ids.size === 0) return [];
    const gone = new Set(this.#ids);
    const part = new Int32Array(Math.min(CHUNK_WORDS, walk.size * WORDS));
    let used = 0;
    const tellPart = (): void => {
      if (used > 0) tell(new Uint8Array(part.buffer, 0, 4 * used));
      used = 0;
    };
    for (let i = 0; i < walk.size; i++) {
      const [words, at] = [walk.chunk(i), offset(i)];
      if (!this.#halves.has(words[at + SOCKET] as number)) continue;
      const id = socketOf(words, at);
      if (!this.#ids.has(id)) continue;
      gone.delete(id);
      part.set(words.subarray(at, at + WORDS), used);
      used += WORDS;
      if (used === part.length) tellPart();
    }
    tellPart();
    return [...gone];
  }
}

/** Records of bpf/records.h as they came, in 32-bit words: in chunks, since one array would be copied as it grows. */
class Records {
  readonly #chunks: Int32Array[] = [];
  readonly #spare: Int32Array[];
  #size = 0;

  /** @param spare chunks that others have let go of: used again, since garbage lies about until it is collected */
  constructor(spare: Int32Array[]) {
    this.#spare = spare;
  }

  get size(): number {
    return this.#size;
  }

  /** The words among which record `i` is, from `offset(i)` on. */
  chunk(i: number): Int32Array {
    return this.#chunks[Math.floor(i / CHUNK_RECORDS)] as Int32Array;
  }

  add(words: Int32Array, at: number): void {
    if (this.#size % CHUNK_RECORDS === 0) this.#chunks.push(this.#spare.pop() ?? new Int32Array(CHUNK_WORDS));
    const chunk = this.chunk(this.#size);
    const to = offset(this.#size);
    for (let word = 0; word < WORDS; word++) chunk[to + word] = words[at + word] as number;
    this.#size += 1;
  }

  /** The chunk of the record before `i` is not asked for any more. */
  letGoBefore(i: number): void {
    const last = Math.floor((i - 1) / CHUNK_RECORDS);
    this.#spare.push(this.#chunks[last] as Int32Array);
    this.#chunks[last] = NOTHING;
  }
}

const NOTHING = new Int32Array(0);

/** Where in its chunk a record begins. */
function offset(i: number): number {
  return (i % CHUNK_RECORDS) * WORDS;
}

function socketOf(words: Int32Array, at: number): SocketId {
  const record = new DataView(words.buffer, words.byteOffset + 4 * at, HOLDER_RECORD.size);
  return socketIdOf(record, HOLDER_RECORD.fields.sk[0], HOLDER_RECORD.fields.birth_ns[0]);
}

/** In the order in which a walk shows descriptors. Where it does not, what is unchanged may count as changed. */
function compare(a: Int32Array, i: number, b: Int32Array, j: number): number {
  const tgid = (a[i + TGID] as number) - (b[j + TGID] as number);
  return tgid !== 0 ? tgid : (a[i + FD] as number) - (b[j + FD] as number);
}

function isAlike(a: Int32Array, i: number, b: Int32Array, j: number): boolean {
  for (let word = 0; word < WORDS; word++) if (a[i + word] !== b[j + word]) return false;
  return true;
}
