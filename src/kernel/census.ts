/** Records of bpf/census_records.h as facts. */
import {
  CENSUS_WAYS,
  type CensusHolder,
  type CensusSocket,
  type CensusWay,
  type Minisock,
} from '../accounting/census.ts';
import { errnoName } from '../ledger/errno.ts';
import type { Endpoint, TcpState } from '../ledger/types.ts';
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

/** The sockets of a census, each with its holders. A socket in a state that no kernel has is a broken record: thrown. */
export function decodeCensusSockets(rows: Uint8Array, descriptors: Uint8Array, bootId: string): CensusSocket[] {
  const sockets = decode(rows, CENSUS_RECORD.size, (view, at) => new CensusRecord(view, at));
  const byAddress = new Map<number, CensusRecord>();
  // Further TCP socks of one MPTCP socket are reached by its inode alone.
  const byInode = new Map<number, CensusRecord[]>();
  for (const socket of sockets) {
    byAddress.set(socket.key, socket);
    if (socket.inodeKey !== 0 && !socket.byDescriptor)
      byInode.set(socket.inodeKey, [...(byInode.get(socket.inodeKey) ?? []), socket]);
  }
  const holders = new Holders();
  const holderAt = decodeHolder(bootId);
  forEachRecord(descriptors, CENSUS_DESCRIPTOR.size, (view, at) => {
    const socket = byAddress.get(lowBits(view, at + CENSUS_DESCRIPTOR.fields.sk[0]));
    const inode = lowBits(view, at + CENSUS_DESCRIPTOR.fields.inode[0]);
    const holder = holderAt(view, at);
    // Its address may have become another socket's after the descriptor was seen.
    if (socket !== undefined && (socket.inodeKey === inode || socket.inodeKey === 0)) holders.add(socket, holder);
    for (const other of byInode.get(inode) ?? []) holders.add(other, holder);
  });
  return sockets;
}

/** TIME_WAIT sockets and connection requests. */
export function decodeMinisocks(records: Uint8Array): Minisock[] {
  return decode(records, CENSUS_MINISOCK.size, decodeMinisock);
}

function decode<T>(bytes: Uint8Array, size: number, one: (view: DataView, at: number) => T): T[] {
  const all: T[] = [];
  forEachRecord(bytes, size, (view, at) => all.push(one(view, at)));
  return all;
}

function forEachRecord(bytes: Uint8Array, size: number, visit: (view: DataView, at: number) => void): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + size <= bytes.byteLength; at += size) visit(view, at);
}

const PLACE = CENSUS_RECORD.fields;
const NOBODY: readonly CensusHolder[] = [];

/**
 * A socket, read from its record where it is asked for: of a hundred thousand sockets a report counts all by a few
 * fields, and shows the rest of a few.
 */
class CensusRecord implements CensusSocket {
  readonly #view: DataView;
  readonly #at: number;
  readonly state: TcpState;
  holders: readonly CensusHolder[] = NOBODY;

  constructor(view: DataView, at: number) {
    this.#view = view;
    this.#at = at;
    this.state = tcpState(view.getUint8(at + PLACE.state[0]));
  }

  /** its address as a number: see lowBits() */
  get key(): number {
    return lowBits(this.#view, this.#at + PLACE.sk[0]);
  }

  /** 0 for none */
  get inodeKey(): number {
    return lowBits(this.#view, this.#at + PLACE.inode[0]);
  }

  get byDescriptor(): boolean {
    return (this.#u8('ways') & WAY_DESCRIPTOR) !== 0;
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

  get activeMs(): number | null {
    const activeUs = this.#number('active_us');
    return activeUs === 0 ? null : activeUs / US_PER_MS;
  }

  get wasEstablished(): boolean {
    return this.#number('bytes_acked') > 0 || this.#number('bytes_received') > 0;
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

/** Gives sockets their holders, once each: threads with descriptor tables of their own show theirs again. */
class Holders {
  /** beyond the first of each socket, which most have none of */
  readonly #further = new Set<string>();

  add(socket: CensusRecord, holder: CensusHolder): void {
    const [first] = socket.holders;
    if (first === undefined) {
      socket.holders = [holder];
      return;
    }
    if (first.process === holder.process && first.fd === holder.fd) return;
    const key = `${holder.process}:${holder.fd}:${socket.key}`;
    if (this.#further.has(key)) return;
    this.#further.add(key);
    (socket.holders as CensusHolder[]).push(holder);
  }
}

function decodeHolder(bootId: string): (view: DataView, at: number) => CensusHolder {
  const place = CENSUS_DESCRIPTOR.fields;
  // The descriptors of a process follow each other.
  let [pid, startNs, process] = [0, 0n, ''];
  return (view, at) => {
    const itsPid = view.getUint32(at + place.tgid[0], true);
    const itsStartNs = view.getBigUint64(at + place.start_ns[0], true);
    if (itsPid !== pid || itsStartNs !== startNs) {
      [pid, startNs] = [itsPid, itsStartNs];
      process = processIdFor(bootId, pid, startNs);
    }
    return { process, pid, fd: view.getUint32(at + place.fd[0], true) };
  };
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

/** The low 53 bits of a 64-bit number, which a number holds exactly: no kernel has memory for two socks so far apart. */
function lowBits(view: DataView, at: number): number {
  return (view.getUint32(at + 4, true) & 0x1f_ffff) * 2 ** 32 + view.getUint32(at, true);
}

function decodeMinisock(view: DataView, at: number): Minisock {
  const place = CENSUS_MINISOCK.fields;
  const family = familyOf(view.getUint8(at + place.family[0]));
  const state = tcpState(view.getUint8(at + place.state[0]));
  if (state !== 'TIME_WAIT' && state !== 'NEW_SYN_RECV') throw new RangeError(`a minisock in state ${state}`);
  const address = (offset: number): string => addressAt(view, at + offset, family);
  return {
    netns: view.getUint32(at + place.netns[0], true),
    state,
    family,
    local: { address: address(place.local_address[0]), port: view.getUint16(at + place.local_port[0], true) },
    peer: { address: address(place.peer_address[0]), port: view.getUint16(at + place.peer_port[0], true) },
  };
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
