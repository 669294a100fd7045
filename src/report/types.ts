/**
 * The report document that `--json` prints. Names are a contract (report.schema.json ships with the tool);
 * additions keep schemaVersion 1. Times are milliseconds, 64-bit kernel numbers strings, errno a name.
 */
import type { SocketClass, SocketClassName } from '../accounting/classes.ts';
import type { NamespacePorts, PortHolder } from '../accounting/ports.ts';
import type {
  CallFrame,
  Endpoint,
  FailedOperation,
  FailureCause,
  HookChoice,
  Known,
  LossCode,
  PathCounters,
  PathId,
  PathQuality,
  PathRef,
  ProcessActivity,
  ProcessId,
  SelectedTarget,
  SocketKind,
  Sockstat,
  TcpState,
  Verdict,
  WastefulKind,
} from '../ledger/types.ts';

export const SCHEMA_VERSION = 1;

export interface ReportProcess {
  id: ProcessId;
  pid: number;
  namespacePids: Known<number[]>;
  startTime: Known<string>;
  comm: string;
  exe: Known<string>;
  cmdline: Known<string[]>;
  unit: Known<string | null>;
  container: Known<string | null>;
  netns: Known<number>;
  /** seen to exit while traced */
  exited: boolean;
  activity: Known<ProcessActivity>;
}

export interface FindingExample {
  /** null when no descriptor showed it */
  inode: string | null;
  /** whose descriptor `fd` is: the owner's where it has one */
  process: ProcessId | null;
  fd: number | null;
  family: 4 | 6;
  localPort: number | null;
  ageMs: number;
}

/** Suspects of one kind, owner, errno and pair of call paths. */
export interface Finding {
  /** stable across runs: kind, exe, errno and path fingerprint */
  key: string;
  kind: WastefulKind | 'released';
  leak: boolean;
  /** no leak yet, but one if its sockets stay as they are until they are old enough */
  undecided: boolean;
  /** the pattern that allows what would be a leak otherwise: `leak` and `undecided` are false then */
  allowed?: string;
  /** the owner: who opened or accepted the sockets; where `processes` is more than one, that of most of them */
  process: Known<ProcessId>;
  /** more than one where processes of one program have exited, or are many */
  processes: number;
  /** who has descriptors for them now, and for how many of them: the hundred that hold most */
  holders: { process: ProcessId; count: number }[];
  /** of `count`: became suspects after descriptors were last looked at, so that `holders` do not have them; absent when none */
  unconfirmed?: { count: number; since: string };
  openPath: PathRef;
  bindPath: PathRef | null;
  errno: string | null;
  count: number;
  /** distinct ports held; of sockets that have ended, the ports they held when their process exited */
  ports: number;
  oldestMs: number;
  /** some existed before they were first seen: the oldest may be older */
  oldestIsLowerBound: boolean;
  /** growth over the later half of the window in which it was watched; null while too short to tell */
  perMinute: number | null;
  /** of `count`: ended, because their last holder exited */
  heldAtExit: number;
  examples: FindingExample[];
  /** name of the recording that it is of; only in a report of several */
  source?: string;
}

export interface Failure {
  /** whose calls; where `processes` is more than one, the latest known of them */
  process: ProcessId;
  /** more than one where short-lived programs of one name are summed */
  processes: number;
  pid: number;
  comm: string;
  operation: FailedOperation;
  errno: string;
  cause: FailureCause;
  count: number;
  /** the network namespace in which the first of them failed; null where it is not known */
  netns: number | null;
  /** of the last of them; null where no call path is captured */
  path: PathRef | null;
  /** name of the recording that it is of; only in a report of several */
  source?: string;
}

/** What became of the sockets of a call path, healthy ones included. Exact totals since the trace began. */
export interface PathTotals extends Omit<PathCounters, 'sockets' | 'ended'> {
  /** sockets of this path that there are now */
  held: number;
}

/** A call path that findings or failures refer to, or a busy one. */
export interface ReportCallPath {
  id: PathId;
  quality: PathQuality;
  /** what is missing, and what to do about it */
  notes: string[];
  /** innermost first, those of libraries and runtimes included */
  frames: CallFrame[];
  /** null when they were not counted */
  counters: PathTotals | null;
}

/** Whether the host's `alloc` moved by what the hooks counted. */
export interface AllocMovement {
  /** after - before */
  alloc: number;
  opened: number;
  cloned: number;
  destroyed: number;
  /** alloc - (opened + cloned - destroyed): 0 when the sums close */
  unexplained: number;
}

