/** Below the verdict, whatever it is: port ranges that have no port left, and who suffers for it. */
import {
  concernTest,
  inRangeOf,
  largestHolder,
  shortagesOf,
  sizeOf,
  tracedProcesses,
} from '../../report/port-shortage.ts';
import type { Report, ReportPorts, ReportProcess } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { namespaceName, ProcessNames } from '../names.ts';
import { countOf, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';
import { Victims } from './victims.ts';

const MOST_NAMESPACES = 3;

export function shortageLines(report: Report, style: Style): string[] {
  const names = new ProcessNames(report);
  const concern = concernTest(report);
  const all = (report.sources ?? [{ name: '', ports: report.ports }])
    .flatMap(({ name, ports }) => shortagesOf(ports).map((one) => ({ source: name, ports: one })))
    .sort((a, b) => concern(a.ports) - concern(b.ports));
  const victims = new Victims(report);
  const traced = tracedProcesses(report);
  const more = all.length - MOST_NAMESPACES;
  const unknown = all.length === 0 ? 0 : victims.callsOfUnknown;
  return [
    ...all.slice(0, MOST_NAMESPACES).flatMap(({ source, ports }) => {
      const left = ports.free.status === 'measured' && ports.free.value > 0 ? 'FEW PORTS LEFT' : 'NO PORTS LEFT';
      const where = `${source === '' ? '' : `${escapeText(source)}, `}${namespaceName(ports)}`;
      // Another recording may be of another host, whose namespaces have the same numbers.
      const elsewhere = source === '' && isElsewhere(ports, traced) ? 'elsewhere on this host, ' : '';
      const suffering = victims.text((netns, of) => of === source && netns === ports.netns);
      return [
        `${style.bold(style.red(left))}  ${elsewhere}in ${where}: ${sentence(ports, names)}`,
        ...(suffering === null ? [] : [`  ${suffering}`]),
      ];
    }),
    ...(more > 0 ? [`  and in ${formatCount(more)} more network namespaces, below`] : []),
    ...(unknown > 0
      ? [`  and ${countOf(unknown, 'call')} of processes whose network namespace is not known found no port`]
      : []),
  ];
}

/** Whether none of these processes can have to do with it. */
function isElsewhere({ netns: here, holders }: ReportPorts, traced: readonly ReportProcess[]): boolean {
  const holding = new Set(holders.map(({ process }) => process));
  return (
    traced.length > 0 &&
    traced.every(({ id, netns }) => netns.status === 'measured' && netns.value !== here && !holding.has(id))
  );
}

function sentence(ports: ReportPorts, names: ProcessNames): string {
  const used = `${formatCount(ports.inRange ?? 0)} of ${formatCount(sizeOf(ports))} ports in use`;
  const most = largestHolder(ports);
  if (most === undefined) return used;
  const who = most.process === null ? '' : ` by ${names.of(most.process)}`;
  const share = inRangeOf(most) === ports.inRange ? 'all' : formatCount(inRangeOf(most));
  return `${used}, ${share} of them ${most.use}${who}`;
}
