/** Where every allocated socket of the host is, until the sum is `alloc`. */
import type { Report } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';
import { layOut } from '../table.ts';

export function classLines({ sockstat, lookedAt }: Report, style: Style): string[] {
  if (sockstat.status === 'unavailable') return [];
  const { classes, unplaced, unseen, allocWhenClassified } = sockstat.value;
  if (classes.status === 'unavailable') return [];
  const rows = classes.value.map(({ name, count, evidence }) => [formatCount(count), name, escapeText(evidence)]);
  const rest =
    unplaced.status === 'measured' ? [[formatCount(unplaced.value), 'unplaced', explain(unplaced.value)]] : [];
  const sum = allocWhenClassified.status === 'measured' ? formatCount(allocWhenClassified.value) : '?';
  const table = layOut(
    [
      { title: '', align: 'right' },
      { title: '', align: 'left' },
      { title: '', align: 'left' },
    ],
    [...rows, ...rest, [sum, 'alloc', 'TCP sockets of the host, in all network namespaces (/proc/net/sockstat)']],
  );
  return [
    `${style.bold('ALL TCP SOCKETS OF THE HOST')}${lookedAtText(lookedAt)}`,
    ...table.rows.map((row) => `  ${row}`),
    ...unseen.map((what) => style.yellow(`  not seen: ${escapeText(what)}`)),
  ];
}

/** A look takes a while: on the way of a trace, only the one of its beginning is there. */
export function lookedAtText(lookedAt: string | undefined): string {
  return lookedAt === undefined ? '' : ` at ${escapeText(lookedAt)}, when they were last looked at`;
}

/** What has no descriptor, no table entry and no queue cannot be found without having been traced. */
export function explain(unplaced: number): string {
  if (unplaced === 0) return 'the sum closes';
  if (unplaced < 0) return 'closed while they were counted';
  return 'opened while they were counted, or by the kernel for itself and not connected, or where no process leads: a network namespace, a queue';
}
