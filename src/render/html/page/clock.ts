/** Times as the page shows them: those of UTC, as in the text report and in most logs. */

const DAY_MS = 86_400_000;

/** `03:14:07`, with the day before it where `spanMs` is longer than one. */
export function clock(atMs: number, spanMs: number): string {
  const [day, time] = new Date(atMs).toISOString().split('T') as [string, string];
  const short = time.slice(0, 8);
  return spanMs > DAY_MS ? `${day.slice(5)} ${short}` : short;
}

/** For an axis: no seconds where the steps are minutes. */
export function tick(atMs: number, stepMs: number, spanMs: number): string {
  const text = clock(atMs, spanMs);
  return stepMs % 60_000 === 0 ? text.slice(0, -3) : text;
}

/** `2026-11-23 03:14:07 UTC` */
export function moment(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
