/** Records of bpf/census_records.h as facts. */
import {
  CENSUS_WAYS,
  type Census,
  type CensusHolder,
  type CensusSocket,
  type CensusWay,
  type Minisock,
} from '../accounting/census.ts';
import { errnoName } from '../ledger/errno.ts';
import type { Endpoint, ProcessId, TcpState } from '../ledger/types.ts';
import { processIdFor } from '../procfs/process.ts';
import { formatAddress } from './address.ts';
import { tcpState } from './decode.ts';
import { CENSUS_DESCRIPTOR, CENSUS_MINISOCK, CENSUS_RECORD } from './layout.ts';

const US_PER_MS = 1000;
const AF_INET6 = 10;
/** enum census_way */
const WAY_DESCRIPTOR = 1;
/** enum census_flag */
const FLAG_DEAD = 1;
const FLAG_HAS_SOCKET = 2;
const FLAG_HAS_FILE = 4;
const FLAG_WAS_CONNECTED = 8;

/**
 * The sockets of a census, each with its holders. A socket in a state that no kernel has is a broken record: thrown.
 *
 * A snapshot runs this once, over very many records, before anything of it is compiled: what is done for each of them is
 * loops over numbers.
 */
export function decodeCensusSockets(
  rows: Uint8Array,
  descriptors: Uint8Array,
  bootId: string,
): Pick<Census, 'sockets' | 'alike'> {
  const words = wordsOf(rows);
  const holders = new Holders(words, wordsOf(descriptors), bootId);
  const view = new DataView(words.buffer, words.byteOffset, words.byteLength);
  const sockets: CensusRecord[] = [];
  const alike = new Alike(words, holders);
  const groups: CensusRecord[][] = [];
  for (let row = 0; row < holders.count; row++) {
    const socket = new CensusRecord(view, row, holders);
    const group = alike.groupOf(row);
    sockets.push(socket);
    const others = groups[group];
    if (others === undefined) groups.push([socket]);
    else others.push(socket);
  }
  return {
    sockets,
    alike: groups.flatMap((group) => (group[0] === undefined ? [] : [{ one: group[0], sockets: group }])),
  };
}

/** Of whole records; numbers are as this machine has them, which is the kernel's. */
function wordsOf(records: Uint8Array): Uint32Array {
  const aligned = records.byteOffset % WORD === 0 ? records : new Uint8Array(records);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / WORD));
}

/** TIME_WAIT sockets and connection requests. */
export function decodeMinisocks(records: Uint8Array): Minisock[] {
  const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
  const minisocks: Minisock[] = [];
  for (let at = 0; at + CENSUS_MINISOCK.size <= records.byteLength; at += CENSUS_MINISOCK.size)
    minisocks.push(new MinisockRecord(view, at));
  return minisocks;
}

const PLACE = CENSUS_RECORD.fields;
const MINISOCK = CENSUS_MINISOCK.fields;

/**
 * A socket, read from its record where it is asked for: of a hundred thousand sockets a report counts all by a few
 * fields, and shows the rest of a few.
 */
class CensusRecord implements CensusSocket {
  readonly #view: DataView;
  readonly #at: number;
  readonly #row: number;
  readonly #table: Holders;
  #holders: readonly CensusHolder[] | undefined;

  constructor(view: DataView, row: number, holders: Holders) {
    this.#view = view;
    this.#at = row * CENSUS_RECORD.size;
    this.#row = row;
    this.#table = holders;
  }

  get holders(): readonly CensusHolder[] {
    this.#holders ??= this.#table.of(this.#row);
    return this.#holders;
  }

