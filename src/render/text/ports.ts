/** The ports of each network namespace, and who has them. */
import { type Concern, concernTest } from '../../report/port-shortage.ts';
import type { Report, ReportPortHolder, ReportPorts } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { escapeText } from '../escape.ts';
import { ProcessNames } from '../names.ts';
import { countOf, formatCount, formatRate } from '../numbers.ts';
import type { Style } from '../style.ts';
import { layOut } from '../table.ts';
import { lookedAtText } from './classes.ts';

/** Of traced processes, and where ports are out or nearly; others only as long as there are fewer than a few. */
const MOST_NAMESPACES = 30;
const FEW_NAMESPACES = 5;
const MOST_HOLDERS = 8;
const MOST_DESTINATIONS = 3;

export function portLines(report: Report, style: Style): string[] {
  if (report.ports.status === 'unavailable') return [];
  const names = new ProcessNames(report);
  const used = usedNamespaces(report.ports.value, report);
  if (used.length === 0) return [style.bold('PORTS'), '  none in use'];
  const shown = used.filter(({ concern }, i) => i < FEW_NAMESPACES || (concern < 2 && i < MOST_NAMESPACES));
  const more = used.length - shown.length;
  return [
    `${style.bold('PORTS')}${lookedAtText(report.lookedAt)}`,
    ...shown.flatMap(({ ports }) => namespaceLines(ports, names, style)),
    ...(more > 0 ? [`  and ${countOf(more, 'more network namespace')}: --json lists them all`] : []),
  ];
}

/** In which a port is in use: those of traced processes first, then those that have none left, or hardly any. */
export function usedNamespaces(
  all: readonly ReportPorts[],
  report: Report,
): { ports: ReportPorts; concern: Concern }[] {
  const concern = concernTest(report);
  return all
    .filter(({ inUse }) => inUse > 0)
    .map((ports) => ({ ports, concern: concern(ports) }))
    .sort((a, b) => a.concern - b.concern);
}

function namespaceLines(ports: ReportPorts, names: ProcessNames, style: Style): string[] {
  const { netns, path, holders, destinations } = ports;
  const where = `  network namespace ${netns}${path === null ? '' : ` (${escapeText(path)})`}`;
  const shown = holders.slice(0, MOST_HOLDERS);
  const rest = holders.slice(MOST_HOLDERS).reduce((sum, { count }) => sum + count, 0);
  const table = layOut(
    [
      { title: '', align: 'right' },
      { title: '', align: 'left' },
      { title: '', align: 'left' },
    ],
    [
      ...shown.map((holder) => [formatCount(holder.count), holder.use, holderText(holder, ports, names)]),
      ...(rest > 0 ? [[formatCount(rest), '', `of ${countOf(holders.length - MOST_HOLDERS, 'more holder')}`]] : []),
    ],
  );
  return [
    where,
    isFull(ports) ? style.red(`    ${rangeText(ports)}`) : `    ${rangeText(ports)}`,
    `    ${inUseText(ports)}`,
    ...table.rows.map((row) => `      ${row}`),
    ...destinations
      .slice(0, MOST_DESTINATIONS)
      .filter(({ free, count }) => free <= 9 * count)
      .map(
        ({ address, port, count, free }) =>
          `    connect() to ${escapeText(address)} port ${port}: ${countOf(count, 'port')} in use, ${formatCount(Math.max(0, free))} free`,
      ),
  ];
}

export function inUseText({ inUse, outOfRange }: ReportPorts): string {
  const outside = outOfRange === null ? '' : `, ${formatCount(outOfRange)} outside the range`;
  return `${countOf(inUse, 'port')} in use in all${outside}`;
}

/** With how fast it fills, where that is known and there is room. */
export function rangeText(ports: ReportPorts): string {
  const { range, inRange, free, reserved, perMinute, msToFull } = ports;
  if (range.status === 'unavailable') return `port range not known: ${escapeText(range.reason)}`;
  const [low, high] = range.value;
  const kept = reserved.status === 'measured' && reserved.value.length > 0 ? ', some reserved' : '';
  const left = free.status === 'measured' ? formatCount(free.value) : '?';
  const full = isFull(ports)
    ? ': bind to port 0 and connect() find no port'
    : perMinute.status === 'measured' && msToFull.status === 'measured'
      ? `, ${formatRate(perMinute.value)}: full in ${formatDuration(msToFull.value)} at this rate`
      : '';
  return `range ${low}-${high}${kept}: ${formatCount(inRange ?? 0)} of ${formatCount(high - low + 1)} in use, ${left} free${full}`;
}

export function isFull({ free }: ReportPorts): boolean {
  return free.status === 'measured' && free.value === 0;
}

/** With its growth, where there is any, and room for it: `leakyd[1234], +412/min (2 outside the range)`. */
export function holderText(
  { process, count, inRange, perMinute }: ReportPortHolder,
  ports: ReportPorts,
  names: ProcessNames,
): string {
  const who = process === null ? 'no process' : names.of(process);
  const rate = formatRate(perMinute);
  const growth = perMinute === null || rate === 'steady' || isFull(ports) ? '' : `, ${rate}`;
  const outside = count - (inRange ?? count);
  return `${who}${growth}${outside === 0 ? '' : ` (${formatCount(outside)} outside the range)`}`;
}
