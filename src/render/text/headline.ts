/** The verdict in a few lines: what an engineer reads first, and perhaps only. */
import type { Finding, Report } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { escapeText } from '../escape.ts';
import { ProcessNames, targetName } from '../names.ts';
import { countOf, formatCount, formatRate } from '../numbers.ts';
import type { Style } from '../style.ts';
import { KIND_CLAUSE } from '../words.ts';
import { CallPathTexts } from './call-path.ts';
import { suspectLines } from './suspects.ts';

const MOST_LEAKS = 5;

export function headline(report: Report, style: Style): string[] {
  const { verdict } = report;
  switch (verdict.is) {
    case 'leak':
      return leakLines(report, style);
    case 'no-leak':
      return [noLeakLine(report, style), ...suspectLine(report)];
    case 'not-known': {
      const suspects = report.host.hooks.set === 'none' ? suspectLines(report, style) : [];
      if (suspects.length > 0)
        return [
          ...suspects,
          `${style.bold(style.yellow('NOT KNOWN'))}: whether they are a leak, because of`,
          ...verdict.because.map((reason) => `  ${escapeText(reason)}`),
          `A leak ${whatIsALeak(report)}.`,
        ];
      return [
        `${style.bold(style.yellow('NOT KNOWN'))}: no leak was found, but there may be one, because of`,
        ...verdict.because.map((reason) => `  ${escapeText(reason)}`),
        ...suspectLine(report),
      ];
    }
  }
}

function noLeakLine({ target, window }: Report, style: Style): string {
  const watched = `in ${formatDuration(window.durationMs)} of watching ${targetName(target)}`;
  return `${style.bold(style.green('NO LEAK'))} ${watched}`;
}

function leakLines(report: Report, style: Style): string[] {
  const names = new ProcessNames(report);
  const paths = new CallPathTexts(report);
  const leaks = leaksByProcess(report.findings.filter(({ leak }) => leak));
  const lines = leaks
    .slice(0, MOST_LEAKS)
    .map((leak) => `${style.bold(style.red('LEAK'))}  ${sentence(leak, names)}${place(leak, paths)}`);
  if (leaks.length > MOST_LEAKS) lines.push(`      and ${countOf(leaks.length - MOST_LEAKS, 'more leak')}, below`);
  return lines;
}

/** Findings that differ in their call paths only are one leak to a reader. Never empty, most sockets first. */
export type Leak = readonly [Finding, ...Finding[]];

export function leaksByProcess(findings: readonly Finding[]): Leak[] {
  const leaks = new Map<string, [Finding, ...Finding[]]>();
  for (const finding of findings) {
    const { kind, errno, process, processes, heldAtExit, count, key, source } = finding;
    // Which processes a shared finding is of is not told, so two of them cannot be added up.
    const owner = processes === 1 && process.status === 'measured' ? process.value : key;
    // Another recording may have the very same sockets.
    const id = `${kind}|${errno}|${heldAtExit === count}|${owner}|${source}`;
    const known = leaks.get(id);
    if (known === undefined) leaks.set(id, [finding]);
    else known.push(finding);
  }
  return [...leaks.values()].sort((a, b) => total(b, ({ count }) => count) - total(a, ({ count }) => count));
}

/** Of all findings of a leak. */
export function total(leak: Leak, of: (finding: Finding) => number): number {
  return leak.reduce((sum, finding) => sum + of(finding), 0);
}

function sentence(leak: Leak, names: ProcessNames): string {
  const [first] = leak;
  const { kind, errno } = first;
  const count = total(leak, (finding) => finding.count);
  const ports = total(leak, (finding) => finding.ports);
  const oldestMs = leak.reduce((oldest, finding) => Math.max(oldest, finding.oldestMs), 0);
  const rates = leak.flatMap(({ perMinute }) => perMinute ?? []);
  const atExit = isAtExit(first);
  const facts = [
    `${countOf(count, 'socket')} ${KIND_CLAUSE[kind]}${errno === null ? '' : ` (${errno})`}`,
    ...(ports > 0 ? [countOf(ports, 'port')] : []),
    `oldest ${leak.some(({ oldestIsLowerBound }) => oldestIsLowerBound) ? 'at least ' : ''}${formatDuration(oldestMs)}`,
    ...(rates.length > 0 && !atExit ? [formatRate(rates.reduce((sum, rate) => sum + rate, 0))] : []),
  ];
  return `${who(first, names)} ${facts.join(', ')}`;
}

/** `leakyd[1234] holds`: up to the count. */
export function who(finding: Finding, names: ProcessNames): string {
  const verb = isAtExit(finding) ? 'exited with' : finding.processes > 1 ? 'hold' : held(finding, names);
  return `${names.ofOwners(finding)} ${verb}`;
}

export function isAtExit({ heldAtExit, count }: Finding): boolean {
  return heldAtExit === count;
}

/** Where in the code, and of how many of them that is said. */
export function place(leak: Leak, paths: CallPathTexts): string {
  const counts = new Map<string, number>();
  for (const { openPath, count } of leak) {
    const text = paths.placeOf(openPath);
    const at = text === null ? '' : `${paths.openLabel(openPath)} ${text}`;
    counts.set(at, (counts.get(at) ?? 0) + count);
  }
  const known = [...counts].filter(([at]) => at !== '').sort(([, a], [, b]) => b - a);
  const [most] = known;
  if (most === undefined) return '';
  if (counts.size === 1) return `, ${most[0]}`;
  const more = known.length > 1 ? `, others at ${countOf(known.length - 1, 'more place')}` : '';
  return `, ${formatCount(most[1])} of them ${most[0]}${more}`;
}

/** Who opened a socket need not be who has it now. */
function held({ holders, process }: Finding, names: ProcessNames): string {
  const owns = process.status === 'measured' && holders.some((holder) => holder.process === process.value);
  const [most] = holders;
  if (owns || most === undefined) return 'holds';
  const more = holders.length > 1 ? ` and ${countOf(holders.length - 1, 'more process', 'more processes')}` : '';
  return `opened, and ${names.of(most.process)}${more} now ${holders.length > 1 ? 'hold' : 'holds'},`;
}

function suspectLine(report: Report): string[] {
  const { findings } = report;
  const suspects = findings.filter(({ kind }) => kind !== 'released');
  const [first] = suspects;
  if (first === undefined) return [];
  const names = new ProcessNames(report);
  const most = names.ofOwners(first);
  const others = suspects.some((finding) => names.ofOwners(finding) !== most) ? ' and others' : '';
  const count = suspects.reduce((sum, finding) => sum + finding.count, 0);
  return [`  ${countOf(count, 'suspect socket')} of ${most}${others} below: a leak ${whatIsALeak(report)}`];
}

function whatIsALeak({ window }: Report): string {
  const idle = `close-wait and disconnected ${formatDuration(window.idleLeakAgeMs)} idle`;
  return `is ${formatDuration(window.leakAgeMs)} old (${idle}), and grows or numbers ${formatCount(window.leakCount)} of one kind`;
}
