/** The one line that a live session keeps showing. */
import type { Report } from '../report/types.ts';
import { formatDuration } from './duration.ts';
import { targetName } from './names.ts';
import { formatCount } from './numbers.ts';
import { PLAIN, type Style } from './style.ts';

/** `pid 1234 · 2m 14s · held 41,019 · suspects 41,012 · ports 12,000 · LEAKS 2 · no loss`, without a newline. */
export function renderStatusLine(report: Report, style: Style = PLAIN): string {
  const { findings, loss, sockets, target, window } = report;
  const suspects = findings.filter(({ kind }) => kind !== 'released');
  const leaks = findings.filter(({ leak }) => leak).length;
  const lost = loss.reasons.length;
  return [
    targetName(target),
    formatDuration(window.durationMs),
    `held ${sockets.held === null ? '?' : formatCount(sockets.held)}`,
    `suspects ${formatCount(sum(suspects, ({ count }) => count))}`,
    `ports ${formatCount(sum(suspects, ({ ports }) => ports))}`,
    leaks === 0 ? 'no leak yet' : style.red(style.bold(`LEAKS ${leaks}`)),
    lost === 0 ? 'no loss' : style.yellow(`loss of ${lost} ${lost === 1 ? 'sort' : 'sorts'}`),
  ].join(' · ');
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
