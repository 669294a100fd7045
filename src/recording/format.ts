/**
 * What the lines of a recording are: one JSON object each. They are the ledger's inputs, except that those which
 * repeat themselves (walks of descriptors, processes, ends of sockets) are written as what is new. RECORDING.md describes them for readers.
 */
import type { HeldSocket, Known, LedgerInput, ProcessActivity, ProcessId, SocketId } from '../ledger/types.ts';

/** Of the format. Additions that an old reader may ignore keep it. */
export const RECORDING_VERSION = 1;

/** Longer lines are not read: whoever wrote them, it was not this program. */
export const LONGEST_LINE_BYTES = 1 << 25;

/** A file that is no recording, or not one that this version reads. */
export class RecordingError extends Error {
  override readonly name = 'RecordingError';
}

/** Between two ticks there are not more lines than sockets come to be told of at a time. More are not waited for. */
export const MOST_BETWEEN_TICKS = 100_000;

/** The first line. */
export interface RecordingHeader {
  type: 'recording';
  version: typeof RECORDING_VERSION;
  tool: { name: string; version: string };
}

/** The last line of a recording that was closed, whatever ended it. */
export interface EndLine {
  type: 'end';
  because: string;
  /** lines before this one, the header included */
  lines: number;
}

/**
 * A walk of descriptors: what it saw otherwise than the walk before, and what it saw no more. Of a long one, all lines
 * but the last have `more`.
 */
export interface HoldersLine {
  type: 'holders';
  atMs: number;
  complete: boolean;
  /** counts the walks from 1: a gap tells that one is missing */
  walk: number;
  sockets: HeldSocket[];
  gone: SocketId[];
  more: boolean;
}

/** A process of which nothing changed but what it did. */
export interface ActivityLine {
  type: 'activity';
  process: ProcessId;
  activity: Known<ProcessActivity>;
}

/** The end of a socket that no process held when it exited: nothing but that it is over counts. */
export interface ClosedLine {
  type: 'closed';
  id: SocketId;
  atMs: number;
}

export type RecordingLine =
  | Exclude<LedgerInput, { type: 'holders' }>
  | RecordingHeader
  | EndLine
  | HoldersLine
  | ActivityLine
  | ClosedLine;
