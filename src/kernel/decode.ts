/** Records of bpf/records.h as facts. Little-endian, like every machine the programs are compiled for. */
import { errnoName } from '../ledger/errno.ts';
import { failureCause } from '../ledger/failures.ts';
import {
  type Endpoint,
  type FailedOperation,
  type FailureDetail,
  type FailureFacts,
  type HeldSocket,
  type PathCounters,
  type PathRef,
  type ProcessActivity,
  type ProcessId,
  type SocketFacts,
  type SocketId,
  TCP_STATES,
  type TcpState,
} from '../ledger/types.ts';
import { processIdFor } from '../procfs/process.ts';
import { formatAddress } from './address.ts';
import { EVENT_RECORD, FAILURE_RECORD, HOLDER_RECORD, PATH_RECORD, PROCESS_RECORD, SOCKET_RECORD } from './layout.ts';

const NS_PER_MS = 1e6;
const AF_INET6 = 10;

/** By the kernel's number. */
const STATES: readonly (TcpState | undefined)[] = [undefined, ...TCP_STATES];

/** @throws RangeError when the kernel has no such state: a broken record */
export function tcpState(number: number): TcpState {
  return known(STATES, number, 'TCP state');
}

/** enum failed_operation */
const OPERATIONS: readonly (FailedOperation | undefined)[] = [
  undefined,
  'socket',
  'bind',
  'connect',
  'listen',
  'accept',
];

/** enum failure_detail */
const DETAILS: readonly FailureDetail[] = [
  'plain',
  'port-zero',
  'port-given',
  'port-unread',
  'unbound',
  'bound',
  'asynchronous',
];

/** Why the origin of a seeded socket is not known, by enum tracing_phase. */
const UNSEEN_ORIGIN: readonly string[] = [
  'it existed before the trace',
  'it came from another process, or by a call that no hook sees',
];

/** enum event_type */
const EVENTS = [
  undefined,
  'opened',
  'accepted',
  'bind',
  'connect',
  'listen',
  'state',
  'released',
  'destroyed',
] as const;
export type SocketEventName = Exclude<(typeof EVENTS)[number], undefined>;

/** One change of one socket, for the strace-like view. */
export interface SocketEvent {
  name: SocketEventName;
  atMs: number;
  id: string;
  ownerPid: number;
  errno: string | null;
  family: 4 | 6;
  oldState: TcpState | null;
  state: TcpState | null;
  localPort: number;
  peerPort: number;
}

/** A process row: identity and counts; the rest of its facts comes from /proc. */
export interface TracedProcess {
  id: ProcessId;
  pid: number;
  startNs: bigint;
  /** null when it was selected by pid */
  parentPid: number | null;
  comm: string;
  exitedMs: number | null;
  execs: number;
  activity: ProcessActivity;
}

/** One failure row, with what is needed to look its process up. */
export interface DecodedFailure {
  facts: FailureFacts;
  startNs: bigint;
  /** reference of its call path, 0n for none */
  pathRef: bigint;
}

/** One descriptor of one socket. */
export interface DecodedHolder {
  socket: Omit<HeldSocket, 'holders'>;
  holder: HeldSocket['holders'][number];
  startNs: bigint;
}

/** One reference of a call path, and what became of its sockets. */
export interface DecodedPath {
  ref: bigint;
  /** these are its last counts */
  gone: boolean;
  counters: PathCounters;
}

/** One row of the socket table, or of the ended table. */
export interface DecodedSocket {
  facts: SocketFacts;
  destroyed: boolean;
  ownerStartNs: bigint;
  ownerPid: number;
  /** references of the call paths, 0n for none */
  openRef: bigint;
  bindRef: bigint;
}

/** Decodes the buffers that the tracer filled; `bootId` completes process identities, `pathOf` references of call paths. */
export class Decoder {
  readonly #bootId: string;
  readonly #pathOf: (ref: bigint) => PathRef;

  constructor(bootId: string, pathOf: (ref: bigint) => PathRef) {
    this.#bootId = bootId;
    this.#pathOf = pathOf;
  }

  paths(buffer: Uint8Array, bytes: number): DecodedPath[] {
    const field = PATH_RECORD.fields;
    return records(buffer, bytes, PATH_RECORD.size, (view, at) => {
      const count = (index: number): number => Number(view.getBigInt64(at + field.counts[0] + 8 * index, true));
      return {
        ref: view.getBigUint64(at + field.ref[0], true),
        gone: view.getBigUint64(at + field.gone[0], true) !== 0n,
        // In the order of enum path_count.
        counters: {
          sockets: count(0),
          ended: count(1),
          opened: count(2),
          accepted: count(3),
          bound: count(4),
          bindFailed: count(5),
          connected: count(6),
          connectFailed: count(7),
          listened: count(8),
          closedUnused: count(9),
        },
      };
    });
  }

  /** The same socket, with what its references stand for by now. */
  withPaths(socket: DecodedSocket): DecodedSocket {
    const { facts, openRef, bindRef } = socket;
    const openPath = openRef === 0n ? facts.openPath : this.#pathOf(openRef);
    const bindPath = bindRef === 0n ? facts.bindPath : this.#pathOf(bindRef);
    return { ...socket, facts: { ...facts, openPath, bindPath } };
  }

