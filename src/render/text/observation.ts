/** What the report rests on: hooks, blind spots, loss, and what could not be known. */
import type { PathTotals, Report } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { countOf, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';

export function observationLines(report: Report, style: Style): string[] {
  const { set, refused, blindSpots } = report.host.hooks;
  const losses = report.loss.reasons.map(({ what, count }) => `${formatCount(count)} ${escapeText(what)}`);
  return [
    style.bold('OBSERVED WITH'),
    `  hooks     ${set}`,
    ...refused.map((hooks) => `            ${escapeText(hooks.set)} refused: ${escapeText(hooks.reason)}`),
    ...labelled('unseen', blindSpots.map(escapeText)),
    ...labelled('loss', losses.length === 0 ? ['none'] : losses).map((line) =>
      losses.length === 0 ? line : style.yellow(line),
    ),
    ...labelled('not known', [...unknowns(report), ...notSampled(report)]),
  ];
}

export function unknowns({ callPaths, ports, sockstat }: Report): string[] {
  const parts = {
    'which code': callPaths,
    'ports of the host': ports,
    'classes of alloc': sockstat.status === 'measured' ? sockstat.value.classes : sockstat,
  };
  return Object.entries(parts).flatMap(([name, part]) =>
    part.status === 'unavailable' ? [`${name}: ${escapeText(part.reason)}`] : [],
  );
}

/** What share of the sockets has no call path, though call paths were captured. */
export function notSampled({ callPaths, callPathsNotSampled, callPathsNotListed }: Report): string[] {
  if (callPaths.status === 'unavailable' || callPathsNotSampled === null) return [];
  const missing = made(callPathsNotSampled);
  if (missing === 0) return [];
  const listed = callPaths.value.reduce((sum, { counters }) => sum + made(counters), 0);
  const all = missing + listed + made(callPathsNotListed?.counters ?? null);
  const percent = ((100 * missing) / all).toFixed(1).replace(/\.0$/, '');
  return [
    `which code: of ${formatCount(missing)} of ${countOf(all, 'socket')} (${percent}%), whose stacks were not sampled`,
  ];
}

function made(counters: PathTotals | null): number {
  return counters === null ? 0 : counters.opened + counters.accepted;
}

/** The label stands before the first line only. */
function labelled(label: string, texts: readonly string[]): string[] {
  return texts.map((text, i) => `  ${(i === 0 ? label : '').padEnd(9)} ${text}`);
}
