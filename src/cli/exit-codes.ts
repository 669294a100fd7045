/** What the exit status means; the same for every command. */
import type { Report } from '../report/types.ts';

export const ExitCode = {
  done: 0,
  internalError: 1,
  usage: 2,
  cannotTrace: 3,
  leak: 10,
  notKnown: 11,
  /** `run` itself failed, as env and timeout have it; 126 and 127 when the command cannot be executed or found */
  runFailed: 125,
  /** a second signal: ended at once, without a report */
  interrupted: 130,
  terminated: 143,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** 10 and 11 only when asked for. */
export function exitCodeOf({ verdict }: Pick<Report, 'verdict'>, failOnLeak: boolean): ExitCode {
  if (!failOnLeak) return ExitCode.done;
  switch (verdict.is) {
    case 'leak':
      return ExitCode.leak;
    case 'not-known':
      return ExitCode.notKnown;
    case 'no-leak':
      return ExitCode.done;
  }
}

/** A mistake in what the user asked for: told in one line, exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** `run` could not run its command: exit status 125 to 127. */
export class RunFailure extends Error {
  override readonly name = 'RunFailure';
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

/** The kernel or the user's rights do not permit tracing: exit status 3. */
export class CannotTraceError extends Error {
  override readonly name = 'CannotTraceError';
}
