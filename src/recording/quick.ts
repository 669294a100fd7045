/**
 * The commonest lines, as the writer writes them, read in half the time: whatever is here, it is what parseLine() makes
 * of the same text. Each pattern is one way to write JSON: no escapes, no spaces, one order of names. What does not match
 * is for parseLine(), which is the one that says what a line is.
 */

import { ownCopy } from '../ledger/own-copy.ts';
import {
  type FailureFacts,
  type PathRef,
  type ProcessId,
  type SocketFacts,
  TCP_STATES,
  type TcpState,
} from '../ledger/types.ts';
import type { RecordingLine } from './format.ts';
import { CAUSES, DETAILS, OPERATIONS, parseLine } from './line.ts';

/** Below LONGEST_MS of line.ts, and no sign or exponent: Number() reads such a number as JSON does. */
const TIME = String.raw`((?:0|[1-9]\d{0,11})(?:\.\d{1,20})?)`;
/** Exact as a number. */
const COUNT = String.raw`(0|[1-9]\d{0,14})`;
/** Without escapes, and nothing that JSON would have escaped. */
const TEXT = String.raw`"([^"\\\u0000-\u001f]*)"`;
/** Nothing is found where it is true: of millions of flags, none makes a text. */
const FLAG = '(?:true|(f)alse)';
/** Up to 99,999: see isPort(). */
const PORT = String.raw`(0|[1-9]\d{0,4})`;
const VERSION = String.raw`"(0|[1-9]\d{0,19})"`;
const ERRNO = '"(E[A-Z0-9]{1,30})"';
const ERRNO_OR_NULL = `(?:null|${ERRNO})`;
const STATE = oneOf(TCP_STATES);
const SOCKET_ID = String.raw`"([0-9a-f]{1,16}:(?:0|[1-9]\d{0,19}))"`;
const PROCESS_ID = String.raw`"([\w-]{1,64}:\d{1,10}:\d{1,20})"`;
const ENDPOINT = String.raw`(?:null|\{"address":${TEXT},"port":${PORT}\})`;
const PATH = String.raw`\{"status":"(?:resolved","id":${TEXT}|(pending|preexisting|not-sampled)")\}`;

function oneOf(texts: readonly string[]): string {
  return `"(${texts.join('|')})"`;
}

function measured(value: string): string {
  return String.raw`\{"status":"measured","value":${value}\}`;
}

/** An object with these members, in this order. */
function members(values: Readonly<Record<string, string>>): string {
  const texts = Object.entries(values).map(([name, value]) => `"${name}":${value}`);
  return String.raw`\{${texts.join(',')}\}`;
}

function line(type: string, values: Readonly<Record<string, string>>): RegExp {
  return new RegExp(`^${members({ type: `"${type}"`, ...values })}$`);
}

const TICK = line('tick', { atMs: TIME });

const CLOSED = line('closed', { id: SOCKET_ID, atMs: TIME });

const ACTIVITY = line('activity', {
  process: PROCESS_ID,
  activity: measured(
    members({
      opened: COUNT,
      accepted: COUNT,
      bound: COUNT,
      connected: COUNT,
      listened: COUNT,
      destroyed: COUNT,
    }),
  ),
});

const FAILURE = line('failure', {
  facts: members({
    process: PROCESS_ID,
    pid: COUNT,
    comm: TEXT,
    operation: oneOf(OPERATIONS),
    errno: ERRNO,
    detail: oneOf(DETAILS),
    cause: oneOf(CAUSES),
    count: COUNT,
    firstMs: TIME,
    lastMs: TIME,
    netns: COUNT,
    path: `(?:null|${PATH})`,
  }),
});

const SOCKET = line('socket', {
  facts: members({
    id: SOCKET_ID,
    origin: oneOf(['traced', 'seeded']),
    accepted: measured(FLAG),
    owner: measured(PROCESS_ID),
    openedMs: measured(TIME),
    changedMs: TIME,
    version: VERSION,
    family: '([46])',
    state: STATE,
    port: `(?:null|${PORT})`,
    ever: measured(members({ bound: FLAG, connecting: FLAG, established: FLAG, listening: FLAG })),
    bindErrno: ERRNO_OR_NULL,
    connectErrno: ERRNO_OR_NULL,
    socketErrno: ERRNO_OR_NULL,
    local: ENDPOINT,
    peer: ENDPOINT,
    released: FLAG,
    releaseState: `(?:null|${STATE})`,
    heldAtExit: FLAG,
    netns: COUNT,
    uid: COUNT,
    openPath: PATH,
    bindPath: `(?:null|${PATH})`,
  }),
});

/** Texts that many lines have in common, each once: what is found in a line would keep the lines around it in memory. */
class SharedTexts {
  readonly #own = new Map<string, string>();
  static readonly #MOST = 10_000;

