/** One line of a recording, read: whatever stands there, it is a valid line or none. */

import { type Classes, SOCKET_CLASSES, type SocketClass } from '../accounting/classes.ts';
import { type NamespacePorts, PORT_USES, type PortDestination, type PortHolder } from '../accounting/ports.ts';
import {
  type CallFrame,
  type CallPath,
  type Endpoint,
  type FailureFacts,
  type HeldSocket,
  type Holder,
  type HookChoice,
  type HostCensus,
  type HostCounters,
  LOSS_CODES,
  type Loss,
  type PathCounters,
  type ProcessActivity,
  type ProcessFacts,
  type SelectedTarget,
  type SessionFacts,
  type SocketFacts,
  type SocketHistory,
  type Sockstat,
  TCP_STATES,
  type Thresholds,
  type TrackedCounters,
} from '../ledger/types.ts';
import {
  type Check,
  isBoolean,
  isCount,
  isInteger,
  isText,
  known,
  listOf,
  matches,
  object,
  oneOf,
  orNull,
  tagged,
} from './checks.ts';
import type { RecordingLine } from './format.ts';

const decimal = matches(/^(?:0|[1-9]\d{0,19})$/);
const socketId = matches(/^[0-9a-f]{1,16}:(?:0|[1-9]\d{0,19})$/);
const processId = matches(/^[\w-]{1,64}:\d{1,10}:\d{1,20}$/);
/** What reaches a terminal without being looked at again is in a form that no terminal obeys. */
const errno = matches(/^E[A-Z0-9]{1,30}$/);
const errnoOrNull = orNull(errno);
const timestamp = matches(/^[\dTZ:.+-]{1,40}$/);
const plainText = matches(/^[\x20-\x7e]{1,64}$/);
const port: Check = (value) => isCount(value) && (value as number) <= 65_535;
const state = oneOf(TCP_STATES);
const endpoint = object<Endpoint>({ address: isText, port });

const reason = { reason: isText };
const pathRef = tagged('status', {
  resolved: object({ id: isText }),
  pending: () => true,
  'not-sampled': () => true,
  preexisting: () => true,
  unavailable: object(reason),
});

const knownBoolean = known(isBoolean);
const knownTime = known(isTime);
const knownProcess = known(processId);

const history = object<SocketHistory>({
  bound: isBoolean,
  connecting: isBoolean,
  established: isBoolean,
  listening: isBoolean,
});

const knownHistory = known(history);

/** Written out, since most lines of a large recording are sockets: this takes a third of the time of `object()`. */
const socketFacts: Check = (value) => {
  if (typeof value !== 'object' || value === null) return false;
  const facts = value as { readonly [Name in keyof SocketFacts]: unknown };
  return (
    socketId(facts.id) &&
    (facts.origin === 'traced' || facts.origin === 'seeded') &&
    knownBoolean(facts.accepted) &&
    knownProcess(facts.owner) &&
    knownTime(facts.openedMs) &&
    isTime(facts.changedMs) &&
    decimal(facts.version) &&
    (facts.family === 4 || facts.family === 6) &&
    state(facts.state) &&
    (facts.port === null || port(facts.port)) &&
    knownHistory(facts.ever) &&
    errnoOrNull(facts.bindErrno) &&
    errnoOrNull(facts.connectErrno) &&
    errnoOrNull(facts.socketErrno) &&
    (facts.local === null || endpoint(facts.local)) &&
    (facts.peer === null || endpoint(facts.peer)) &&
    typeof facts.released === 'boolean' &&
    (facts.releaseState === null || state(facts.releaseState)) &&
    typeof facts.heldAtExit === 'boolean' &&
    isCount(facts.netns) &&
    isCount(facts.uid) &&
    pathRef(facts.openPath) &&
    (facts.bindPath === null || pathRef(facts.bindPath))
  );
};

const heldSocket = object<HeldSocket>({
  id: socketId,
  holders: listOf(object<Holder>({ process: processId, pid: isCount, fd: isCount, inode: decimal })),
  receiveQueue: isInteger,
  sendQueue: isInteger,
  bytesMoved: decimal,
});

