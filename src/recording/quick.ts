/**
 * The commonest lines, as the writer writes them, read in half the time: whatever is here, it is what parseLine() makes
 * of the same text. Each pattern is one way to write JSON: no escapes, no spaces, one order of names. What does not match
 * is for parseLine(), which is the one that says what a line is.
 */

import { ownCopy } from '../ledger/own-copy.ts';
import type { PathRef, ProcessId, SocketFacts, TcpState } from '../ledger/types.ts';
import type { RecordingLine } from './format.ts';
import { isFailure, isSocket, parseLine } from './line.ts';

/** Below LONGEST_MS of line.ts, and no sign or exponent: Number() reads such a number as JSON does. */
const TIME = String.raw`((?:0|[1-9]\d{0,11})(?:\.\d{1,20})?)`;
/** Exact as a number. */
const COUNT = String.raw`(0|[1-9]\d{0,14})`;
/** Without escapes, and nothing that JSON would have escaped. */
const TEXT = String.raw`"([^"\\\u0000-\u001f]*)"`;
const FLAG = '(true|false)';
const SOCKET_ID = String.raw`"([0-9a-f]{1,16}:(?:0|[1-9]\d{0,19}))"`;
const PROCESS_ID = String.raw`"([\w-]{1,64}:\d{1,10}:\d{1,20})"`;
const TEXT_OR_NULL = `(?:null|${TEXT})`;
const ENDPOINT = String.raw`(?:null|\{"address":${TEXT},"port":${COUNT}\})`;
const PATH = String.raw`\{"status":"(?:resolved","id":${TEXT}|(pending|preexisting|not-sampled)")\}`;

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
    operation: TEXT,
    errno: TEXT,
    detail: TEXT,
    cause: TEXT,
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
    origin: TEXT,
    accepted: measured(FLAG),
    owner: measured(PROCESS_ID),
    openedMs: measured(TIME),
    changedMs: TIME,
    version: TEXT,
    family: COUNT,
    state: TEXT,
    port: `(?:null|${COUNT})`,
    ever: measured(members({ bound: FLAG, connecting: FLAG, established: FLAG, listening: FLAG })),
    bindErrno: TEXT_OR_NULL,
    connectErrno: TEXT_OR_NULL,
    socketErrno: TEXT_OR_NULL,
    local: ENDPOINT,
    peer: ENDPOINT,
    released: FLAG,
    releaseState: TEXT_OR_NULL,
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
  return found === null ? null : { type: 'closed', id: ownCopy(found[1] as string), atMs: Number(found[2]) };
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
  const facts = {
    process: shared.orNull(process),
    pid: Number(pid),
    comm: shared.orNull(comm),
    operation: shared.orNull(operation),
    errno: shared.orNull(errno),
    detail: shared.orNull(detail),
    cause: shared.orNull(cause),
    count: Number(count),
    firstMs: Number(firstMs),
    lastMs: Number(lastMs),
    netns: Number(netns),
    path: pathOrNull(id, status),
  };
  return isFailure(facts) ? { type: 'failure', facts } : null;
}

function socket(text: string): RecordingLine | null {
  const found = SOCKET.exec(text);
  if (found === null) return null;
  const facts = {
    id: ownCopy(found[1] as string),
    origin: found[2],
    accepted: knownFlag(found[3]),
    owner: { status: 'measured', value: shared.orNull(found[4]) },
    openedMs: { status: 'measured', value: Number(found[5]) },
    changedMs: Number(found[6]),
    version: found[7],
    family: Number(found[8]),
    state: found[9] as TcpState,
    port: numberOrNull(found[10]),
    ever: {
      status: 'measured',
      value: {
        bound: found[11] === 'true',
        connecting: found[12] === 'true',
        established: found[13] === 'true',
        listening: found[14] === 'true',
      },
    },
    bindErrno: shared.orNull(found[15]),
    connectErrno: shared.orNull(found[16]),
    socketErrno: shared.orNull(found[17]),
    local: endpoint(found[18], found[19]),
    peer: endpoint(found[20], found[21]),
    released: found[22] === 'true',
    releaseState: found[23] ?? null,
    heldAtExit: found[24] === 'true',
    netns: Number(found[25]),
    uid: Number(found[26]),
    openPath: pathOrNull(found[27], found[28]),
    bindPath: pathOrNull(found[29], found[30]),
  };
  return isSocket(facts) ? { type: 'socket', facts } : null;
}

function knownFlag(text: string | undefined): SocketFacts['accepted'] {
  return { status: 'measured', value: text === 'true' };
}

function numberOrNull(text: string | undefined): number | null {
  return text === undefined ? null : Number(text);
}

function endpoint(address: string | undefined, port: string | undefined): SocketFacts['local'] {
  return address === undefined ? null : { address, port: Number(port) };
}

function pathOrNull(id: string | undefined, status: string | undefined): PathRef | null {
  if (id !== undefined) return { status: 'resolved', id: shared.of(id) };
  return status === undefined ? null : { status: status as 'pending' | 'preexisting' | 'not-sampled' };
}
