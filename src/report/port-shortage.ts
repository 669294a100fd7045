/** Port ranges that have no port left, or hardly any, and who has taken them. */
import { CLOSED_USES, type PortUse } from '../accounting/ports.ts';
import type { ProcessId } from '../ledger/types.ts';
import type { Report, ReportPortHolder, ReportPorts, ReportProcess } from './types.ts';

/** Ports that a program has and makes no use of. */
const IDLE_USES: readonly PortUse[] = [...CLOSED_USES, 'close-wait'];

/** One in a hundred is left, or less: the next burst finds none. */
const FEW = 100;

/** Whoever has less than one in ten of a range has not emptied it. */
const SHARE_OF_HOG = 10;

/** Network namespaces in which ports are out, or nearly. */
export function shortagesOf(ports: Report['ports']): ReportPorts[] {
  if (ports.status === 'unavailable') return [];
  return ports.value.filter(isShort);
}

function isShort(ports: ReportPorts): boolean {
  return ports.free.status === 'measured' && ports.free.value * FEW < sizeOf(ports);
}

/** Those that the verdict is about; none where it is about all. */
export function tracedProcesses({ processes, target }: Report): ReportProcess[] {
  if (target.selectors?.some(({ by }) => by === 'all')) return [];
  return processes.filter(({ id, activity }) => activity.status === 'measured' || target.processes.includes(id));
}

/** 0: traced processes are in it, or have ports of it; 1: its ports are out, or nearly; 2: any other. */
export type Concern = 0 | 1 | 2;

/** In which order a reader wants network namespaces. */
export function concernTest(report: Report): (ports: ReportPorts) => Concern {
  const traced = tracedProcesses(report);
  const ids = new Set(traced.map(({ id }) => id));
  const own = new Set(traced.flatMap(({ netns }) => (netns.status === 'measured' ? [netns.value] : [])));
  return (ports) => {
    const isOwn = own.has(ports.netns) || ports.holders.some(({ process }) => process !== null && ids.has(process));
    if (isOwn) return 0;
    return isShort(ports) ? 1 : 2;
  };
}

/** How many ports the range has; 0 when it is not known. */
export function sizeOf({ range }: ReportPorts): number {
  return range.status === 'measured' ? range.value[1] - range.value[0] + 1 : 0;
}

/** Who has most ports of the range, for one use. */
export function largestHolder({ holders }: ReportPorts): ReportPortHolder | undefined {
  return mostOf(holders);
}

/** The process that has most ports of the range and makes no use of them. */
export function largestWaster({ holders }: ReportPorts): ProcessId | null {
  return mostOf(holders.filter(({ process, use }) => process !== null && IDLE_USES.includes(use)))?.process ?? null;
}

/** The processes that have most of the ports of their network namespace: what they lack they have taken themselves. */
export function hogsOf(ports: Report['ports']): Map<number, ProcessId> {
  const hogs = new Map<number, ProcessId>();
  if (ports.status === 'unavailable') return hogs;
  for (const one of ports.value) {
    const sums = new Map<ProcessId | null, number>();
    for (const holder of one.holders) sums.set(holder.process, (sums.get(holder.process) ?? 0) + inRangeOf(holder));
    const [most] = [...sums].sort(([, a], [, b]) => b - a);
    if (most === undefined) continue;
    const [process, count] = most;
    if (process !== null && count > 0 && count * SHARE_OF_HOG >= sizeOf(one)) hogs.set(one.netns, process);
  }
  return hogs;
}

/** Of the range, where it is known. */
export function inRangeOf({ count, inRange }: ReportPortHolder): number {
  return inRange ?? count;
}

function mostOf(holders: readonly ReportPortHolder[]): ReportPortHolder | undefined {
  return [...holders].sort((a, b) => inRangeOf(b) - inRangeOf(a))[0];
}