const processFacts = object<ProcessFacts>({
  id: processId,
  pid: isCount,
  parentPid: orNull(isCount),
  comm: isText,
  exe: known(isText),
  cmdline: known(listOf(isText)),
  namespacePids: known(listOf(isCount)),
  startTime: known(timestamp),
  unit: known(orNull(isText)),
  container: known(orNull(isText)),
  netns: known(isCount),
  exitedMs: orNull(isTime),
});

const activity = known(
  object<ProcessActivity>({
    opened: isCount,
    accepted: isCount,
    bound: isCount,
    connected: isCount,
    listened: isCount,
    destroyed: isCount,
  }),
);

/** Of failed calls. */
export const OPERATIONS: readonly FailureFacts['operation'][] = ['socket', 'bind', 'connect', 'listen', 'accept'];
export const DETAILS: readonly FailureFacts['detail'][] = [
  'plain',
  'port-zero',
  'port-given',
  'port-unread',
  'unbound',
  'bound',
  'asynchronous',
];
export const CAUSES: readonly FailureFacts['cause'][] = [
  'no-free-port',
  'port-taken',
  'tuple-in-use',
  'address-not-local',
  'privileged-port',
  'permission',
  'refused',
  'reset',
  'timed-out',
  'unreachable',
  'descriptor-limit',
  'memory',
  'unsupported',
  'invalid',
  'other',
];

const failureFacts = object<FailureFacts>({
  process: processId,
  pid: isCount,
  comm: isText,
  operation: oneOf(OPERATIONS),
  errno,
  detail: oneOf(DETAILS),
  cause: oneOf(CAUSES),
  count: isCount,
  firstMs: isTime,
  lastMs: isTime,
  netns: isCount,
  path: orNull(pathRef),
});

const callPath = object<CallPath>({
  id: isText,
  quality: oneOf(['complete', 'truncated', 'unreliable', 'unreadable']),
  notes: listOf(isText),
  frames: listOf(
    object<CallFrame>({
      function: orNull(isText),
      module: orNull(isText),
      buildId: orNull(isText),
      offset: matches(/^0x[0-9a-f]{1,16}$/),
      file: orNull(isText),
      line: orNull(isCount),
      how: oneOf(['leaf', 'cfi', 'frame-pointer', 'guess', 'inlined']),
    }),
  ),
});

const pathCounters = object<PathCounters>({
  sockets: isCount,
  ended: isCount,
  opened: isCount,
  accepted: isCount,
  bound: isCount,
  bindFailed: isCount,
  connected: isCount,
  connectFailed: isCount,
  listened: isCount,
  closedUnused: isCount,
});

const sockstat = object<Sockstat>({
  socketsUsed: isInteger,
  tcpInuse: isInteger,
  tcp6Inuse: isInteger,
  orphan: isInteger,
  timeWait: isInteger,
  alloc: isInteger,
  memPages: isInteger,
});

const span: Check = (value) => Array.isArray(value) && value.length === 2 && value.every((end) => port(end));

const namespacePorts = object<NamespacePorts>({
  netns: isCount,
  path: orNull(isText),
  inuse: known(isInteger),
  range: known(span),
  reserved: known(listOf(span)),
  inUse: isCount,
  inRange: orNull(isCount),
  outOfRange: orNull(isCount),
  free: known(isInteger),
  holders: listOf(
    object<PortHolder>({ process: orNull(processId), use: oneOf(PORT_USES), count: isCount, inRange: orNull(isCount) }),
  ),
  destinations: listOf(object<PortDestination>({ address: isText, port, count: isCount, free: isInteger })),
});

const portHolders = listOf(processFacts);

const hostCensus = object<Omit<HostCensus, 'processes'>>({
  classes: object<Classes>({
    alloc: known(isInteger),
    classes: listOf(object<SocketClass>({ name: oneOf(SOCKET_CLASSES), count: isCount, evidence: isText })),
    unplaced: known(isInteger),
  }),
  ports: listOf(namespacePorts),
  unseen: listOf(isText),
});

const tool = object<SessionFacts['tool']>({ name: plainText, version: plainText });

const selectedTarget = object<Omit<SelectedTarget, 'selectors' | 'command'>>({
  pids: listOf(isCount),
  processes: listOf(processId),
  follow: isBoolean,
});

