/**
 * The living sockets, by address: the kernel has one at an address at a time. There may be a million, so each fact is a
 * column of numbers: some 110 bytes a socket, of which the garbage collector has to look at two references.
 */
import { AddressRows, type NumberColumn, packed } from './address-rows.ts';
import { BlockSums } from './block-sums.ts';
import { type KindCount, kindsOf, type SocketEntry, type Traits } from './entry.ts';
import { type Address, formatAddress, type Instant, parseInstant } from './identity.ts';
import { type SuspectSum, sumSuspects } from './suspect-sums.ts';
import { type Tally, tallySuspects } from './suspects.ts';
import type { ProcessId, Thresholds } from './types.ts';

const FROM_START = 1;
/** bytes were counted once at least */
const IS_COUNTED = 2;

/** What is put into the table, and what is not told of a socket but known of it. */
export type NewSocket = Omit<SocketEntry, 'address' | 'endedMs'> & { address: Address; version: Instant };

export class SocketTable {
  readonly #rows = new AddressRows();
  readonly #columns = new Columns(this.#rows.capacity);
  #talliedMinAgeMs = Number.NaN;
  #summedMs = Number.NEGATIVE_INFINITY;
  #summedThresholds: Thresholds | null = null;

  get size(): number {
    return this.#rows.size;
  }

