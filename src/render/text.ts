/** The closing report for a terminal: verdict first, then what it rests on, then what to type next. */
import type { Report } from '../report/types.ts';
import { formatDuration } from './duration.ts';
import { escapeText } from './escape.ts';
import { targetName } from './names.ts';
import { PLAIN, type Style } from './style.ts';
import { accountLines } from './text/accounts.ts';
import { classLines } from './text/classes.ts';
import { failureLines } from './text/failures.ts';
import { findingLines } from './text/findings.ts';
import { headline } from './text/headline.ts';
import { nextLines } from './text/next.ts';
import type { Recorded } from './text/next-of-recording.ts';
import { observationLines } from './text/observation.ts';
import { portLines } from './text/ports.ts';
import { processLines } from './text/processes.ts';
import { shortageLines } from './text/shortage.ts';
import { sourceLines } from './text/sources.ts';

/**
 * Lines of about 100 columns, ending in a newline. What others chose (names, arguments) is escaped.
 * @param recorded the recordings that it was read from; null for what exists now, on this host
 */
export function renderText(report: Report, style: Style = PLAIN, recorded: Recorded | null = null): string {
  const sections = [
    [...headline(report, style), ...shortageLines(report, style)],
    [style.dim(subject(report))],
    sourceLines(report, style),
    findingLines(report, style),
    processLines(report, style),
    failureLines(report, style),
    accountLines(report, style),
    classLines(report, style),
    portLines(report, style),
    observationLines(report, style),
    nextLines(report, style, recorded),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

function subject({ tool, host, target, window }: Report): string {
  const where = `${escapeText(host.hostname)} (Linux ${escapeText(host.kernel)})`;
  const how = `watched for ${formatDuration(window.durationMs)} until ${window.endedAt}`;
  return `${tool.name} ${tool.version} on ${where}: ${targetName(target)}, ${how}`;
}
