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

const MS_PER_MINUTE = 60_000;
const HALF_DAY_MS = 12 * 60 * MS_PER_MINUTE;

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
 * The instant that is meant: of a time of day the latest one within the span. A second one where the span has both of a
 * night in which clocks are set back; none where it has no such time of day.
 */
export function instantsOf(time: TimeArgument, { startMs, endMs }: Span): number[] {
  switch (time.is) {
    case 'instant':
      return [time.ms];
    case 'before-end':
      return [endMs - time.ms];
    case 'time-of-day': {
      const isIn = (ms: number): boolean => ms >= startMs && ms <= endMs;
      const days = [0, 1, 2].map((before) => timesOnDay(time, endMs, before));
      return (days.find((times) => times.some((ms) => ms <= endMs)) ?? []).filter(isIn);
    }
  }
}

/** Latest first. Of a time that comes twice, JavaScript gives the first. */
function timesOnDay(time: Extract<TimeArgument, { is: 'time-of-day' }>, endMs: number, before: number): number[] {
  const ms = onDay(time, endMs, before);
  if (time.zone === 'UTC') return [ms];
  const offset = (at: number): number => new Date(at).getTimezoneOffset();
  const setBack = offset(ms + HALF_DAY_MS) - offset(ms);
  const again = ms + setBack * MS_PER_MINUTE;
  return setBack > 0 && offset(again) - offset(ms) === setBack ? [again, ms] : [ms];
}

/** The days before that of `endMs`, since clocks may be set back on it. */
function onDay({ seconds, zone }: Extract<TimeArgument, { is: 'time-of-day' }>, endMs: number, before: number): number {
  const end = new Date(endMs);
  return zone === 'UTC'
    ? Date.UTC(end.getUTCFullYear(), end.getUTCMonth(), end.getUTCDate() - before, 0, 0, seconds)
    : new Date(end.getFullYear(), end.getMonth(), end.getDate() - before, 0, 0, seconds).getTime();
}
