/** What the report rests on: hooks, blind spots, loss, and what could not be known. */
import type { Report } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { formatCount } from '../numbers.ts';
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
    ...labelled('not known', unknowns(report)),
  ];
}

function unknowns({ callPaths, ports, sockstat }: Report): string[] {
  const parts = {
    'which code': callPaths,
    'ports of the host': ports,
    'classes of alloc': sockstat.status === 'measured' ? sockstat.value.classes : sockstat,
  };
  return Object.entries(parts).flatMap(([name, part]) =>
    part.status === 'unavailable' ? [`${name}: ${escapeText(part.reason)}`] : [],
  );
}

/** The label stands before the first line only. */
function labelled(label: string, texts: readonly string[]): string[] {
  return texts.map((text, i) => `  ${(i === 0 ? label : '').padEnd(9)} ${text}`);
}
