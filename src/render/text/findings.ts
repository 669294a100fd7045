/** The table of findings, each with what it means and where to look. */
import type { Finding, FindingExample, Report } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { escapeText } from '../escape.ts';
import { ProcessNames } from '../names.ts';
import { countOf, formatCount, formatRate } from '../numbers.ts';
import type { Style } from '../style.ts';
import { type Column, layOut } from '../table.ts';
import { KIND_MEANING, STALE_ALLOWANCE } from '../words.ts';
import { CallPathTexts, DOUBTFUL_LEGEND } from './call-path.ts';

const MOST_FINDINGS = 20;
const MOST_HOLDERS = 5;

const COLUMNS: readonly Column[] = [
  { title: '', align: 'left' },
  { title: 'COUNT', align: 'right' },
  { title: 'KIND', align: 'left' },
  { title: 'ERRNO', align: 'left' },
  { title: 'PORTS', align: 'right' },
  { title: 'OLDEST', align: 'right' },
  { title: 'GROWTH', align: 'right' },
  { title: 'OPENED BY', align: 'left' },
];

export function findingLines(report: Report, style: Style): string[] {
  if (report.findings.length === 0) {
    return [
      style.bold('FINDINGS'),
      // Of one look, of any age.
      report.window.minAgeMs === 0 ? '  none' : `  none older than ${formatDuration(report.window.minAgeMs)}`,
      ...notYetSuspects(report, style),
      ...staleAllowances(report),
    ];
  }
  const names = new ProcessNames(report);
  const paths = new CallPathTexts(report);
  const shown = report.findings.slice(0, MOST_FINDINGS);
  const table = layOut(
    COLUMNS,
    shown.map((finding) => cells(finding, names)),
  );
  const lines = [style.bold('FINDINGS'), style.dim(`  ${table.title}`)];
  shown.forEach((finding, i) => {
    const row = `  ${table.rows[i] ?? ''}`;
    lines.push(
      finding.leak ? style.red(row) : row,
      ...details(finding, report, names, paths).map((line) => `    ${line}`),
    );
  });
  const hidden = report.findings.slice(MOST_FINDINGS);
  if (hidden.length > 0) {
    const sockets = hidden.reduce((sum, { count }) => sum + count, 0);
    lines.push(
      `  and ${countOf(hidden.length, 'more finding')} of ${countOf(sockets, 'socket')}: --json lists them all`,
    );
  }
  if (paths.hasDoubtful(shown)) lines.push(style.dim(`  ${DOUBTFUL_LEGEND}`));
  return [...lines, ...staleAllowances(report)];
}

function staleAllowances({ unusedAllowances = [] }: Report): string[] {
  return unusedAllowances.map((pattern) => `  --allow "${escapeText(pattern)}" ${STALE_ALLOWANCE}`);
}

/** After a short watch nothing is a suspect yet, whatever the processes hold. */
function notYetSuspects({ sockets, window, target, processes }: Report, { command }: Style): string[] {
  const { held, preexisting } = sockets;
  // Of a snapshot every socket is shown; after a long watch what is held is in use.
  if (held === null || held === 0 || preexisting === null || window.durationMs >= 2 * window.minAgeMs) return [];
  const pids = processes.filter(({ id, exited }) => !exited && target.processes.includes(id)).map(({ pid }) => pid);
  const old =
    preexisting === 0 ? '' : ` (${formatCount(preexisting)} were when the trace began: their age is not known)`;
  const list =
    pids.length === 0 ? '' : `: ${command} snapshot ${pids.map((pid) => `--pid ${pid}`).join(' ')} lists them`;
  return [`  ${countOf(held, 'socket')} held${old}, too briefly watched to tell what for${list}`];
}

function cells(finding: Finding, names: ProcessNames): string[] {
  const { leak, kind, count, errno, ports, perMinute } = finding;
  return [
    leak ? 'LEAK' : kind === 'released' ? '' : finding.allowed === undefined ? 'suspect' : 'allowed',
    formatCount(count),
    kind,
    errno ?? '-',
    formatCount(ports),
    ageText(finding),
    formatRate(perMinute),
    names.ofOwners(finding),
  ];
}

