/** Below the verdict, whatever it is: port ranges that have no port left, and who suffers for it. */
import { inRangeOf, largestHolder, shortagesOf, sizeOf } from '../../report/port-shortage.ts';
import type { Report, ReportPorts } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { namespaceName, ProcessNames } from '../names.ts';
import { formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';
import { Victims } from './victims.ts';

const MOST_NAMESPACES = 3;

export function shortageLines(report: Report, style: Style): string[] {
  const names = new ProcessNames(report);
  const all = (report.sources ?? [{ name: '', ports: report.ports }]).flatMap(({ name, ports }) =>
    shortagesOf(ports).map((one) => ({ source: name, ports: one })),
  );
  const victims = new Victims(report);
  const more = all.length - MOST_NAMESPACES;
  return [
    ...all.slice(0, MOST_NAMESPACES).flatMap(({ source, ports }) => {
      const left = ports.free.status === 'measured' && ports.free.value > 0 ? 'FEW PORTS LEFT' : 'NO PORTS LEFT';
      const where = `${source === '' ? '' : `${escapeText(source)}, `}${namespaceName(ports)}`;
      // Of a short-lived program it may not be known where it was: certain only where there is one shortage.
      const suffering = victims.text(
        (netns, of) => of === source && (netns === ports.netns || (netns === null && all.length === 1)),
      );
      return [
        `${style.bold(style.red(left))}  in ${where}: ${sentence(ports, names)}`,
        ...(suffering === null ? [] : [`  ${suffering}`]),
      ];
    }),
    ...(more > 0 ? [`  and in ${more} more network namespaces, below`] : []),
  ];
}

function sentence(ports: ReportPorts, names: ProcessNames): string {
  const used = `${formatCount(ports.inRange ?? 0)} of ${formatCount(sizeOf(ports))} ports in use`;
  const most = largestHolder(ports);
  if (most === undefined) return used;
  const who = most.process === null ? '' : ` by ${names.of(most.process)}`;
  const share = inRangeOf(most) === ports.inRange ? 'all' : formatCount(inRangeOf(most));
  return `${used}, ${share} of them ${most.use}${who}`;
}
