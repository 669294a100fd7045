/** Sizes as people type them: `500k`, `100M`, `2G`. */

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1_000, m: 1_000_000, g: 1_000_000_000, t: 1e12 };

/** Bytes; null for what is no size. */
export function parseSize(text: string): number | null {
  const [, number, unit] = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt]?)b?$/i.exec(text.trim()) ?? [];
  if (number === undefined || unit === undefined) return null;
  const bytes = Math.round(Number(number) * (UNITS[unit.toLowerCase()] ?? Number.NaN));
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
}
