/**
 * The types everything hangs on: what the kernel side tells the ledger, and what the ledger concludes.
 *
 * A LedgerInput is exactly one line of a recording, so it is plain JSON: 64-bit kernel numbers are decimal strings,
 * times are milliseconds of CLOCK_MONOTONIC (fractions allowed) unless a name says otherwise.
 */

import type { Classes } from '../accounting/classes.ts';
import type { NamespacePorts } from '../accounting/ports.ts';

/** A fact, or why it is not known. Nothing unknown is ever rendered as zero or as an empty list. */
export type Known<T> = { status: 'measured'; value: T } | { status: 'unavailable'; reason: string };

/** `bootId:pid:startTicks`: stays unique through pid reuse and reboots. */
export type ProcessId = string;

/** A socket's identity: `skAddressHex:birthNs`. Addresses are reused by the kernel, births are not. */
export type SocketId = string;

/** Which call path an event came from. */
export type PathRef =
  | { status: 'resolved'; id: PathId }
  | { status: 'pending' | 'not-sampled' | 'preexisting' }
  | { status: 'unavailable'; reason: string };

/** Fingerprint of a path's frames: the same in another run of the same binaries. */
export type PathId = string;

/** The sum of all sockets whose path was not sampled: in `pathCounters` beside the paths. */
export const NOT_SAMPLED = 'not-sampled';

/**
 * complete: every frame down to the thread's first. truncated: the copied stack ended before. unreliable: it may lack
 * frames, or have wrong ones. unreadable: no frame beyond the first could be found.
 */
export type PathQuality = 'complete' | 'truncated' | 'unreliable' | 'unreadable';

/** How a frame was found: `leaf` by the registers, `inlined` by DWARF within the frame before it in this list. */
export type FrameHow = 'leaf' | 'cfi' | 'frame-pointer' | 'guess' | 'inlined';

export interface CallFrame {
  /** demangled; null where no symbol covers the address */
  function: string | null;
  /** path of the file as the process has mapped it, `[jit]` for code without a file, null when not known */
  module: string | null;
  buildId: string | null;
  /** into the module's file, hexadecimal with 0x; the address itself where there is no file */
  offset: string;
  /** of the call, from DWARF */
  file: string | null;
  line: number | null;
  how: FrameHow;
}

/** The user stack at an open, a bind, an accept or a failed connect. */
export interface CallPath {
  id: PathId;
  quality: PathQuality;
  /** what is missing and what to do about it (a flag of the runtime, a package of symbols), in words */
  notes: string[];
  /** innermost first; an inlined function comes before the frame that it was inlined into */
  frames: CallFrame[];
}

/** What became of all sockets that a path opened (or bound): healthy ones too. Totals since the trace began. */
export interface PathCounters {
  /** sockets whose path it has been, and those of them that have ended (or were bound by another path since) */
  sockets: number;
  ended: number;
  opened: number;
  accepted: number;
  bound: number;
  bindFailed: number;
  connected: number;
  connectFailed: number;
  listened: number;
  /** destroyed without ever having been connected or listening */
  closedUnused: number;
}

/** TCP states by the kernel's names (include/net/tcp_states.h), in the order of its numbers, which begin with 1. */
export const TCP_STATES = [
  'ESTABLISHED',
  'SYN_SENT',
  'SYN_RECV',
  'FIN_WAIT1',
  'FIN_WAIT2',
  'TIME_WAIT',
  'CLOSE',
  'CLOSE_WAIT',
  'LAST_ACK',
  'LISTEN',
  'CLOSING',
  'NEW_SYN_RECV',
] as const;
export type TcpState = (typeof TCP_STATES)[number];

/** What has ever happened to a socket; its present state does not tell. */
export interface SocketHistory {
  /** a bind(2) succeeded */
  bound: boolean;
  /** a connect(2) was tried */
  connecting: boolean;
  established: boolean;
  listening: boolean;
}

export interface Endpoint {
  /** textual address, v4 or v6 */
  address: string;
  port: number;
}

