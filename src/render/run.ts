/** What `socktrace run` says when its command has ended: nothing when there is nothing to say, as sanitizers do. */
import type { Finding, Report } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { ProcessNames, targetName } from './names.ts';
import { countOf, formatCount } from './numbers.ts';
import { PLAIN, type Style } from './style.ts';
import { findingLines } from './text/findings.ts';
import { headline } from './text/headline.ts';
import { STALE_ALLOWANCE } from './words.ts';

/**
 * Leaks with their call paths, what was allowed, and a closing line; empty for a command that is known to be clean, unless
 * it was allowed what did not happen.
 */
export function renderRun(report: Report, style: Style = PLAIN): string {
  const allowed = report.findings.filter(isAllowed);
  const lines = [
    ...allowed.map((finding) => allowance(finding, new ProcessNames(report))),
    ...(report.unusedAllowances ?? []).map(
      (pattern) => `socktrace: --allow "${escapeText(pattern)}" ${STALE_ALLOWANCE}`,
    ),
  ];
  if (report.verdict.is === 'not-known') lines.push(...headline(report, style), ...losses(report));
  if (report.verdict.is === 'leak') {
    const leaks = { ...report, findings: report.findings.filter(({ leak }) => leak) };
    lines.push(...headline(leaks, style), '', ...findingLines(leaks, style), ...losses(report), '', summary(leaks));
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** One line of the same, for where the report itself went to a file. */
export function renderRunSummary(report: Report, file: string): string {
  if (report.verdict.is === 'no-leak') return '';
  const found = report.verdict.is === 'leak' ? summary(report) : 'SUMMARY: socktrace: not known whether sockets leaked';
  return `${found}: ${escapeText(file)}\n`;
}

function isAllowed({ allowed }: Finding): boolean {
  return allowed !== undefined;
}

function summary(report: Report): string {
  const leaks = report.findings.filter(({ leak }) => leak);
  const sockets = leaks.reduce((sum, { count }) => sum + count, 0);
  const allowed = report.findings.filter(isAllowed).length;
  const others = allowed === 0 ? '' : `, ${countOf(allowed, 'finding')} allowed`;
  const of = `${countOf(sockets, 'socket')} in ${countOf(leaks.length, 'finding')}`;
  return `SUMMARY: socktrace: ${of} leaked by ${targetName(report.target)}${others}`;
}

function allowance(finding: Finding, names: ProcessNames): string {
  const { count, kind, allowed = '' } = finding;
  return `socktrace: allowed by "${escapeText(allowed)}": ${countOf(count, `${kind} socket`)} of ${names.ofOwners(finding)}`;
}

function losses({ loss }: Report): string[] {
  return loss.reasons.map(({ what, count }) => `  lost: ${formatCount(count)} ${escapeText(what)}`);
}