  get address(): string {
    return hexadecimal(this.#view, this.#at + PLACE.sk[0]);
  }

  get inode(): string | null {
    const inode = this.#number('inode');
    if (inode === 0) return null;
    return String(Number.isSafeInteger(inode) ? inode : this.#u64('inode'));
  }

  get ways(): CensusWay[] {
    const ways = this.#u8('ways');
    return CENSUS_WAYS.filter((_, bit) => (ways & (1 << bit)) !== 0);
  }

  get closed(): boolean {
    return (this.#u8('flags') & FLAG_DEAD) !== 0;
  }

  get hasSocket(): boolean {
    return (this.#u8('flags') & FLAG_HAS_SOCKET) !== 0;
  }

  get hasFile(): boolean {
    return (this.#u8('flags') & FLAG_HAS_FILE) !== 0;
  }

  get via(): string | null {
    const [listener, inode] = [this.#u64('via_sk'), this.#u64('via_inode')];
    return listener !== 0n ? listener.toString(16) : inode !== 0n ? String(inode) : null;
  }

  get state(): TcpState {
    return tcpState(this.#u8('state'));
  }

  get family(): 4 | 6 {
    return familyOf(this.#u8('family'));
  }

  get port(): number | null {
    const port = this.#u16('local_port');
    return port === 0 ? null : port;
  }

  get local(): Endpoint {
    return { address: this.#address('local_address'), port: this.#u16('local_port') };
  }

  get peer(): Endpoint {
    return { address: this.#address('peer_address'), port: this.#u16('peer_port') };
  }

  get netns(): number {
    return this.#u32('netns');
  }

  get uid(): number {
    return this.#u32('uid');
  }

  get error(): string | null {
    const error = this.#u16('error');
    return error === 0 ? null : errnoName(error);
  }

  get receiveQueue(): number {
    return this.#u32('receive_queue');
  }

  get sendQueue(): number {
    return this.#u32('send_queue');
  }

  get memory(): number {
    return this.#u32('memory');
  }

  get hasUnread(): boolean {
    return this.receiveQueue > END_OF_STREAM && this.memory > 0;
  }

  get activeMs(): number | null {
    const activeUs = this.#number('active_us');
    return activeUs === 0 ? null : activeUs / US_PER_MS;
  }

  get wasEstablished(): boolean {
    return (this.#u8('flags') & FLAG_WAS_CONNECTED) !== 0;
  }

  get hasSent(): boolean {
    return this.#u32('segments_out') > 0;
  }

  get bytesMoved(): string {
    return String(this.#u64('bytes_received') + this.#u64('bytes_acked'));
  }

  #address(field: 'local_address' | 'peer_address'): string {
    return addressAt(this.#view, this.#at + PLACE[field][0], this.family);
  }

  /** rounds beyond 2^53 */
  #number(field: keyof typeof PLACE): number {
    const at = this.#at + PLACE[field][0];
    return this.#view.getUint32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
  }

  #u64(field: keyof typeof PLACE): bigint {
    return this.#view.getBigUint64(this.#at + PLACE[field][0], true);
  }

  #u32(field: keyof typeof PLACE): number {
    return this.#view.getUint32(this.#at + PLACE[field][0], true);
  }

  #u16(field: keyof typeof PLACE): number {
    return this.#view.getUint16(this.#at + PLACE[field][0], true);
  }

  #u8(field: keyof typeof PLACE): number {
    return this.#view.getUint8(this.#at + PLACE[field][0]);
  }
}

const WORD = 4;
const ROW_WORDS = CENSUS_RECORD.size / WORD;
const DESCRIPTOR_WORDS = CENSUS_DESCRIPTOR.size / WORD;

/** The place of a number of 32 bits, or of the low half of one of 64. */
function wordOf([offset]: readonly [number, number]): number {
  return Math.floor(offset / WORD);
}

const ROW = {
  sk: wordOf(PLACE.sk),
  inode: wordOf(PLACE.inode),
  segmentsOut: wordOf(PLACE.segments_out),
  netns: wordOf(PLACE.netns),
  receiveQueue: wordOf(PLACE.receive_queue),
  memory: wordOf(PLACE.memory),
  /** in the low half */
  localPort: wordOf(PLACE.local_port),
  /** in the high half */
  error: wordOf(PLACE.error),
  /** family, state, ways and flags, a byte each */
  signs: wordOf(PLACE.family),
} as const;

const DESCRIPTOR = {
  sk: wordOf(CENSUS_DESCRIPTOR.fields.sk),
  inode: wordOf(CENSUS_DESCRIPTOR.fields.inode),
  startNs: wordOf(CENSUS_DESCRIPTOR.fields.start_ns),
  tgid: wordOf(CENSUS_DESCRIPTOR.fields.tgid),
  fd: wordOf(CENSUS_DESCRIPTOR.fields.fd),
} as const;

/** What a sum asks of the numbers of a socket. */
const HOLDS_PORT = 1;
const HAS_SENT = 2;
const HAS_UNREAD = 4;
/** It counts as one byte of a receive queue. */
const END_OF_STREAM = 1;

/** Numbers the groups of sockets that are alike, in the order in which they are met: see AlikeSockets. */
class Alike {
  readonly #words: Uint32Array;
  readonly #holders: Holders;
  /** by what they have in common, mixed; the others of the same mixture follow */
  readonly #firstGroup = new Map<number, number>();
  readonly #nextGroup: number[] = [];
  /** of each group: what the first of it has */
  readonly #firstRow: number[] = [];
  readonly #owners: number[] = [];
  readonly #facts: number[] = [];

  constructor(words: Uint32Array, holders: Holders) {
    this.#words = words;
    this.#holders = holders;
  }

  groupOf(row: number): number {
    const words = this.#words;
    const at = row * ROW_WORDS;
    const owners = this.#holders.ownersOf(row);
    const signs = words[at + ROW.signs] ?? 0;
    const netns = words[at + ROW.netns] ?? 0;
    const facts = factsAt(words, at);
    const mixed = Math.imul(owners, 0x9e37_79b1) ^ Math.imul(netns, 0x85eb_ca6b) ^ signs ^ (facts << 8);
    const first = this.#firstGroup.get(mixed);
    for (let group = first; group !== undefined; group = this.#nextGroup[group]) {
      const other = (this.#firstRow[group] ?? 0) * ROW_WORDS;
      if (
        this.#owners[group] === owners &&
        this.#facts[group] === facts &&
        words[other + ROW.signs] === signs &&
        words[other + ROW.netns] === netns
      )
        return group;
    }
    tcpState((signs >>> 8) & 0xff);
    const group = this.#firstRow.length;
    this.#firstGroup.set(mixed, group);
    if (first !== undefined) this.#nextGroup[group] = first;
    this.#firstRow.push(row);
    this.#owners.push(owners);
    this.#facts.push(facts);
    return group;
  }
}

function factsAt(words: Uint32Array, at: number): number {
  let facts = (words[at + ROW.error] ?? 0) & 0xffff_0000;
  if (((words[at + ROW.localPort] ?? 0) & 0xffff) !== 0) facts |= HOLDS_PORT;
  if (words[at + ROW.segmentsOut] !== 0) facts |= HAS_SENT;
  if ((words[at + ROW.receiveQueue] ?? 0) > END_OF_STREAM && words[at + ROW.memory] !== 0) facts |= HAS_UNREAD;
  return facts;
}

const NOBODY = -1;
const NOWHERE = -1;

/**
 * Who holds the sockets, by the number of their record. Nearly all have one holder: two numbers in tables. Each is there
 * once: threads with descriptor tables of their own show theirs again.
 */
class Holders {
  /** records of sockets */
  readonly count: number;
  readonly #processes: { process: ProcessId; pid: number }[] = [];
  /** the first holder's place in #processes, NOBODY for none, and its descriptor */
  readonly #first: Int32Array;
  readonly #fds: Int32Array;
  /** beyond the first of each socket */
  readonly #further = new Map<number, CensusHolder[]>();
  readonly #seenFurther = new Set<string>();
  /** lists of several processes, numbered down from NOBODY */
  readonly #lists = new Map<string, number>();

  constructor(rows: Uint32Array, descriptors: Uint32Array, bootId: string) {
    this.count = Math.floor(rows.length / ROW_WORDS);
    this.#first = new Int32Array(this.count).fill(NOBODY);
    this.#fds = new Int32Array(this.count);
    this.#join(rows, descriptors, bootId);
  }

  of(row: number): CensusHolder[] {
    const first = this.#first[row] ?? NOBODY;
    if (first === NOBODY) return [];
    return [this.#holder(first, this.#fds[row] ?? 0), ...(this.#further.get(row) ?? [])];
  }

  /** A number that sockets of the same processes share, and others do not. */
  ownersOf(row: number): number {
    const further = this.#further.size === 0 ? undefined : this.#further.get(row);
    if (further === undefined) return this.#first[row] ?? NOBODY;
    const key = this.of(row)
      .map(({ process }) => process)
      .join();
    const known = this.#lists.get(key) ?? NOBODY - 1 - this.#lists.size;
    this.#lists.set(key, known);
    return known;
  }

  #join(rows: Uint32Array, descriptors: Uint32Array, bootId: string): void {
    const slots = placesByAddress(rows, this.count);
    const mask = slots.length - 1;
    const byInode = placesByInode(rows, this.count);
    const processAt = this.#decodeProcess(descriptors, bootId);
    for (let at = 0; at + DESCRIPTOR_WORDS <= descriptors.length; at += DESCRIPTOR_WORDS) {
      const process = processAt(at);
      const fd = descriptors[at + DESCRIPTOR.fd] ?? 0;
      const low = descriptors[at + DESCRIPTOR.sk] ?? 0;
      const high = descriptors[at + DESCRIPTOR.sk + 1] ?? 0;
      const inode = descriptors[at + DESCRIPTOR.inode] ?? 0;
      const inodeHigh = descriptors[at + DESCRIPTOR.inode + 1] ?? 0;
      for (let slot = slotOf(low, high) & mask; slots[slot] !== NOWHERE; slot = (slot + 1) & mask) {
        const row = slots[slot] ?? NOWHERE;
        const place = row * ROW_WORDS;
        if (rows[place + ROW.sk] !== low || rows[place + ROW.sk + 1] !== high) continue;
        const its = rows[place + ROW.inode];
        const itsHigh = rows[place + ROW.inode + 1];
        // Its address may have become another socket's after the descriptor was seen.
        if ((its === inode && itsHigh === inodeHigh) || (its === 0 && itsHigh === 0)) this.#add(row, process, fd);
        break;
      }
      if (byInode.size > 0)
        for (const row of byInode.get(numberOf(inode, inodeHigh)) ?? []) this.#add(row, process, fd);
    }
  }

  #add(row: number, process: number, fd: number): void {
    const first = this.#first[row];
    if (first === NOBODY) {
      this.#first[row] = process;
      this.#fds[row] = fd;
      return;
    }
    if (first === process && this.#fds[row] === fd) return;
    const key = `${process}:${fd}:${row}`;
    if (this.#seenFurther.has(key)) return;
    this.#seenFurther.add(key);
    const further = this.#further.get(row);
    if (further === undefined) this.#further.set(row, [this.#holder(process, fd)]);
    else further.push(this.#holder(process, fd));
  }

  #holder(process: number, fd: number): CensusHolder {
    const { process: id = '', pid = 0 } = this.#processes[process] ?? {};
    return { process: id, pid, fd };
  }

  /** @returns what tells the place in #processes of a descriptor's process */
  #decodeProcess(descriptors: Uint32Array, bootId: string): (at: number) => number {
    const known = new Map<ProcessId, number>();
    // The descriptors of a process follow each other.
    let [pid, low, high, index] = [-1, 0, 0, 0];
    return (at) => {
      const itsPid = descriptors[at + DESCRIPTOR.tgid] ?? 0;
      const itsLow = descriptors[at + DESCRIPTOR.startNs] ?? 0;
      const itsHigh = descriptors[at + DESCRIPTOR.startNs + 1] ?? 0;
      if (itsPid === pid && itsLow === low && itsHigh === high) return index;
      [pid, low, high] = [itsPid, itsLow, itsHigh];
      const process = processIdFor(bootId, pid, (BigInt(high) << 32n) | BigInt(low));
      index = known.get(process) ?? this.#processes.length;
      if (index === this.#processes.length) {
        known.set(process, index);
        this.#processes.push({ process, pid });
      }
      return index;
    };
  }
}

/**
 * A hash table of the numbers of the records, by address: a record is at slotOf() its address, or at the next place that
 * was free; NOWHERE is in the others. (A Map would make an object of each address, which is beyond small numbers.)
 */
function placesByAddress(rows: Uint32Array, count: number): Int32Array {
  const slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * count + 1))).fill(NOWHERE);
  const mask = slots.length - 1;
  for (let row = 0; row < count; row++) {
    const at = row * ROW_WORDS + ROW.sk;
    let slot = slotOf(rows[at] ?? 0, rows[at + 1] ?? 0) & mask;
    while (slots[slot] !== NOWHERE) slot = (slot + 1) & mask;
    slots[slot] = row;
  }
  return slots;
}

/** Of those that no descriptor leads to by their address: further TCP socks of one MPTCP socket. */
function placesByInode(rows: Uint32Array, count: number): Map<number, number[]> {
  const found = new Map<number, number[]>();
  for (let row = 0; row < count; row++) {
    const at = row * ROW_WORDS;
    if ((((rows[at + ROW.signs] ?? 0) >>> 16) & WAY_DESCRIPTOR) !== 0) continue;
    const inode = numberOf(rows[at + ROW.inode] ?? 0, rows[at + ROW.inode + 1] ?? 0);
    if (inode === 0) continue;
    const others = found.get(inode);
    if (others === undefined) found.set(inode, [row]);
    else others.push(row);
  }
  return found;
}

/** Socks are of a size, in pages: their addresses differ in the middle. */
function slotOf(low: number, high: number): number {
  const mixed = Math.imul((low >>> 6) ^ high, 0x9e37_79b1);
  return mixed ^ (mixed >>> 15);
}

/** The low 53 bits of a 64-bit number, which a number holds exactly. */
function numberOf(low: number, high: number): number {
  return (high & 0x1f_ffff) * 2 ** 32 + low;
}

/** Bytes as text, to spare the conversion of large numbers. */
const HEXADECIMAL = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

function hexadecimal(view: DataView, at: number): string {
  let top = 7;
  while (top > 0 && view.getUint8(at + top) === 0) top -= 1;
  let text = view.getUint8(at + top).toString(16);
  for (let i = top - 1; i >= 0; i--) text += HEXADECIMAL[view.getUint8(at + i)];
  return text;
}

/** As CensusRecord: a host may have tens of thousands, of which ports alone are counted. */
class MinisockRecord implements Minisock {
  readonly #view: DataView;
  readonly #at: number;
  readonly netns: number;
  readonly state: Minisock['state'];
  readonly port: number;

  constructor(view: DataView, at: number) {
    const state = tcpState(view.getUint8(at + MINISOCK.state[0]));
    if (state !== 'TIME_WAIT' && state !== 'NEW_SYN_RECV') throw new RangeError(`a minisock in state ${state}`);
    this.#view = view;
    this.#at = at;
    this.netns = view.getUint32(at + MINISOCK.netns[0], true);
    this.state = state;
    this.port = view.getUint16(at + MINISOCK.local_port[0], true);
  }

  get family(): 4 | 6 {
    return familyOf(this.#view.getUint8(this.#at + MINISOCK.family[0]));
  }

  get local(): Endpoint {
    return { address: this.#address('local_address'), port: this.port };
  }

  get peer(): Endpoint {
    return {
      address: this.#address('peer_address'),
      port: this.#view.getUint16(this.#at + MINISOCK.peer_port[0], true),
    };
  }

  #address(field: 'local_address' | 'peer_address'): string {
    return addressAt(this.#view, this.#at + MINISOCK[field][0], this.family);
  }
}

function familyOf(number: number): 4 | 6 {
  return number === AF_INET6 ? 6 : 4;
}

/** Most sockets of a leak have none: reading four zeros is cheaper than making text of them. */
function addressAt(view: DataView, at: number, family: 4 | 6): string {
  const some = view.getUint32(at) | view.getUint32(at + 4) | view.getUint32(at + 8) | view.getUint32(at + 12);
  if (some === 0) return family === 4 ? '0.0.0.0' : '::';
  return formatAddress(new Uint8Array(view.buffer, view.byteOffset + at, 16), family);
}