/** Everything recorded of one socket at one version. Its kind is a total function of these. */
export interface SocketFacts {
  id: SocketId;
  /** `traced`: its open or accept was seen. `seeded`: an iterator found it (older than the trace, or passed in). */
  origin: 'traced' | 'seeded';
  /** came from accept(2); unavailable for seeded sockets */
  accepted: Known<boolean>;
  /** the process that opened or accepted it; of a seeded socket, the one that was seen to hold it */
  owner: Known<ProcessId>;
  openedMs: Known<number>;
  /** time of the last change of any fact: the row's version */
  changedMs: number;
  /** decimal ns; later is newer. The ledger ignores older versions. */
  version: string;
  family: 4 | 6;
  state: TcpState;
  /** the port it holds now, null for none (getsockname(2) may still show a stale one) */
  port: number | null;
  /** unavailable for a socket seeded in CLOSE to which nothing has happened since */
  ever: Known<SocketHistory>;
  /** errno name of the last bind(2); null when it succeeded or none was made */
  bindErrno: string | null;
  connectErrno: string | null;
  /** sk_err when the socket fell to CLOSE after having been established, e.g. ECONNRESET */
  socketErrno: string | null;
  local: Endpoint | null;
  peer: Endpoint | null;
  /** the last descriptor is gone */
  released: boolean;
  /** state at that moment */
  releaseState: TcpState | null;
  /** released by an exiting task, in a wasteful state */
  heldAtExit: boolean;
  /** inode number of the network namespace */
  netns: number;
  uid: number;
  openPath: PathRef;
  /** null when it was never bound */
  bindPath: PathRef | null;
}

export type SocketKind =
  | 'unused'
  | 'bound-inactive'
  | 'bind-failed'
  | 'connect-failed'
  | 'disconnected'
  | 'close-wait'
  | 'closed-unknown'
  | 'connecting'
  | 'established'
  | 'closing'
  | 'listening'
  | 'unaccepted'
  | 'released';

/** Kinds a program has no use for. A socket in one of them for `minAgeMs` is a suspect. */
export const WASTEFUL_KINDS = [
  'unused',
  'bound-inactive',
  'bind-failed',
  'connect-failed',
  'disconnected',
  'close-wait',
  'closed-unknown',
] as const satisfies readonly SocketKind[];

export type WastefulKind = (typeof WASTEFUL_KINDS)[number];

/** One descriptor that refers to a socket. */
export interface Holder {
  process: ProcessId;
  pid: number;
  fd: number;
  inode: string;
}

/** What a confirm pass saw of one socket. */
export interface HeldSocket {
  id: SocketId;
  holders: Holder[];
  receiveQueue: number;
  sendQueue: number;
  /** bytes received, read by the owner and acknowledged, added up, decimal: when it changes, something moved */
  bytesMoved: string;
}

/** Identity and surroundings of a process; the fields that come from /proc are unavailable when it was gone. */
export interface ProcessFacts {
  id: ProcessId;
  pid: number;
  parentPid: number | null;
  comm: string;
  exe: Known<string>;
  cmdline: Known<string[]>;
  /** pids in nested namespaces, outermost first */
  namespacePids: Known<number[]>;
  /** RFC 3339 */
  startTime: Known<string>;
  /** systemd unit, null when in none */
  unit: Known<string | null>;
  /** container id, null when in none */
  container: Known<string | null>;
  netns: Known<number>;
  exitedMs: number | null;
}

/** What a traced process did while traced. Healthy sockets are counted here and nowhere else. */
export interface ProcessActivity {
  opened: number;
  accepted: number;
  bound: number;
  /** connects that established */
  connected: number;
  listened: number;
  destroyed: number;
}

export type FailedOperation = 'socket' | 'bind' | 'connect' | 'listen' | 'accept';

/** Why an operation failed, as far as its arguments and errno tell. */
export type FailureCause =
  /** port 0 or an unbound connect/listen: the port range has none left */
  | 'no-free-port'
  /** one given port that somebody holds */
  | 'port-taken'
  /** connect: this pair of endpoints exists already; not a shortage of ports */
  | 'tuple-in-use'
  | 'address-not-local'
  | 'privileged-port'
  | 'permission'
  | 'refused'
  | 'reset'
  | 'timed-out'
  | 'unreachable'
  | 'descriptor-limit'
  | 'memory'
  | 'unsupported'
  | 'invalid'
  | 'other';