  /** Undefined when there is none at this address. */
  get(address: Address): SocketRow | undefined {
    const row = this.#rows.find(address);
    return row < 0 ? undefined : new SocketRow(this.#rows, this.#columns, row);
  }

  /** Puts a socket at its address, in the place of another that was there. */
  put(socket: NewSocket): void {
    let row = this.#rows.find(socket.address);
    if (row < 0) {
      const kept = this.#rows.makeRoom();
      if (kept !== null) this.#columns.pack(kept, this.#rows.capacity);
      row = this.#rows.add(socket.address);
    }
    this.#columns.put(row, socket);
  }

  delete(address: Address): void {
    const row = this.#rows.find(address);
    if (row < 0) return;
    this.#rows.remove(row);
    this.#columns.clear(row);
  }

  /** In the order in which their addresses came. Each is valid until the table is changed. */
  *entries(from = 0, to = this.#rows.end): Generator<SocketRow> {
    for (let row = from; row < to; row++) if (this.#rows.has(row)) yield new SocketRow(this.#rows, this.#columns, row);
  }

  /** Those of which nobody has said yet who holds them. */
  *unconfirmed(): Generator<SocketRow> {
    for (let row = 0; row < this.#rows.end; row++) {
      if (this.#columns.holders[row] !== null || !this.#rows.has(row)) continue;
      yield new SocketRow(this.#rows, this.#columns, row);
    }
  }

  /**
   * How many suspects there are, of each sort in one or more parts. Cheap where most have been some for long.
   * @param nowMs never less than the last time
   */
  tallySuspects(nowMs: number, minAgeMs: number): Tally[] {
    if (minAgeMs !== this.#talliedMinAgeMs) this.#columns.tallies.allChanged();
    this.#talliedMinAgeMs = minAgeMs;
    const tallyOf = (from: number, to: number): { sum: Tally[]; lasts: boolean } => {
      const { tallies, young } = tallySuspects(this.entries(from, to), nowMs, minAgeMs);
      return { sum: tallies, lasts: !young };
    };
    return this.#columns.tallies.of(this.#rows.end, tallyOf).flat();
  }

  /** The suspects at a time, in sums: see sumSuspects(). Cheap where most have been some for long. */
  suspectSums(nowMs: number, thresholds: Thresholds): SuspectSum[] {
    // Sums last towards later times only.
    if (nowMs < this.#summedMs || thresholds !== this.#summedThresholds) this.#columns.suspects.allChanged();
    this.#summedMs = nowMs;
    this.#summedThresholds = thresholds;
    const sumOf = (from: number, to: number): { sum: SuspectSum[]; lasts: boolean } => {
      const { sums, lasts } = sumSuspects(this.entries(from, to), nowMs, thresholds);
      return { sum: sums, lasts };
    };
    return this.#columns.suspects.of(this.#rows.end, sumOf).flat();
  }

  /** How many there are of each kind, in parts. Cheap where few have changed. */
  kinds(): KindCount[] {
    const sumOf = (from: number, to: number) => ({ sum: kindsOf(this.entries(from, to)), lasts: true });
    return this.#columns.kinds.of(this.#rows.end, sumOf).flat();
  }
}

/** One socket of the table: reads and writes its columns. Not to be kept, since rows move when sockets come. */
export class SocketRow implements SocketEntry {
  readonly #rows: AddressRows;
  readonly #columns: Columns;
  readonly row: number;

  constructor(rows: AddressRows, columns: Columns, row: number) {
    this.#rows = rows;
    this.#columns = columns;
    this.row = row;
  }

  get address(): string {
    return formatAddress(this.#rows.of(this.row));
  }

  get birthSeconds(): number {
    return this.#columns.birthSeconds[this.row] as number;
  }

  get birthNanoseconds(): number {
    return this.#columns.birthNanoseconds[this.row] as number;
  }

  /** Of the facts that it was last given. */
  get version(): Instant {
    return {
      seconds: this.#columns.versionSeconds[this.row] as number,
      nanoseconds: this.#columns.versionNanoseconds[this.row] as number,
    };
  }

  set version({ seconds, nanoseconds }: Instant) {
    this.#columns.versionSeconds[this.row] = seconds;
    this.#columns.versionNanoseconds[this.row] = nanoseconds;
  }

  get traits(): Traits {
    return this.#columns.traits[this.row] as Traits;
  }

  set traits(traits: Traits) {
    if (traits === this.#columns.traits[this.row]) return;
    this.#columns.traits[this.row] = traits;
    this.#columns.kindChanged(this.row);
  }

  get sinceMs(): number {
    return this.#columns.sinceMs[this.row] as number;
  }

  get port(): number {
    return this.#columns.port[this.row] as number;
  }

  set port(port: number) {
    if (port === this.#columns.port[this.row]) return;
    this.#columns.port[this.row] = port;
    this.#columns.suspects.changed(this.row);
  }

  get fromStart(): boolean {
    return ((this.#columns.flags[this.row] as number) & FROM_START) !== 0;
  }

  get endedMs(): null {
    return null;
  }

  get holders(): readonly ProcessId[] | null {
    return this.#columns.holders[this.row] ?? null;
  }

  get fd(): number {
    return this.#columns.fd[this.row] as number;
  }

  get inode(): number {
    return this.#columns.inode[this.row] as number;
  }

  get movedMs(): number | null {
    const movedMs = this.#columns.movedMs[this.row] as number;
    return Number.isNaN(movedMs) ? null : movedMs;
  }

  /** It has become of another kind: it is no longer what it was from the start, and what moved was in the other kind. */
  enterKind(sinceMs: number): void {
    this.#columns.kindChanged(this.row);
    this.#columns.sinceMs[this.row] = sinceMs;
    this.#columns.flags[this.row] = (this.#columns.flags[this.row] as number) & IS_COUNTED;
    this.#columns.movedMs[this.row] = Number.NaN;
  }

  /** Who has a descriptor for it, and one of these; `fd` is below zero where there is none. */
  hold(holders: readonly ProcessId[], fd: number, inode: number): void {
    if ((this.holders?.length === 0) !== (holders.length === 0)) this.#columns.kindChanged(this.row);
    else this.#columns.suspects.changed(this.row);
    this.#columns.holders[this.row] = holders;
    this.#columns.fd[this.row] = fd;
    this.#columns.inode[this.row] = inode;
  }

  /**
   * Takes a count of all bytes moved, decimal. The first is only the base line: it does not tell when these moved.
   * @param atMs null: of what has moved since the count before it does not matter when
   */
  move(bytes: string, atMs: number | null): void {
    const columns = this.#columns;
    // Of up to twenty digits, as an instant has them.
    const { seconds, nanoseconds } = parseInstant(bytes);
    const isAnother = columns.bytesHigh[this.row] !== seconds || columns.bytesLow[this.row] !== nanoseconds;
    const flags = columns.flags[this.row] as number;
    if ((flags & IS_COUNTED) !== 0 && isAnother && atMs !== null) {
      columns.movedMs[this.row] = atMs;
      columns.suspects.changed(this.row);
    }
    columns.flags[this.row] = flags | IS_COUNTED;
    columns.bytesHigh[this.row] = seconds;
    columns.bytesLow[this.row] = nanoseconds;
  }
}

class Columns {
  birthSeconds: Float64Array;
  birthNanoseconds: Uint32Array;
  versionSeconds: Float64Array;
  versionNanoseconds: Uint32Array;
  sinceMs: Float64Array;
  port: Uint16Array;
  flags: Uint8Array;
  fd: Float64Array;
  inode: Float64Array;
  /** billions of bytes, and the rest */
  bytesHigh: Float64Array;
  bytesLow: Float64Array;
  /** NaN while none were seen to move */
  movedMs: Float64Array;
  /** shared: see TraitsTable */
  traits: (Traits | undefined)[] = [];
  /** shared by those that one walk saw with the same holders */
  holders: (readonly ProcessId[] | null)[] = [];
  readonly tallies = new BlockSums<Tally[]>();
  readonly suspects = new BlockSums<SuspectSum[]>();
  readonly kinds = new BlockSums<KindCount[]>();

  constructor(capacity: number) {
    this.birthSeconds = new Float64Array(capacity);
    this.birthNanoseconds = new Uint32Array(capacity);
    this.versionSeconds = new Float64Array(capacity);
    this.versionNanoseconds = new Uint32Array(capacity);
    this.sinceMs = new Float64Array(capacity);
    this.port = new Uint16Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.fd = new Float64Array(capacity);
    this.inode = new Float64Array(capacity);
    this.bytesHigh = new Float64Array(capacity);
    this.bytesLow = new Float64Array(capacity);
    this.movedMs = new Float64Array(capacity);
  }

  put(row: number, socket: NewSocket): void {
    this.birthSeconds[row] = socket.birthSeconds;
    this.birthNanoseconds[row] = socket.birthNanoseconds;
    this.versionSeconds[row] = socket.version.seconds;
    this.versionNanoseconds[row] = socket.version.nanoseconds;
    this.sinceMs[row] = socket.sinceMs;
    this.port[row] = socket.port;
    this.flags[row] = socket.fromStart ? FROM_START : 0;
    this.fd[row] = socket.fd;
    this.inode[row] = socket.inode;
    this.movedMs[row] = socket.movedMs ?? Number.NaN;
    this.traits[row] = socket.traits;
    this.holders[row] = socket.holders;
    this.kindChanged(row);
  }

  /** Lets go of what others may still have. */
  clear(row: number): void {
    this.traits[row] = undefined;
    this.holders[row] = null;
    this.kindChanged(row);
  }

  /** This row may be of another kind, or in it for another time. */
  kindChanged(row: number): void {
    this.tallies.changed(row);
    this.suspects.changed(row);
    this.kinds.changed(row);
  }

  /** Keeps these rows, in this order. */
  pack(kept: Uint32Array, capacity: number): void {
    const column = <C extends NumberColumn>(old: C): C => packed(old, kept, capacity);
    this.birthSeconds = column(this.birthSeconds);
    this.birthNanoseconds = column(this.birthNanoseconds);
    this.versionSeconds = column(this.versionSeconds);
    this.versionNanoseconds = column(this.versionNanoseconds);
    this.sinceMs = column(this.sinceMs);
    this.port = column(this.port);
    this.flags = column(this.flags);
    this.fd = column(this.fd);
    this.inode = column(this.inode);
    this.bytesHigh = column(this.bytesHigh);
    this.bytesLow = column(this.bytesLow);
    this.movedMs = column(this.movedMs);
    this.traits = Array.from(kept, (row) => this.traits[row]);
    this.holders = Array.from(kept, (row) => this.holders[row] ?? null);
    this.tallies.allChanged();
    this.suspects.allChanged();
    this.kinds.allChanged();
  }
}