const selectors = listOf(
  tagged('by', {
    comm: object({ value: isText }),
    cgroup: object({ value: isText }),
    user: object({ value: isText }),
    'netns-of': object({ value: isText }),
    all: () => true,
  }),
);

function hasSelectors(target: SelectedTarget): boolean {
  return (
    (target.selectors === undefined || selectors(target.selectors)) &&
    (target.command === undefined || listOf(isText)(target.command))
  );
}

const sessionFacts = object<Omit<SessionFacts, 'callPaths' | 'failedCalls' | 'allow'>>({
  tool,
  host: object<SessionFacts['host']>({
    hostname: isText,
    bootId: isText,
    kernel: isText,
    hooks: object<HookChoice>({
      set: oneOf(['fentry', 'kprobe', 'cgroup', 'none']),
      refused: listOf(object({ set: isText, reason: isText })),
      blindSpots: listOf(isText),
    }),
  }),
  target: (value) => selectedTarget(value) && hasSelectors(value as SelectedTarget),
  thresholds: object<Thresholds>({
    minAgeMs: isTime,
    leakAgeMs: isTime,
    idleLeakAgeMs: isTime,
    leakCount: isCount,
  }),
  clock: object<SessionFacts['clock']>({ monotonicMs: isTime, wallMs: isTime }),
});

const whether = known((value) => value === true);

/** Three hundred years: sums of some of them are times that a Date can hold. */
const LONGEST_MS = 1e13;

function isTime(value: unknown): boolean {
  return typeof value === 'number' && Math.abs(value) < LONGEST_MS;
}

const LINES: Readonly<Record<string, Check>> = {
  recording: object({ version: isCount, tool }),
  end: object({ because: isText, lines: isCount }),
  session: object({ session: (value) => sessionFacts(value) && hasOptional(value as SessionFacts) }),
  socket: object({ facts: socketFacts }),
  ended: object({ facts: socketFacts, atMs: isTime }),
  closed: object({ id: socketId, atMs: isTime }),
  process: object({ facts: processFacts, activity }),
  activity: object({ process: processId, activity }),
  holders: object({
    atMs: isTime,
    complete: isBoolean,
    walk: isCount,
    sockets: listOf(heldSocket),
    gone: listOf(socketId),
    more: isBoolean,
  }),
  failure: object({ facts: failureFacts }),
  path: object({ path: callPath }),
  pathCounters: object({ paths: listOf(object({ id: isText, counters: pathCounters })) }),
  hostSample: object({
    atMs: isTime,
    sockstat: known(sockstat),
    counters: object<HostCounters>({ opened: isInteger, cloned: isInteger, destroyed: isInteger }),
    tracked: object<TrackedCounters>({
      opened: isInteger,
      accepted: isInteger,
      preexisting: isInteger,
      arrived: isInteger,
      destroyed: isInteger,
    }),
  }),
  census: object({
    atMs: isTime,
    seen: known((value) => hostCensus(value) && hasPortHolders(value as HostCensus)),
  }),
  loss: object({ losses: listOf(object<Loss>({ code: oneOf(Object.keys(LOSS_CODES)), count: isCount })) }),
  tick: object({ atMs: isTime }),
};

const isLine = tagged('type', LINES);

function hasOptional(session: SessionFacts): boolean {
  return (
    (session.callPaths === undefined || whether(session.callPaths)) &&
    (session.failedCalls === undefined || whether(session.failedCalls)) &&
    (session.allow === undefined || listOf(isText)(session.allow))
  );
}

function hasPortHolders({ processes }: HostCensus): boolean {
  return processes === undefined || portHolders(processes);
}

/** Whether it is a line, whole, of a type that this version does not know: a later one added it. */
export function isNewerLine(text: string): boolean {
  try {
    const { type } = Object(JSON.parse(text)) as { type?: unknown };
    return typeof type === 'string' && !Object.hasOwn(LINES, type);
  } catch {
    return false;
  }
}

/** Null for what is no line of this format. The version of a header may be another than this program's. */
export function parseLine(text: string): RecordingLine | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isLine(value) ? (value as RecordingLine) : null;
}
