/** Records of bpf/census_records.h as facts. */
import { CENSUS_WAYS, type CensusHolder, type CensusSocket, type Minisock } from '../accounting/census.ts';
import { errnoName } from '../ledger/errno.ts';
import { processIdFor } from '../procfs/process.ts';
import { formatAddress } from './address.ts';
import { tcpState } from './decode.ts';
import { CENSUS_DESCRIPTOR, CENSUS_MINISOCK, CENSUS_RECORD } from './layout.ts';

const US_PER_MS = 1000;
const AF_INET6 = 10;
/** enum census_flag */
const FLAG_DEAD = 1;
const FLAG_HAS_SOCKET = 2;
const FLAG_HAS_FILE = 4;

/** The sockets of a census, each with its holders. A socket in a state that no kernel has is a broken record: thrown. */
export function decodeCensusSockets(rows: Uint8Array, descriptors: Uint8Array, bootId: string): CensusSocket[] {
  const sockets = [...decode(rows, CENSUS_RECORD.size, decodeSocket)];
  const byAddress = new Map(sockets.map((socket) => [socket.address, socket]));
  // Further TCP socks of one MPTCP socket are reached by its inode alone.
  const byInode = new Map<string, CensusSocket[]>();
  for (const socket of sockets)
    if (socket.inode !== null && !socket.ways.includes('descriptor'))
      byInode.set(socket.inode, [...(byInode.get(socket.inode) ?? []), socket]);
  const seen = new Set<string>();
  for (const { address, inode, holder } of decode(descriptors, CENSUS_DESCRIPTOR.size, decodeDescriptor(bootId))) {
    // An iterator may show a descriptor twice: at the end of one buffer and the start of the next.
    const key = `${holder.process}:${holder.fd}:${address}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const socket = byAddress.get(address);
    // Its address may have become another socket's after the descriptor was seen.
    if (socket?.inode === inode || socket?.inode === null) socket.holders.push(holder);
    for (const other of byInode.get(inode) ?? []) other.holders.push(holder);
  }
  return sockets;
}

/** TIME_WAIT sockets and connection requests. */
export function decodeMinisocks(records: Uint8Array): Minisock[] {
  return [...decode(records, CENSUS_MINISOCK.size, decodeMinisock)];
}

function* decode<T>(bytes: Uint8Array, size: number, one: (view: DataView, at: number) => T): Generator<T> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + size <= bytes.byteLength; at += size) yield one(view, at);
}

function decodeSocket(view: DataView, at: number): CensusSocket {
  const place = CENSUS_RECORD.fields;
  const u64 = (field: keyof typeof place): bigint => view.getBigUint64(at + place[field][0], true);
  const u32 = (field: keyof typeof place): number => view.getUint32(at + place[field][0], true);
  const u16 = (field: keyof typeof place): number => view.getUint16(at + place[field][0], true);
  const u8 = (field: keyof typeof place): number => view.getUint8(at + place[field][0]);
  const family = familyOf(u8('family'));
  const flags = u8('flags');
  const ways = u8('ways');
  const [inode, viaInode, viaSk, activeUs] = [u64('inode'), u64('via_inode'), u64('via_sk'), u64('active_us')];
  const error = u16('error');
  const port = u16('local_port');
  return {
    address: u64('sk').toString(16),
    inode: inode === 0n ? null : String(inode),
    ways: CENSUS_WAYS.filter((_, bit) => (ways & (1 << bit)) !== 0),
    closed: (flags & FLAG_DEAD) !== 0,
    hasSocket: (flags & FLAG_HAS_SOCKET) !== 0,
    hasFile: (flags & FLAG_HAS_FILE) !== 0,
    via: viaSk !== 0n ? viaSk.toString(16) : viaInode !== 0n ? String(viaInode) : null,
    family,
    state: tcpState(u8('state')),
    port: port === 0 ? null : port,
    local: { address: addressAt(view, at + place.local_address[0], family), port },
    peer: { address: addressAt(view, at + place.peer_address[0], family), port: u16('peer_port') },
    netns: u32('netns'),
    uid: u32('uid'),
    error: error === 0 ? null : errnoName(error),
    receiveQueue: u32('receive_queue'),
    sendQueue: u32('send_queue'),
    memory: u32('memory'),
    activeMs: activeUs === 0n ? null : Number(activeUs) / US_PER_MS,
    wasEstablished: u64('bytes_acked') > 0n || u64('bytes_received') > 0n,
    hasSent: u32('segments_out') > 0,
    bytesMoved: String(u64('bytes_received') + u64('bytes_acked')),
    holders: [],
  };
}

function decodeDescriptor(bootId: string) {
  const place = CENSUS_DESCRIPTOR.fields;
  return (view: DataView, at: number): { address: string; inode: string; holder: CensusHolder } => {
    const pid = view.getUint32(at + place.tgid[0], true);
    return {
      address: view.getBigUint64(at + place.sk[0], true).toString(16),
      inode: String(view.getBigUint64(at + place.inode[0], true)),
      holder: {
        process: processIdFor(bootId, pid, view.getBigUint64(at + place.start_ns[0], true)),
        pid,
        fd: view.getUint32(at + place.fd[0], true),
      },
    };
  };
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

/** Most sockets of a leak have none: reading eight zeros twice is cheaper than making text of them. */
function addressAt(view: DataView, at: number, family: 4 | 6): string {
  if (view.getBigUint64(at, true) === 0n && view.getBigUint64(at + 8, true) === 0n)
    return family === 4 ? '0.0.0.0' : '::';
  return formatAddress(new Uint8Array(view.buffer, view.byteOffset + at, 16), family);
}