/** What else the cause of a failure hangs on (enum failure_detail of records.h). */
export type FailureDetail =
  | 'plain'
  /** bind(2) asked for any port */
  | 'port-zero'
  /** bind(2) asked for one port */
  | 'port-given'
  /** the sockaddr could not be read */
  | 'port-unread'
  /** connect(2) or listen(2) on a socket without a port */
  | 'unbound'
  /** the same on a socket that had one */
  | 'bound'
  /** a non-blocking connect that failed later */
  | 'asynchronous';

export interface FailureFacts {
  process: ProcessId;
  pid: number;
  comm: string;
  operation: FailedOperation;
  errno: string;
  /** part of the identity: rows that differ only here carry separate totals, though their cause may be the same */
  detail: FailureDetail;
  cause: FailureCause;
  /** total since the trace began */
  count: number;
  firstMs: number;
  lastMs: number;
  netns: number;
  /** of the last of them; null when call paths are off or the operation has none */
  path: PathRef | null;
}

/** /proc/net/sockstat and sockstat6 of one network namespace. `alloc`, `orphan` and `mem` are host-wide. */
export interface Sockstat {
  socketsUsed: number;
  tcpInuse: number;
  tcp6Inuse: number;
  orphan: number;
  timeWait: number;
  alloc: number;
  memPages: number;
}

/** Totals since the hooks were switched on. Exact: a program's count plus its recursion misses. */
export interface HostCounters {
  opened: number;
  cloned: number;
  destroyed: number;
}

/** Totals of the traced selection since the hooks were switched on. */
export interface TrackedCounters {
  opened: number;
  accepted: number;
  /** held by traced processes when the trace began */
  preexisting: number;
  /** first seen by a later walk of descriptors: passed in by another process, or accepted where no hook looks */
  arrived: number;
  destroyed: number;
}

/** Something that should have been observed and was not. Codes are stable; `what` says it in words. */
export interface Loss {
  code: LossCode;
  count: number;
}

export const LOSS_CODES = {
  'socket-table-full': 'times a socket could not be followed: the socket table was full (raise --max-sockets)',
  'socket-insert-failed': 'times a socket could not be followed: the kernel refused the table entry (EBUSY or ENOMEM)',
  'socket-delete-failed': 'rows of destroyed sockets that could not be removed',
  'ended-park-failed': 'ends of sockets that came late: their queue refused them, the table kept them',
  'process-table-full': 'times a process could not be followed: the process table was full',
  'failure-table-full': 'failed calls of traced processes not counted: their table was full',
  'victim-table-full': 'failed calls of other processes not counted: their table was full',
  'event-ring-full': 'events not streamed: the ring was full (the findings do not depend on them)',
  'event-not-printed': 'events not printed: their reader was too slow',
  'sockaddr-unread': 'failed binds whose address could not be read (cause unknown)',
  'call-result-missed': 'calls whose result was not seen (errnos and failed calls may be missing; no socket is)',
  'destroy-unseen': 'ends of sockets that no program saw, found by the walks (the counts include them)',
  'mptcp-unseen': 'MPTCP sockets held by traced processes that have no TCP socket yet, or none that can be reached',
  'state-mended': 'states that no hook reported, put right by the walk of descriptors (their history may lack a step)',
  'iterator-failed': 'walks of descriptors or tables that ended with an error',
  'recording-torn': 'lines of the recording that could not be read',
  'recording-newer': 'lines of a newer version, not understood (what they add changes no count)',
  'stack-ring-full': 'call paths not captured: the ring of stacks was full (their sockets are counted, as not sampled)',
  'path-table-full': 'captures whose call path could not be counted: the table of paths was full',
  'path-cache-wrong': 'answers of the path cache that an audit found wrong (sockets may be shown at a wrong call path)',
  'unwinder-died': 'times the unwinder ended and was started again (call paths of that moment may lack names)',
} as const;

export type LossCode = keyof typeof LOSS_CODES;