/** `14s`, or `>14s` where the oldest may be older; `?` where nothing is known of it. */
export function ageText({ oldestMs, oldestIsLowerBound }: Finding): string {
  return oldestIsLowerBound && oldestMs === 0 ? '?' : `${oldestIsLowerBound ? '>' : ''}${formatDuration(oldestMs)}`;
}

/** What a suspect lacks to be called a leak. One look tells of none how long it has been so. */
function whyNoLeak({ leak, kind, oldestMs, count }: Finding, { window, host }: Report): string[] {
  if (leak || kind === 'released' || host.hooks.set === 'none') return [];
  const isIdle = kind === 'close-wait' || kind === 'disconnected';
  const neededMs = isIdle ? window.idleLeakAgeMs : window.leakAgeMs;
  const age = `${formatDuration(neededMs)} ${isIdle ? 'idle' : 'old'}`;
  if (oldestMs < neededMs) return [`no leak yet: none is ${age}`];
  if (count < window.leakCount)
    return [`no leak yet: fewer than ${formatCount(window.leakCount)}, and not growing all the time`];
  return [`no leak yet: fewer than ${formatCount(window.leakCount)} are ${age}, and they do not grow all the time`];
}

function details(finding: Finding, report: Report, names: ProcessNames, paths: CallPathTexts): string[] {
  const lines = [KIND_MEANING[finding.kind], ...paths.linesOf(finding)];
  if (finding.allowed !== undefined) lines.push(`allowed by ${escapeText(finding.allowed)}`);
  if (finding.heldAtExit > 0) {
    lines.push(
      `${finding.heldAtExit === finding.count ? 'all' : formatCount(finding.heldAtExit)} held when the process exited`,
    );
  }
  if (finding.process.status === 'unavailable') lines.push(`opened by: ${escapeText(finding.process.reason)}`);
  lines.push(...holders(finding, names));
  const example = finding.examples.find(({ fd }) => fd !== null) ?? finding.examples[0];
  if (example !== undefined) lines.push(`e.g. ${describeExample(example, names)}`);
  lines.push(...whyNoLeak(finding, report));
  if (finding.source !== undefined) lines.push(`recorded in ${escapeText(finding.source)}`);
  return lines;
}

/** Only where it says more than the owner does. */
function holders({ holders, unconfirmed, process, count, heldAtExit, kind }: Finding, names: ProcessNames): string[] {
  if (kind === 'released' || heldAtExit === count) return [];
  if (holders.length === 0) return ['descriptors not confirmed yet'];
  const [only] = holders;
  const byOwner = holders.length === 1 && process.status === 'measured' && only?.process === process.value;
  if (byOwner && only.count === count - heldAtExit) return [];
  const shown = holders
    .slice(0, MOST_HOLDERS)
    .map((holder) => `${names.of(holder.process)} ${formatCount(holder.count)}`);
  const more = holders.length - shown.length;
  const others = more > 0 ? ` and ${countOf(more, 'more process', 'more processes')}` : '';
  return [`held by ${shown.join(', ')}${others}${unconfirmed === undefined ? '' : ` ${unconfirmedText(unconfirmed)}`}`];
}

/** `as of 2026-11-24T16:05:01.747Z; 31 became suspects since`: holders are counted by a walk of all descriptors, now and then. */
export function unconfirmedText({ count, since }: NonNullable<Finding['unconfirmed']>): string {
  return `as of ${escapeText(since)}; ${formatCount(count)} became suspects since`;
}

/** `fd 12 of leakyd[1234], socket:[4711], IPv4, port 5000, 9s in this state`. */
export function describeExample(
  { process, fd, inode, family, localPort, ageMs }: FindingExample,
  names: ProcessNames,
): string {
  return [
    ...(fd !== null && process !== null ? [`fd ${fd} of ${names.of(process)}`] : []),
    ...(inode === null ? [] : [`socket:[${inode}]`]),
    `IPv${family}`,
    localPort === null ? 'no port' : `port ${localPort}`,
    ...(ageMs === 0 ? [] : [`${formatDuration(ageMs)} in this state`]),
  ].join(', ');
}
