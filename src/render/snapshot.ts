/** What `socktrace snapshot`, bare `socktrace` and `socktrace sockstat` print. */
import type { ClosedParts, SsSummary } from '../accounting/ss-summary.ts';
import type { Report } from '../report/types.ts';
import { formatDuration } from './duration.ts';
import { escapeText } from './escape.ts';
import { targetName } from './names.ts';
import { countOf, formatCount } from './numbers.ts';
import { PLAIN, type Style } from './style.ts';
import { classLines } from './text/classes.ts';
import { findingLines } from './text/findings.ts';
import { headline } from './text/headline.ts';
import { nextLines } from './text/next.ts';
import { portLines } from './text/ports.ts';
import { processLines } from './text/processes.ts';
import { shortageLines } from './text/shortage.ts';
import { socketLines } from './text/sockets.ts';

/** Every socket: wasteful ones first, at most `limit`; then the sums. */
export function renderSnapshot(report: Report, limit: number, style: Style = PLAIN): string {
  return page([
    [...headline(report, style), ...shortageLines(report, style)],
    [style.dim(subject(report))],
    findingLines(report, style),
    socketLines(report, limit, style),
    processLines(report, style),
    classLines(report, style),
    portLines(report, style),
    nextLines(report, style),
  ]);
}

/** The triage: what an engineer wants to know first, and what to type next. */
export function renderTriage(report: Report, style: Style = PLAIN): string {
  return page([
    [...headline(report, style), ...shortageLines(report, style)],
    [style.dim(subject(report))],
    classLines(report, style),
    findingLines(report, style),
    portLines(report, style),
    nextLines(report, style),
  ]);
}

/** The figures of `ss -s`, what its "closed" is made of, and the classes. */
export function renderSockstat(report: Report, summary: SsSummary, closed: ClosedParts, style: Style = PLAIN): string {
  const { total, tcp, estab, orphaned, timewait, transports } = summary;
  return page([
    [
      style.bold('WHAT ss -s PRINTS HERE'),
      `  Total: ${total}`,
      `  TCP:   ${tcp} (estab ${estab}, closed ${summary.closed}, orphaned ${orphaned}, timewait ${timewait})`,
      '',
      '  Transport Total     IP        IPv6',
      ...transports.map(({ name, v4, v6 }) => `  ${name.padEnd(10)}${pad(v4 + v6)}${pad(v4)}${v6}`),
    ],
    [
      style.bold(`WHAT "closed ${summary.closed}" IS MADE OF`),
      `  ${formatCount(closed.unhashed).padStart(9)}  in no hash table: what "closed" means; ss lists none of them`,
      `  ${formatCount(closed.timewait).padStart(9)}  TIME_WAIT, which ss adds by mistake: they are no sockets any more`,
      `  ${formatCount(closed.elsewhere).padStart(9)}  in use in other network namespaces: alloc counts the whole host, inuse this one`,
    ],
    classLines(report, style),
    nextLines(report, style),
  ]);
}

function pad(count: number): string {
  return String(count).padEnd(10);
}

function subject({ tool, host, target, window, sockets }: Report): string {
  const where = `${escapeText(host.hostname)} (Linux ${escapeText(host.kernel)})`;
  const count = sockets.held === null ? '?' : countOf(sockets.held, 'TCP socket');
  return `${tool.name} ${tool.version} on ${where}: ${count} of ${targetName(target)} at ${window.startedAt}, in ${formatDuration(window.durationMs)}`;
}

function page(sections: readonly string[][]): string {
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}
