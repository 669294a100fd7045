/** Times of a recording as people type them: an instant, a time of day, or so long before the end. */
import { InvalidArgumentError } from 'commander';
import { parseDuration } from '../render/duration.ts';

/** A time as typed. What it means depends on the recording, unless it is an instant. */
export type TimeArgument =
  | { is: 'instant'; ms: number }
  | { is: 'before-end'; ms: number }
  /** `zone`: of whoever reads, or UTC */
  | { is: 'time-of-day'; seconds: number; zone: 'local' | 'UTC'; text: string };

/** When a recording was made: wall clock, ms since the epoch. */
export interface Span {
  startMs: number;
  endMs: number;
}

const RFC_3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;
const TIME_OF_DAY = /^([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?([Zz]?)$/;

/** commander parser */
export function timeArgument(text: string): TimeArgument {
  if (RFC_3339.test(text)) {
    const ms = Date.parse(text.replace(' ', 'T'));
    if (!Number.isNaN(ms)) return { is: 'instant', ms };
  }
  const [, hours, minutes, seconds, utc] = TIME_OF_DAY.exec(text) ?? [];
  if (hours !== undefined)
    return {
      is: 'time-of-day',
      seconds: Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds ?? 0),
      zone: utc === '' ? 'local' : 'UTC',
      text,
    };
  const parsed = parseDuration(text);
  if (!parsed.ok)
    throw new InvalidArgumentError(
      'a time is 03:00 or 03:15:30 (local time; 03:00Z is UTC), 2026-11-24T03:00:00Z (RFC 3339, with its zone), or 5m before the end.',
    );
  return { is: 'before-end', ms: parsed.ms };
}

/** Whether the recording has to be asked when it was made. */
export function isRelative(time: TimeArgument | undefined): boolean {
  return time !== undefined && time.is !== 'instant';
}

/**
 * The instant that is meant: of a time of day the latest one within the span.
 * @returns null when the span has no such time of day
 */
export function instantOf(time: TimeArgument, { startMs, endMs }: Span): number | null {
  switch (time.is) {
    case 'instant':
      return time.ms;
    case 'before-end':
      return endMs - time.ms;
    case 'time-of-day': {
      const latest = [0, 1, 2].map((days) => onDay(time, endMs, days)).find((ms) => ms <= endMs);
      return latest === undefined || latest < startMs ? null : latest;
    }
  }
}

/** The days before that of `endMs`, since clocks may be set back on it. */
function onDay({ seconds, zone }: Extract<TimeArgument, { is: 'time-of-day' }>, endMs: number, before: number): number {
  const end = new Date(endMs);
  return zone === 'UTC'
    ? Date.UTC(end.getUTCFullYear(), end.getUTCMonth(), end.getUTCDate() - before, 0, 0, seconds)
    : new Date(end.getFullYear(), end.getMonth(), end.getDate() - before, 0, 0, seconds).getTime();
}
