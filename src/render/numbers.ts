/** Counts as people read them. */

import { formatCount } from '../ledger/format-count.ts';

export { formatCount };

/** `+812`, `-3`, `0`. */
export function formatChange(change: number): string {
  return change > 0 ? `+${formatCount(change)}` : change < 0 ? `-${formatCount(-change)}` : '0';
}

/** `+812/min`, `+0.5/min`, `steady`, `?` when unknown. */
export function formatRate(perMinute: number | null): string {
  if (perMinute === null) return '?';
  const size = Math.abs(perMinute);
  if (size < 0.05) return 'steady';
  const text = size < 10 ? size.toFixed(1).replace(/\.0$/, '') : formatCount(Math.round(size));
  return `${perMinute < 0 ? '-' : '+'}${text}/min`;
}

/** `1 socket`, `12,000 sockets`. */
export function countOf(count: number, noun: string, plural: string = `${noun}s`): string {
  return `${formatCount(count)} ${count === 1 ? noun : plural}`;
}

const BYTE_UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB'];

/** `812 bytes`, `3.2 MB`. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  for (; value >= 1_000 && unit < BYTE_UNITS.length - 1; unit++) value /= 1_000;
  return `${unit === 0 ? value : value.toFixed(1).replace(/\.0$/, '')} ${BYTE_UNITS[unit]}`;
}