  sockets(buffer: Uint8Array, bytes: number): DecodedSocket[] {
    return records(buffer, bytes, SOCKET_RECORD.size, (view, at) => this.#socket(view, at, buffer));
  }

  holders(buffer: Uint8Array, bytes: number): DecodedHolder[] {
    const field = HOLDER_RECORD.fields;
    return records(buffer, bytes, HOLDER_RECORD.size, (view, at) => {
      const pid = view.getUint32(at + field.tgid[0], true);
      const startNs = view.getBigUint64(at + field.start_ns[0], true);
      const received = view.getBigUint64(at + field.bytes_received[0], true);
      const acknowledged = view.getBigUint64(at + field.bytes_acked[0], true);
      const receiveQueue = view.getUint32(at + field.receive_queue[0], true);
      // What came, what the owner has read of it, and what went: all three only grow.
      const moved = received + (received - BigInt(receiveQueue)) + acknowledged;
      return {
        startNs,
        holder: {
          process: processIdFor(this.#bootId, pid, startNs),
          pid,
          fd: view.getUint32(at + field.fd[0], true),
          inode: view.getBigUint64(at + field.inode[0], true).toString(),
        },
        socket: {
          id: socketIdOf(view, at + field.sk[0], at + field.birth_ns[0]),
          receiveQueue,
          sendQueue: view.getUint32(at + field.send_queue[0], true),
          bytesMoved: moved.toString(),
        },
      };
    });
  }

  processes(buffer: Uint8Array, bytes: number): TracedProcess[] {
    const field = PROCESS_RECORD.fields;
    return records(buffer, bytes, PROCESS_RECORD.size, (view, at) => {
      const pid = view.getUint32(at + field.tgid[0], true);
      const startNs = view.getBigUint64(at + field.start_ns[0], true);
      const parent = view.getUint32(at + field.parent_tgid[0], true);
      const exitedNs = view.getBigUint64(at + field.exited_ns[0], true);
      const count = (name: keyof ProcessActivity): number => Number(view.getBigUint64(at + field[name][0], true));
      return {
        id: processIdFor(this.#bootId, pid, startNs),
        pid,
        startNs,
        parentPid: parent === 0 ? null : parent,
        comm: text(buffer, at + field.comm[0], field.comm[1]),
        exitedMs: exitedNs === 0n ? null : Number(exitedNs) / NS_PER_MS,
        execs: view.getUint32(at + field.execs[0], true),
        activity: {
          opened: count('opened'),
          accepted: count('accepted'),
          bound: count('bound'),
          connected: count('connected'),
          listened: count('listened'),
          destroyed: count('destroyed'),
        },
      };
    });
  }

  failures(buffer: Uint8Array, bytes: number): DecodedFailure[] {
    const field = FAILURE_RECORD.fields;
    return records(buffer, bytes, FAILURE_RECORD.size, (view, at) => {
      const pid = view.getUint32(at + field.tgid[0], true);
      const startNs = view.getBigUint64(at + field.start_ns[0], true);
      const operation = known(OPERATIONS, view.getUint8(at + field.operation[0]), 'failed operation');
      const detail = known(DETAILS, view.getUint8(at + field.detail[0]), 'failure detail');
      const errno = errnoName(view.getUint16(at + field.error[0], true));
      const pathRef = view.getBigUint64(at + field.path[0], true);
      return {
        pathRef,
        startNs,
        facts: {
          process: processIdFor(this.#bootId, pid, startNs),
          pid,
          comm: text(buffer, at + field.comm[0], field.comm[1]),
          operation,
          errno,
          detail,
          cause: failureCause(operation, errno, detail),
          count: Number(view.getBigUint64(at + field.count[0], true)),
          firstMs: milliseconds(view, at + field.first_ns[0]),
          lastMs: milliseconds(view, at + field.last_ns[0]),
          netns: view.getUint32(at + field.netns[0], true),
          path: pathRef === 0n ? null : this.#pathOf(pathRef),
        },
      };
    });
  }

  events(buffer: Uint8Array, bytes: number): SocketEvent[] {
    const field = EVENT_RECORD.fields;
    return records(buffer, bytes, EVENT_RECORD.size, (view, at) => ({
      name: known(EVENTS, view.getUint32(at + field.type[0], true), 'event'),
      atMs: milliseconds(view, at + field.at_ns[0]),
      id: socketIdOf(view, at + field.sk[0], at + field.birth_ns[0]),
      ownerPid: view.getUint32(at + field.tgid[0], true),
      errno: errnoOrNull(view.getUint16(at + field.error[0], true)),
      family: family(view.getUint8(at + field.family[0])),
      oldState: STATES[view.getUint8(at + field.old_state[0])] ?? null,
      state: STATES[view.getUint8(at + field.state[0])] ?? null,
      localPort: view.getUint16(at + field.local_port[0], true),
      peerPort: view.getUint16(at + field.peer_port[0], true),
    }));
  }

  /** The same failed call, with what its reference stands for by now. */
  withPath({ facts, startNs, pathRef }: DecodedFailure): DecodedFailure {
    return { startNs, pathRef, facts: { ...facts, path: pathRef === 0n ? facts.path : this.#pathOf(pathRef) } };
  }

  #socket(view: DataView, at: number, buffer: Uint8Array): DecodedSocket {
    const field = SOCKET_RECORD.fields;
    const byte = (name: keyof typeof field): number => view.getUint8(at + field[name][0]);
    const flag = (name: keyof typeof field): boolean => byte(name) !== 0;
    const short = (name: keyof typeof field): number => view.getUint16(at + field[name][0], true);
    const ownerPid = view.getUint32(at + field.owner_tgid[0], true);
    const ownerStartNs = view.getBigUint64(at + field.owner_start_ns[0], true);
    const seeded = flag('seeded');
    const unseen = { status: 'unavailable', reason: UNSEEN_ORIGIN[byte('seeded') - 1] ?? '' } as const;
    const version = view.getBigUint64(at + field.version_ns[0], true);
    const port = short('local_port');
    const ip = family(byte('family'));
    const endpoint = (name: 'local_address' | 'peer_address', endpointPort: number): Endpoint | null =>
      endpointPort === 0
        ? null
        : {
            address: formatAddress(buffer.subarray(at + field[name][0], at + field[name][0] + 16), ip),
            port: endpointPort,
          };
    const releaseState = byte('release_state');
    const openRef = view.getBigUint64(at + field.open_path[0], true);
    const bindRef = view.getBigUint64(at + field.bind_path[0], true);
    const unseenPath: PathRef = seeded ? { status: 'preexisting' } : this.#pathOf(0n);
    const triedToBind = flag('ever_bound') || short('bind_errno') !== 0;
    const openPath = openRef === 0n ? unseenPath : this.#pathOf(openRef);
    const bindPath = bindRef === 0n ? (triedToBind ? unseenPath : null) : this.#pathOf(bindRef);
    return {
      openRef,
      bindRef,
      destroyed: flag('destroyed'),
      ownerStartNs,
      ownerPid,
      facts: {
        id: socketIdOf(view, at + field.sk[0], at + field.birth_ns[0]),
        origin: seeded ? 'seeded' : 'traced',
        accepted: seeded ? unseen : { status: 'measured', value: flag('accepted') },
        owner: { status: 'measured', value: processIdFor(this.#bootId, ownerPid, ownerStartNs) },
        openedMs: seeded ? unseen : { status: 'measured', value: milliseconds(view, at + field.birth_ns[0]) },
        changedMs: Number(version) / NS_PER_MS,
        version: version.toString(),
        family: ip,
        state: tcpState(byte('state')),
        port: port === 0 ? null : port,
        ever: flag('history_unknown')
          ? {
              status: 'unavailable',
              reason: 'it was closed when first seen: what it had been used for is not recorded',
            }
          : {
              status: 'measured',
              value: {
                bound: flag('ever_bound'),
                connecting: flag('ever_connecting'),
                established: flag('ever_established'),
                listening: flag('ever_listening'),
              },
            },
        bindErrno: errnoOrNull(short('bind_errno')),
        connectErrno: errnoOrNull(short('connect_errno')),
        socketErrno: errnoOrNull(short('socket_errno')),
        local: endpoint('local_address', port),
        peer: endpoint('peer_address', short('peer_port')),
        released: flag('released'),
        releaseState: releaseState === 0 ? null : tcpState(releaseState),
        heldAtExit: flag('held_at_exit'),
        netns: view.getUint32(at + field.netns[0], true),
        uid: view.getUint32(at + field.uid[0], true),
        openPath,
        bindPath,
      },
    };
  }
}

function records<T>(buffer: Uint8Array, bytes: number, size: number, decode: (view: DataView, at: number) => T): T[] {
  if (bytes % size !== 0) throw new Error(`${bytes} bytes are no whole number of records of ${size} bytes`);
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  const decoded: T[] = [];
  for (let at = 0; at < bytes; at += size) decoded.push(decode(view, at));
  return decoded;
}

function known<T>(names: readonly T[], number: number, what: string): Exclude<T, undefined> {
  const name = names[number];
  if (name === undefined) throw new Error(`the kernel side sent an unknown ${what}: ${number}`);
  return name as Exclude<T, undefined>;
}

function family(number: number): 4 | 6 {
  return number === AF_INET6 ? 6 : 4;
}

function errnoOrNull(number: number): string | null {
  return number === 0 ? null : errnoName(number);
}

function milliseconds(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true)) / NS_PER_MS;
}

/** The identity of the socket of a record, from where its address and its birth are. */
export function socketIdOf(view: DataView, sk: number, birth: number): SocketId {
  return `${view.getBigUint64(sk, true).toString(16)}:${view.getBigUint64(birth, true)}`;
}

/** A comm: at most `length` bytes, NUL-terminated, of any encoding the process chose. Escaped where it is shown. */
function text(buffer: Uint8Array, at: number, length: number): string {
  const bytes = buffer.subarray(at, at + length);
  const end = bytes.indexOf(0);
  return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString('utf8');
}
