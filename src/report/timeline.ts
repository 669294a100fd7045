/**
 * How the counts of a report came about: the same inputs as the ledger's, laid out in time. Bounded: when the buckets are
 * used up, pairs become one and later ones are twice as long.
 *
 * Every column has one element a bucket. The bucket `i` begins at `startMs + i * bucketMs`.
 */
import type { FailedOperation, FailureCause, Known, PathRef, ProcessId, WastefulKind } from '../ledger/types.ts';

/** Values at one moment of each bucket; the last bucket's is that of the report. Null: nothing was told in it. */
export type Levels = (number | null)[];

/** What happened in each bucket: adds up over any window. */
export type Amounts = number[];

/** Ports of one network namespace. */
export interface TimelinePorts {
  netns: number;
  /** ports of its range that can be given out at all, those in use included */
  limit: Known<number>;
  /** distinct ports that suspects hold */
  bySuspects: Levels;
  /** ports of the range in use by anybody: known when a census was taken */
  inRange: Levels;
}

/** What one recording (one host) counted. */
export interface TimelineSource {
  /** of the recording; empty where there is only one */
  name: string;
  hostname: string;
  /** `alloc` of /proc/net/sockstat: every TCP socket of the host */
  alloc: Levels;
  /** sockets of the traced processes, healthy ones included */
  held: Levels;
  /** sockets of the traced processes that came and went */
  opened: Amounts;
  destroyed: Amounts;
  ports: TimelinePorts[];
}

/** Suspects of one finding. It may be one that was gone before the end, and is then not in the report. */
export interface TimelineFinding {
  /** that of the report's finding; of one that is not in it, the key that it would have had */
  key: string;
  /** whether the report has a finding of this key */
  reported: boolean;
  /** index of `sources` */
  source: number;
  kind: WastefulKind | 'released';
  errno: string | null;
  /** executable, else comm */
  program: string;
  /** the owner: of several, one */
  process: Known<ProcessId>;
  openPath: PathRef;
  bindPath: PathRef | null;
  /** when it was first followed, wall clock ms: how many there were before is not known; null: it is known from the start */
  followedFromMs: number | null;
  /** sockets */
  counts: Levels;
  /** distinct ports that they hold */
  ports: Levels;
}

/** Failed calls of all processes of one name. */
export interface TimelineFailure {
  source: number;
  comm: string;
  operation: FailedOperation;
  errno: string;
  cause: FailureCause;
  path: PathRef | null;
  counts: Amounts;
}

export interface Timeline {
  /** wall clock, ms since the epoch */
  startMs: number;
  bucketMs: number;
  /** how many there are */
  buckets: number;
  sources: TimelineSource[];
  /** suspects of all sources by kind, those of findings that are not listed included; kinds without any are left out */
  byKind: { kind: WastefulKind | 'released'; counts: Levels }[];
  /** those that were ever the greatest */
  findings: TimelineFinding[];
  /** the most frequent; what is beyond has the comm `(others)` */
  failures: TimelineFailure[];
}