/** Loss that touches the event stream, the failed calls, their causes or the call paths, never a socket or its count. */
export const HARMLESS_LOSSES: readonly LossCode[] = [
  'event-ring-full',
  'event-not-printed',
  'sockaddr-unread',
  'state-mended',
  'ended-park-failed',
  'failure-table-full',
  'victim-table-full',
  'call-result-missed',
  'destroy-unseen',
  'recording-newer',
  'stack-ring-full',
  'path-table-full',
  'path-cache-wrong',
  'unwinder-died',
];

export interface SelectedTarget {
  /** as asked for */
  pids: number[];
  /** the same processes, beyond reuse of their pids */
  processes: ProcessId[];
  follow: boolean;
  /** what other processes are selected by, as asked for; absent when by nothing. `comm`, for instance: `nginx` */
  selectors?: TargetSelector[];
  /** what `socktrace run` started */
  command?: string[];
}

export type TargetSelector =
  | { by: 'comm' | 'cgroup' | 'user'; value: string }
  /** the network namespace of this process */
  | { by: 'netns-of'; value: string }
  | { by: 'all' };

/** Ages and counts that make a suspect and a leak. Milliseconds. */
export interface Thresholds {
  minAgeMs: number;
  leakAgeMs: number;
  /** for close-wait and disconnected, counted without any byte moving */
  idleLeakAgeMs: number;
  leakCount: number;
}

export interface HookChoice {
  /** `none`: nothing was traced, only what exists was looked at */
  set: 'fentry' | 'kprobe' | 'cgroup' | 'none';
  refused: { set: string; reason: string }[];
  /** what this set cannot see, in words */
  blindSpots: string[];
}

/** First line of every stream: who was traced, by what, and how times map to the wall clock. */
export interface SessionFacts {
  tool: { name: string; version: string };
  host: { hostname: string; bootId: string; kernel: string; hooks: HookChoice };
  target: SelectedTarget;
  thresholds: Thresholds;
  /** the same instant on both clocks */
  clock: { monotonicMs: number; wallMs: number };
  /** patterns of findings that are expected: see report/allow.ts */
  allow?: string[];
  /** whether call paths are captured; absent: by a version that has none */
  callPaths?: Known<true>;
  /** whether failed calls are seen as they return; absent: by a version that always took it for granted */
  failedCalls?: Known<true>;
}

/** Where every socket of the host is, and which ports are in use. */
export interface HostCensus {
  classes: Classes;
  ports: NamespacePorts[];
  /** who has these ports, as far as /proc showed it then; absent: by a version that did not look */
  processes?: ProcessFacts[];
  /** what was not looked at, in words */
  unseen: string[];
}

/** One step of the ledger's life: the live session feeds these, a recording holds them, a replay feeds them again. */
export type LedgerInput =
  | { type: 'session'; session: SessionFacts }
  | { type: 'socket'; facts: SocketFacts }
  /** the last facts of a destroyed socket; also sent for one never seen before (held at exit) */
  | { type: 'ended'; facts: SocketFacts; atMs: number }
  /** activity is unavailable for a process that is not traced, only named as a holder or by a failure */
  | { type: 'process'; facts: ProcessFacts; activity: Known<ProcessActivity> }
  /**
   * A confirm pass: which sockets are held otherwise than in the passes before, and which are held no more. When it is
   * complete, a known socket that was in none of them has no descriptor.
   */
  | { type: 'holders'; atMs: number; complete: boolean; sockets: HeldSocket[]; gone: SocketId[] }
  | { type: 'failure'; facts: FailureFacts }
  /** comes before what refers to it; again when more of its names are known */
  | { type: 'path'; path: CallPath }
  /** of those that changed, and of NOT_SAMPLED */
  | { type: 'pathCounters'; paths: { id: PathId; counters: PathCounters }[] }
  | {
      type: 'hostSample';
      atMs: number;
      sockstat: Known<Sockstat>;
      counters: HostCounters;
      tracked: TrackedCounters;
    }
  /** where every socket of the host is, and which ports are in use */
  | { type: 'census'; atMs: number; seen: Known<HostCensus> }
  /** totals so far, not increments */
  | { type: 'loss'; losses: Loss[] }
  | { type: 'tick'; atMs: number };

export type Verdict = { is: 'leak'; findings: string[] } | { is: 'no-leak' } | { is: 'not-known'; because: string[] };