export interface SockstatReport {
  before: Sockstat;
  after: Sockstat;
  /** unavailable in a snapshot: nothing was counted meanwhile */
  moved: Known<AllocMovement>;
  /** at the end; the counts and `unplaced` add up to `allocWhenClassified` */
  classes: Known<SocketClass[]>;
  unplaced: Known<number>;
  allocWhenClassified: Known<number>;
  /** what the classes could not see, in words */
  unseen: string[];
}

/** Who has ports, at the end; `before` and growth are null in a single look, and where the namespace was not seen before. */
export interface ReportPortHolder extends PortHolder {
  /** at the start, for the same use */
  before: number | null;
  /** of late; null, too, where too few came or went to tell */
  perMinute: number | null;
}

/** The ports of one network namespace at the end. */
export interface ReportPorts extends NamespacePorts {
  holders: ReportPortHolder[];
  /** growth of `inRange` over the later half of the time in which it was looked at */
  perMinute: Known<number>;
  /** until bind to port 0 finds none, at that rate; unavailable where that is too far ahead to tell */
  msToFull: Known<number>;
}

/** One socket as it is now. */
export interface SnapshotSocket {
  /** null when it has no file */
  inode: string | null;
  /** every process that has it open; empty: none, and `class` says what keeps it */
  holders: { process: ProcessId; fd: number }[];
  kind: SocketKind;
  class: SocketClassName;
  family: 4 | 6;
  state: TcpState;
  /** the port it holds now */
  port: number | null;
  local: Endpoint;
  peer: Endpoint;
  error: string | null;
  /** bytes; of a listener, connections not accepted and the most that may wait */
  receiveQueue: number;
  sendQueue: number;
  memory: number;
  /** since its last segment */
  idleMs: Known<number>;
  netns: number;
  /** whoever opened it, in the initial user namespace */
  uid: number;
  /** the host's name for `uid`; null when it has none, as for users of containers that have uids of their own */
  user: string | null;
}

/** One recording of a report of several: what is of its host and its time only. */
export interface ReportSource
  extends Pick<
    Report,
    'tool' | 'host' | 'target' | 'window' | 'verdict' | 'loss' | 'sockets' | 'sockstat' | 'ports' | 'lookedAt'
  > {
  /** of the file */
  name: string;
}

export interface Report {
  schemaVersion: typeof SCHEMA_VERSION;
  tool: { name: string; version: string };
  host: { hostname: string; bootId: string; kernel: string; hooks: HookChoice };
  target: SelectedTarget;
  window: {
    /** RFC 3339 */
    startedAt: string;
    endedAt: string;
    durationMs: number;
    minAgeMs: number;
    leakAgeMs: number;
    idleLeakAgeMs: number;
    leakCount: number;
  };
  verdict: Verdict;
  loss: { complete: boolean; reasons: { code: LossCode; what: string; count: number }[] };
  /** exact counts; null when no counters were read */
  sockets: {
    opened: number | null;
    accepted: number | null;
    destroyed: number | null;
    held: number | null;
    /** held by traced processes when the trace began */
    preexisting: number | null;
    /** came later, passed in by another process or by a call that no hook sees */
    arrived: number | null;
    /** why what the processes did does not add up to these; absent when it does */
    apart?: string;
    /** of the sockets shown to user space: suspects, what became of them, and those held at exit. Healthy ones are in `held` only. */
    byKind: { kind: SocketKind; count: number }[];
  };
  processes: ReportProcess[];
  /** all that findings and failures refer to, and the busiest others; most opened first */
  callPaths: Known<ReportCallPath[]>;
  /** sockets whose path was not sampled; null when nothing was counted */
  callPathsNotSampled: PathTotals | null;
  /** paths beyond those of `callPaths`, and the sum of their sockets */
  callPathsNotListed: { paths: number; counters: PathTotals } | null;
  findings: Finding[];
  /** patterns of allowances that match no finding; absent when there are none */
  unusedAllowances?: string[];
  failures: Known<Failure[]>;
  sockstat: Known<SockstatReport>;
  ports: Known<ReportPorts[]>;
  /** when the classes of sockets and the ports were looked at, where that was not at the end: RFC 3339 */
  lookedAt?: string;
  snapshot: Known<SnapshotSocket[]>;
  /** only in a report of several recordings */
  sources?: ReportSource[];
}