  of(text: string): string {
    const known = this.#own.get(text);
    if (known !== undefined) return known;
    if (this.#own.size >= SharedTexts.#MOST) this.#own.clear();
    const own = ownCopy(text);
    this.#own.set(own, own);
    return own;
  }

  orNull(text: string | undefined): string | null {
    return text === undefined ? null : this.of(text);
  }
}

const shared = new SharedTexts();

/** Longer ones have something that is not common. */
const LONGEST = 2_000;

/** What parseLine() says of `text`. */
export function readLine(text: string): RecordingLine | null {
  return (text.length > LONGEST ? null : quickly(text)) ?? parseLine(text);
}

const TYPE_AT = '{"type":"'.length;

/** Null where it takes parseLine() to tell. */
function quickly(text: string): RecordingLine | null {
  switch (text[TYPE_AT]) {
    case 't':
      return tick(text);
    case 'c':
      return closed(text);
    case 's':
      return socket(text);
    case 'a':
      return activity(text);
    case 'f':
      return failure(text);
    default:
      return null;
  }
}

function tick(text: string): RecordingLine | null {
  const found = TICK.exec(text);
  return found === null ? null : { type: 'tick', atMs: Number(found[1]) };
}

function closed(text: string): RecordingLine | null {
  const found = CLOSED.exec(text);
  return found === null ? null : { type: 'closed', id: found[1] as string, atMs: Number(found[2]) };
}

function activity(text: string): RecordingLine | null {
  const found = ACTIVITY.exec(text);
  if (found === null) return null;
  const [, process, opened, accepted, bound, connected, listened, destroyed] = found;
  return {
    type: 'activity',
    process: shared.of(process as ProcessId),
    activity: {
      status: 'measured',
      value: {
        opened: Number(opened),
        accepted: Number(accepted),
        bound: Number(bound),
        connected: Number(connected),
        listened: Number(listened),
        destroyed: Number(destroyed),
      },
    },
  };
}

function failure(text: string): RecordingLine | null {
  const found = FAILURE.exec(text);
  if (found === null) return null;
  const [, process, pid, comm, operation, errno, detail, cause, count, firstMs, lastMs, netns, id, status] = found;
  return {
    type: 'failure',
    facts: {
      process: shared.of(process as ProcessId),
      pid: Number(pid),
      comm: shared.of(comm as string),
      operation: shared.of(operation as string) as FailureFacts['operation'],
      errno: shared.of(errno as string),
      detail: shared.of(detail as string) as FailureFacts['detail'],
      cause: shared.of(cause as string) as FailureFacts['cause'],
      count: Number(count),
      firstMs: Number(firstMs),
      lastMs: Number(lastMs),
      netns: Number(netns),
      path: pathOrNull(id, status),
    },
  };
}

function socket(text: string): RecordingLine | null {
  const found = SOCKET.exec(text);
  if (found === null) return null;
  const port = numberOrNull(found[10]);
  const local = endpoint(found[18], found[19]);
  const peer = endpoint(found[20], found[21]);
  if (!isPort(port ?? 0) || !isPort(local?.port ?? 0) || !isPort(peer?.port ?? 0)) return null;
  const facts: SocketFacts = {
    id: found[1] as string,
    origin: found[2] as SocketFacts['origin'],
    accepted: { status: 'measured', value: isTrue(found[3]) },
    owner: { status: 'measured', value: shared.of(found[4] as ProcessId) },
    openedMs: { status: 'measured', value: Number(found[5]) },
    changedMs: Number(found[6]),
    version: found[7] as string,
    family: found[8] === '4' ? 4 : 6,
    state: found[9] as TcpState,
    port,
    ever: {
      status: 'measured',
      value: {
        bound: isTrue(found[11]),
        connecting: isTrue(found[12]),
        established: isTrue(found[13]),
        listening: isTrue(found[14]),
      },
    },
    bindErrno: shared.orNull(found[15]),
    connectErrno: shared.orNull(found[16]),
    socketErrno: shared.orNull(found[17]),
    local,
    peer,
    released: isTrue(found[22]),
    releaseState: (found[23] as TcpState | undefined) ?? null,
    heldAtExit: isTrue(found[24]),
    netns: Number(found[25]),
    uid: Number(found[26]),
    openPath: path(found[27], found[28]),
    bindPath: pathOrNull(found[29], found[30]),
  };
  return { type: 'socket', facts };
}

function isTrue(flag: string | undefined): boolean {
  return flag === undefined;
}

function isPort(number: number): boolean {
  return number <= 65_535;
}

function numberOrNull(text: string | undefined): number | null {
  return text === undefined ? null : Number(text);
}

function endpoint(address: string | undefined, port: string | undefined): SocketFacts['local'] {
  return address === undefined ? null : { address, port: Number(port) };
}

function path(id: string | undefined, status: string | undefined): PathRef {
  if (id !== undefined) return { status: 'resolved', id: shared.of(id) };
  return { status: status as 'pending' | 'preexisting' | 'not-sampled' };
}

function pathOrNull(id: string | undefined, status: string | undefined): PathRef | null {
  return id === undefined && status === undefined ? null : path(id, status);
}
