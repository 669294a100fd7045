/** Failed socket calls, and who suffers from a shortage of ports. */
import { hogsOf } from '../../report/port-shortage.ts';
import type { Failure, Report } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { FailingProcesses } from '../failing-processes.ts';
import { countOf, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';
import { type Column, layOut } from '../table.ts';
import { CAUSE_MEANING } from '../words.ts';
import { CallPathTexts } from './call-path.ts';

const MOST_FAILURES = 15;

const COLUMNS: readonly Column[] = [
  { title: '', align: 'left' },
  { title: 'COUNT', align: 'right' },
  { title: 'CALL', align: 'left' },
  { title: 'ERRNO', align: 'left' },
  { title: 'PROCESS', align: 'left' },
  { title: 'CAUSE', align: 'left' },
];

export function failureLines(report: Report, style: Style): string[] {
  const { failures } = report;
  if (failures.status === 'unavailable')
    return [style.bold('FAILED CALLS'), `  not known: ${escapeText(failures.reason)}`];
  if (failures.value.length === 0) return [style.bold('FAILED CALLS'), '  none'];
  // Victims first: they are why somebody looks, and few calls of theirs may stand against many of others. Then the
  // traced processes', then others. What happens in another network namespace has nothing to do with the traced ones.
  const isVictim = victimTest(report);
  const failing = new FailingProcesses(report);
  const rank = (failure: Failure): number =>
    (failing.isNear(failure) ? 0 : 3) + (isVictim(failure) ? 0 : failing.isTraced(failure.process) ? 1 : 2);
  const ordered = [...failures.value].sort((a, b) => rank(a) - rank(b));
  const shown = ordered.slice(0, MOST_FAILURES);
  const paths = new CallPathTexts(report);
  const table = layOut(
    COLUMNS,
    shown.map((failure) => cells(failure, isVictim(failure), failing, paths)),
  );
  const lines = [style.bold('FAILED CALLS'), style.dim(`  ${table.title}`)];
  shown.forEach((failure, i) => {
    const row = `  ${table.rows[i] ?? ''}`;
    lines.push(isVictim(failure) ? style.yellow(row) : row);
  });
  const hidden = ordered.slice(MOST_FAILURES);
  if (hidden.length > 0) {
    const calls = hidden.reduce((sum, { count }) => sum + count, 0);
    lines.push(`  and ${countOf(hidden.length, 'more line')} of ${countOf(calls, 'call')}: --json lists them all`);
  }
  return lines;
}

/** A victim found no port, and is neither the one that leaks them nor the one that has most of them. */
export function victimTest({ findings, ports }: Report): (failure: Failure) => boolean {
  const hogs = hogsOf(ports);
  const isHog = ({ process, netns }: Failure): boolean => netns !== null && hogs.get(netns) === process;
  const leakers = new Set(
    findings.flatMap(({ leak, process }) => (leak && process.status === 'measured' ? [process.value] : [])),
  );
  return (failure) => failure.cause === 'no-free-port' && !leakers.has(failure.process) && !isHog(failure);
}

function cells(failure: Failure, victim: boolean, failing: FailingProcesses, paths: CallPathTexts): string[] {
  const { operation, errno, cause, count, path } = failure;
  const place = paths.placeOf(path);
  return [
    victim ? 'VICTIM' : '',
    formatCount(count),
    `${operation}()`,
    errno,
    `${failing.nameOf(failure)}${failing.mark(failure)}`,
    place === null ? CAUSE_MEANING[cause] : `${CAUSE_MEANING[cause]}; the last at ${place}`,
  ];
}
