/** Who the processes of the findings are. */
import type { ProcessId } from '../../ledger/types.ts';
import type { Report, ReportProcess } from '../../report/types.ts';
import { escapeText } from '../escape.ts';
import { ProcessNames } from '../names.ts';
import { formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';

const MOST_PROCESSES = 10;
const LONGEST_COMMAND = 160;

export function processLines(report: Report, style: Style): string[] {
  const names = new ProcessNames(report);
  const processes = [...concerned(report)].flatMap((id) => names.find(id) ?? []);
  if (processes.length === 0) return [];
  const lines = processes
    .slice(0, MOST_PROCESSES)
    .flatMap((process) => [
      `  ${names.of(process.id)}  ${command(process)}`,
      ...surroundings(process).map((text) => `    ${text}`),
    ]);
  const more = processes.length - MOST_PROCESSES;
  if (more > 0) lines.push(`  and ${formatCount(more)} more: --json lists them all`);
  return [style.bold('PROCESSES'), ...lines];
}

/** Owners and holders, in the order of the findings; then the targets. */
export function concerned({ findings, processes, target }: Report): Set<ProcessId> {
  const ids = new Set<ProcessId>();
  for (const { process, holders } of findings) {
    if (process.status === 'measured') ids.add(process.value);
    for (const holder of holders) ids.add(holder.process);
  }
  for (const { id } of processes) if (target.processes.includes(id)) ids.add(id);
  return ids;
}

export function command({ cmdline, exe }: ReportProcess): string {
  const words = cmdline.status === 'measured' ? cmdline.value.join(' ') : '';
  const text = words !== '' ? words : exe.status === 'measured' ? exe.value : 'command line not known';
  const escaped = escapeText(text);
  return escaped.length > LONGEST_COMMAND ? `${escaped.slice(0, LONGEST_COMMAND)}...` : escaped;
}

export function surroundings({ unit, container, startTime, exited, activity, namespacePids }: ReportProcess): string[] {
  const facts = [
    ...(unit.status === 'measured' && unit.value !== null ? [`unit ${escapeText(unit.value)}`] : []),
    ...(container.status === 'measured' && container.value !== null
      ? [`container ${escapeText(container.value.slice(0, 12))}`]
      : []),
    ...(namespacePids.status === 'measured' && namespacePids.value.length > 1
      ? [`pid ${namespacePids.value.at(-1)} inside`]
      : []),
    ...(startTime.status === 'measured' ? [`started ${startTime.value}`] : []),
    ...(exited ? ['exited'] : []),
  ];
  const lines = facts.length > 0 ? [facts.join(', ')] : [];
  if (activity.status === 'measured') {
    const { opened, accepted, bound, connected, listened, destroyed } = activity.value;
    const counts = Object.entries({ opened, accepted, bound, connected, listened, destroyed });
    lines.push(`while traced: ${counts.map(([what, count]) => `${what} ${formatCount(count)}`).join(', ')}`);
  }
  return lines;
}
