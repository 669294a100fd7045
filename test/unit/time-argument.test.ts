import { InvalidArgumentError } from 'commander';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { instantsOf, isRelative, type Span, timeArgument } from '../../src/cli/time-argument.ts';

const at = Date.parse;
/** From the evening of one day to the morning of the next but one. */
const TWO_NIGHTS = { startMs: at('2026-11-22T21:30:00Z'), endMs: at('2026-11-24T03:15:20Z') };

function meant(text: string, span = TWO_NIGHTS): string | null {
  const [ms] = instantsOf(timeArgument(text), span);
  return ms === undefined ? null : new Date(ms).toISOString().replace('.000', '');
}

afterEach(() => vi.unstubAllEnvs());

describe('a time of day', () => {
  it.each([
    { text: '03:15', is: '2026-11-24T03:15:00Z' },
    { text: '3:15:20', is: '2026-11-24T03:15:20Z' },
    { text: '03:15:21', is: '2026-11-23T03:15:21Z' },
    { text: '23:59', is: '2026-11-23T23:59:00Z' },
    { text: '00:00', is: '2026-11-24T00:00:00Z' },
  ])('$text is the last one of the recording: $is', ({ text, is }) => {
    vi.stubEnv('TZ', 'UTC');
    expect(meant(text)).toBe(is);
    expect(meant(`${text}Z`)).toBe(is);
  });

  it('is that of whoever reads, unless it is said to be UTC', () => {
    vi.stubEnv('TZ', 'Asia/Tokyo');
    // Where midnight is at 15:00 of UTC.
    expect(meant('12:15')).toBe('2026-11-24T03:15:00Z');
    expect(meant('12:16')).toBe('2026-11-23T03:16:00Z');
    expect(meant('00:00')).toBe('2026-11-23T15:00:00Z');
    expect(meant('12:15Z')).toBe('2026-11-23T12:15:00Z');
  });

  it('is none in a recording that is shorter than a day and has no such time', () => {
    vi.stubEnv('TZ', 'UTC');
    const night = { startMs: at('2026-11-23T23:50:00Z'), endMs: at('2026-11-24T00:10:00Z') };
    expect(meant('23:55', night)).toBe('2026-11-23T23:55:00Z');
    expect(meant('00:05', night)).toBe('2026-11-24T00:05:00Z');
    expect(meant('00:11', night)).toBeNull();
    expect(meant('23:49:59', night)).toBeNull();
  });

  it('is right on the day on which clocks are set', () => {
    vi.stubEnv('TZ', 'Europe/Berlin');
    const night = { startMs: at('2026-10-24T20:00:00Z'), endMs: at('2026-10-25T05:00:00Z') };
    expect(meant('01:30', night)).toBe('2026-10-24T23:30:00Z');
    expect(meant('04:30', night)).toBe('2026-10-25T03:30:00Z');
  });

  describe('that comes twice, as clocks are set back', () => {
    const first = at('2026-10-25T00:30:00Z');
    const second = at('2026-10-25T01:30:00Z');
    const night = { startMs: at('2026-10-24T20:00:00Z'), endMs: at('2026-10-25T05:00:00Z') };
    const both = (text: string, span: Span) => {
      vi.stubEnv('TZ', 'Europe/Berlin');
      return instantsOf(timeArgument(text), span);
    };

    it.each([
      { name: 'is the second', span: night, is: [second, first] },
      { name: 'is the first where it ends before the second', span: { ...night, endMs: second - 1 }, is: [first] },
      { name: 'is the second where it begins after the first', span: { ...night, startMs: first + 1 }, is: [second] },
    ])('$name', ({ span, is }) => {
      expect(both('02:30', span)).toEqual(is);
    });

    it('is both only of one night', () => {
      expect(both('02:30', { ...night, startMs: at('2026-10-23T20:00:00Z') })).toEqual([second, first]);
      expect(both('03:30', night)).toEqual([at('2026-10-25T02:30:00Z')]);
    });

    it('half an hour, too', () => {
      vi.stubEnv('TZ', 'Australia/Lord_Howe');
      const span = { startMs: at('2026-04-04T10:00:00Z'), endMs: at('2026-04-04T20:00:00Z') };
      expect(instantsOf(timeArgument('01:45'), span)).toEqual([at('2026-04-04T15:15:00Z'), at('2026-04-04T14:45:00Z')]);
    });
  });

  it('that is left out as clocks are set forward is when they are set', () => {
    vi.stubEnv('TZ', 'Europe/Berlin');
    const night = { startMs: at('2026-03-28T20:00:00Z'), endMs: at('2026-03-29T05:00:00Z') };
    expect(instantsOf(timeArgument('02:30'), night)).toEqual([at('2026-03-29T01:30:00Z')]);
  });
});

it('an instant and a time before the end are what they were', () => {
  expect(meant('2026-11-24T03:10:00+01:00')).toBe('2026-11-24T02:10:00Z');
  expect(meant('5m')).toBe('2026-11-24T03:10:20Z');
  expect(isRelative(timeArgument('2026-11-24 03:10:00Z'))).toBe(false);
  expect(isRelative(timeArgument('03:10'))).toBe(true);
});

it.each(['24:00', '03:60', '03:15:60', '03', '3:5', '03:00 ', '03:00+01:00', 'yesterday', ''])(
  '"%s" is no time',
  (text) => {
    expect(() => timeArgument(text)).toThrow(InvalidArgumentError);
  },
);
