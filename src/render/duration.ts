/** Durations as people type and read them: `500ms`, `14s`, `5m`, `2h`. */

export type ParsedDuration = { ok: true; ms: number } | { ok: false; error: string };

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;

/** A timer of Node overflows beyond 2^31 - 1 ms and then fires at once. */
const LONGEST_HOURS = 576;

/** Reads one number with its unit; fractions are allowed (`1.5s`). The result is a whole number of ms. */
export function parseDuration(text: string): ParsedDuration {
  const match = /^(\d{1,10}(?:\.\d{1,6})?)(ms|s|m|h)$/.exec(text.trim());
  const [number, unit] = [match?.[1], match?.[2]];
  if (number === undefined || unit === undefined) {
    const meant = /^\d{1,10}$/.test(text.trim())
      ? `it has no unit: did you mean ${text.trim()}s, or ${text.trim()}m?`
      : 'write a number and a unit, such as 500ms, 14s, 5m or 2h';
    return { ok: false, error: `"${text}" is no duration: ${meant}` };
  }
  const ms = Math.round(Number(number) * UNITS[unit as keyof typeof UNITS]);
  if (ms > LONGEST_HOURS * UNITS.h) return { ok: false, error: `"${text}" is too long: at most ${LONGEST_HOURS}h` };
  return { ok: true, ms };
}

/** The two greatest units that matter: `480ms`, `14s`, `5m 12s`, `2h 5m`, `3d 4h`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms < 1_000) return `${Math.floor(ms)}ms`;
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return pair(seconds, 60, 'm', 1, 's');
  if (seconds < 86_400) return pair(seconds, 3_600, 'h', 60, 'm');
  return pair(seconds, 86_400, 'd', 3_600, 'h');
}

function pair(seconds: number, great: number, greatUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((seconds % great) / small);
  return `${Math.floor(seconds / great)}${greatUnit}${rest === 0 ? '' : ` ${rest}${smallUnit}`}`;
}
