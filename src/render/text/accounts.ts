/** The sums: what came and went, and whether the kernel's own counter agrees. */
import type { AllocMovement, Report } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { formatChange, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';

export function accountLines({ sockets, sockstat }: Report, style: Style): string[] {
  return [
    style.bold('ACCOUNTS'),
    `  traced    ${accountsText(sockets)}`,
    ...(sockets.apart === undefined ? [] : [`            ${escapeText(sockets.apart)}`]),
    ...(sockets.byKind.length > 0 ? [`  by kind   ${kinds(sockets.byKind)}`] : []),
    ...(sockstat.status === 'unavailable'
      ? [`  sockstat  not known: ${escapeText(sockstat.reason)}`]
      : [
          `  sockstat  alloc ${formatCount(sockstat.value.before.alloc)} -> ${formatCount(sockstat.value.after.alloc)} (all TCP sockets of the host)`,
          ...(sockstat.value.moved.status === 'measured'
            ? [`            ${movement(sockstat.value.moved.value)}`]
            : []),
        ]),
  ];
}

/** `preexisting 8 + opened 301 + accepted 0 - destroyed 0 = held 309`. */
export function accountsText({ preexisting, arrived, opened, accepted, destroyed, held }: Report['sockets']): string {
  if (preexisting === null || arrived === null || opened === null || accepted === null || destroyed === null) {
    return 'not known: the counters of the hooks were never read';
  }
  const [before, plus, children, minus] = [preexisting, opened, accepted, destroyed].map(formatCount);
  const now = held === null ? '? (some could not be followed)' : formatCount(held);
  const passed = arrived > 0 ? ` + arrived ${formatCount(arrived)}` : '';
  return `preexisting ${before} + opened ${plus} + accepted ${children}${passed} - destroyed ${minus} = held ${now}`;
}

/** Of those that were looked at closely, which are suspects and what became of them. */
function kinds(byKind: Report['sockets']['byKind']): string {
  return byKind.map(({ kind, count }) => `${formatCount(count)} ${kind}`).join(', ');
}

/** Whether the sums close is shown and not judged: readings are not taken in one instant. */
export function movement({ alloc, opened, cloned, destroyed, unexplained }: AllocMovement): string {
  const counted = `alloc moved by ${formatChange(alloc)}, hooks counted ${formatChange(opened + cloned - destroyed)}`;
  const parts = `opened ${formatCount(opened)}, cloned ${formatCount(cloned)}, destroyed ${formatCount(destroyed)}`;
  const result = unexplained === 0 ? 'the sums close' : `${formatChange(unexplained)} not explained`;
  return `${counted} (${parts}): ${result}`;
}
