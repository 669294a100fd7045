/**
 * Gives addresses the rows of a table: numbers from 0 in the order of their arrival, for columns to be indexed by. Twenty
 * bytes an address, where a Map of texts takes a hundred, and none of them the garbage collector's.
 */
import type { Address } from './identity.ts';

const FEWEST = 64;
/** Cells of the index a row: with at least half of them empty, what is looked for is found at once. */
const CELLS = 2;

export class AddressRows {
  #capacity = FEWEST;
  #high = new Uint32Array(FEWEST);
  #low = new Uint32Array(FEWEST);
  /** 0 where the address was removed: a hole, until the rows are packed */
  #taken = new Uint8Array(FEWEST);
  #end = 0;
  #size = 0;
  /** by hash, and from there on: 1 + the row; 0 for none */
  #cells = new Int32Array(CELLS * FEWEST);
  /** Recordings may come from anyone: without it, addresses could be chosen that all hash alike. */
  readonly #seed = Math.floor(Math.random() * 2 ** 32);

  /** Addresses there are. */
  get size(): number {
    return this.#size;
  }

  /** Rows that the columns need room for. */
  get capacity(): number {
    return this.#capacity;
  }

  /** No row is this or beyond; some below are holes. */
  get end(): number {
    return this.#end;
  }

  has(row: number): boolean {
    return this.#taken[row] === 1;
  }

  /** The address of a row. */
  of(row: number): Address {
    return { high: this.#high[row] as number, low: this.#low[row] as number };
  }

  /** Its row; -1 for none. */
  find({ high, low }: Address): number {
    const mask = this.#cells.length - 1;
    for (let cell = this.#hash(high, low) & mask; ; cell = (cell + 1) & mask) {
      const row = (this.#cells[cell] as number) - 1;
      if (row < 0 || (this.#high[row] === high && this.#low[row] === low)) return row;
    }
  }

  /** Gives an address that has none a row. Call makeRoom() before. */
  add(address: Address): number {
    const row = this.#end;
    this.#end += 1;
    this.#size += 1;
    this.#high[row] = address.high;
    this.#low[row] = address.low;
    this.#taken[row] = 1;
    this.#enter(row);
    return row;
  }

  /** The other rows stay where they are. */
  remove(row: number): void {
    const mask = this.#cells.length - 1;
    let hole = this.#hash(this.#high[row] as number, this.#low[row] as number) & mask;
    while (this.#cells[hole] !== row + 1) hole = (hole + 1) & mask;
    // What was entered behind it because its own cell was taken must still be found: it moves up.
    for (let cell = (hole + 1) & mask; this.#cells[cell] !== 0; cell = (cell + 1) & mask) {
      const next = (this.#cells[cell] as number) - 1;
      const home = this.#hash(this.#high[next] as number, this.#low[next] as number) & mask;
      if (((cell - home) & mask) < ((cell - hole) & mask)) continue;
      this.#cells[hole] = next + 1;
      hole = cell;
    }
    this.#cells[hole] = 0;
    this.#taken[row] = 0;
    this.#size -= 1;
  }

  /**
   * Sees to it that one more row can be added: where all are taken, by packing them or by more capacity.
   * @returns the rows that were kept, for the columns to be packed alike; null when nothing has moved
   */
  makeRoom(): Uint32Array | null {
    if (this.#end < this.#capacity) return null;
    const kept = new Uint32Array(this.#size);
    let count = 0;
    for (let row = 0; row < this.#end; row++) if (this.#taken[row] === 1) kept[count++] = row;
    this.#capacity = FEWEST;
    // A quarter must be free then: each row is moved a few times at most, on average.
    while (4 * this.#size > 3 * this.#capacity) this.#capacity *= 2;
    this.#high = packed(this.#high, kept, this.#capacity);
    this.#low = packed(this.#low, kept, this.#capacity);
    this.#taken = new Uint8Array(this.#capacity).fill(1, 0, this.#size);
    this.#end = this.#size;
    this.#cells = new Int32Array(CELLS * this.#capacity);
    for (let row = 0; row < this.#end; row++) this.#enter(row);
    return kept;
  }

  #enter(row: number): void {
    const mask = this.#cells.length - 1;
    let cell = this.#hash(this.#high[row] as number, this.#low[row] as number) & mask;
    while (this.#cells[cell] !== 0) cell = (cell + 1) & mask;
    this.#cells[cell] = row + 1;
  }

  #hash(high: number, low: number): number {
    return mixed(mixed(low ^ this.#seed) ^ high);
  }
}

export type NumberColumn = Uint8Array | Uint16Array | Uint32Array | Float64Array;

/** A column of `capacity` rows that begins with the rows `kept` of another. */
export function packed<Column extends NumberColumn>(column: Column, kept: Uint32Array, capacity: number): Column {
  const copy = new (column.constructor as new (length: number) => Column)(capacity);
  for (let row = 0; row < kept.length; row++) copy[row] = column[kept[row] as number] as number;
  return copy;
}

/** The finalizer of MurmurHash3: every bit of the number changes half the bits of this. */
function mixed(number: number): number {
  let hash = number;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
