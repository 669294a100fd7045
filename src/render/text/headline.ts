/** The verdict in a few lines: what an engineer reads first, and perhaps only. */
import type { Finding, Report } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { escapeText } from '../escape.ts';
import { ProcessNames, targetName } from '../names.ts';
import { countOf, formatRate } from '../numbers.ts';
import type { Style } from '../style.ts';
import { KIND_CLAUSE } from '../words.ts';

const MOST_LEAKS = 5;

export function headline(report: Report, style: Style): string[] {
  const { verdict } = report;
  switch (verdict.is) {
    case 'leak':
      return leakLines(report, style);
    case 'no-leak':
      return [noLeakLine(report, style), ...suspectLine(report)];
    case 'not-known':
      return [
        `${style.bold(style.yellow('NOT KNOWN'))}: no leak was found, but there may be one, because of`,
        ...verdict.because.map((reason) => `  ${escapeText(reason)}`),
        ...suspectLine(report),
      ];
  }
}

function noLeakLine({ target, window }: Report, style: Style): string {
  const watched = `in ${formatDuration(window.durationMs)} of watching ${targetName(target)}`;
  return `${style.bold(style.green('NO LEAK'))} ${watched}`;
}

function leakLines(report: Report, style: Style): string[] {
  const names = new ProcessNames(report);
  const leaks = report.findings.filter(({ leak }) => leak);
  const lines = leaks.slice(0, MOST_LEAKS).map((leak) => `${style.bold(style.red('LEAK'))}  ${sentence(leak, names)}`);
  if (leaks.length > MOST_LEAKS) lines.push(`      and ${countOf(leaks.length - MOST_LEAKS, 'more leak')}, below`);
  return lines;
}

function sentence(leak: Finding, names: ProcessNames): string {
  const { count, heldAtExit, kind, errno, ports, oldestMs, oldestIsLowerBound, perMinute } = leak;
  const atExit = heldAtExit === count;
  const who = `${names.ofOwners(leak)} ${atExit ? 'exited with' : leak.processes > 1 ? 'hold' : held(leak, names)}`;
  const facts = [
    `${countOf(count, 'socket')} ${KIND_CLAUSE[kind]}${errno === null ? '' : ` (${errno})`}`,
    ...(ports > 0 ? [countOf(ports, 'port')] : []),
    `oldest ${oldestIsLowerBound ? 'at least ' : ''}${formatDuration(oldestMs)}`,
    ...(perMinute !== null && !atExit ? [formatRate(perMinute)] : []),
  ];
  return `${who} ${facts.join(', ')}`;
}

/** Who opened a socket need not be who has it now. */
function held({ holders, process }: Finding, names: ProcessNames): string {
  const owns = process.status === 'measured' && holders.some((holder) => holder.process === process.value);
  const [most] = holders;
  if (owns || most === undefined) return 'holds';
  const more = holders.length > 1 ? ` and ${countOf(holders.length - 1, 'more process', 'more processes')}` : '';
  return `opened, and ${names.of(most.process)}${more} now ${holders.length > 1 ? 'hold' : 'holds'},`;
}

function suspectLine({ findings, window }: Report): string[] {
  const suspects = findings.filter(({ kind }) => kind !== 'released').reduce((sum, { count }) => sum + count, 0);
  if (suspects === 0) return [];
  return [
    `  ${countOf(suspects, 'suspect socket')} below: a leak is ${formatDuration(window.leakAgeMs)} old (close-wait and ` +
      `disconnected ${formatDuration(window.idleLeakAgeMs)} idle), and grows or numbers ${window.leakCount}`,
  ];
}
