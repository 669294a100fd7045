/** What stands above the findings: what is traced and how, the accounts, the ports, and how suspects developed. */
import type { Report, ReportPorts } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { namespaceShort, targetName } from '../names.ts';
import { countOf, formatCount, formatRate } from '../numbers.ts';
import { accountsText } from '../text/accounts.ts';
import { Victims } from '../text/victims.ts';
import type { History } from './history.ts';
import { joined, type Line, type Span } from './line.ts';
import { type PortlessCalls, suspectsOf } from './live-report.ts';
import { cut, widthOf, wrap } from './width.ts';

export interface HeaderFacts {
  report: Report;
  history: History;
  /** characters of the sparkline, lowest first */
  blocks: string;
  paused: boolean;
  /** since the last look at the ports */
  lookedMs: number | null;
  /** calls that found no free port since then: what was free is not any more */
  portlessSince: PortlessCalls;
  /** what else there is to say, such as that it is recorded */
  note: Span | null;
}

const LONGEST_SPARKLINE = 60;
const SHORTEST_TARGET = 24;

/** Lines in the order of what matters: a low terminal shows the first ones only. A long note has lines of its own. */
export function headerLines(facts: HeaderFacts, width: number): Line[] {
  const { note } = facts;
  const isLong = note !== null && widthOf(note.text) + SHORTEST_TARGET > width;
  return [
    ...(isLong ? wrap(note.text, width).map((text): Line => [{ ...note, text }]) : []),
    observation(isLong ? { ...facts, note: null } : facts, width),
    suspects(facts, width),
    ports(facts, width),
    ...victims(facts.report),
    accounts(facts.report, width),
  ];
}

/** Of a long list of processes the beginning, so that there is room for what follows. */
function observation({ report, paused, note }: HeaderFacts, width: number): Line {
  const { target, window, host, loss } = report;
  const lost = loss.reasons.length;
  const before: Span[] = [
    ...(paused ? [{ text: 'PAUSED', tone: 'yellow' } as const] : []),
    ...(note === null ? [] : [note]),
  ];
  const after: Span[] = [
    { text: formatDuration(window.durationMs) },
    lost === 0 ? { text: 'no loss' } : { text: `LOSS of ${countOf(lost, 'sort')} (press ?)`, tone: 'yellow' },
    { text: `hooks ${host.hooks.set}` },
  ];
  const used = [...before, ...after].reduce((sum, { text }) => sum + widthOf(text) + 2, 0);
  const name = cut(targetName(target), Math.max(SHORTEST_TARGET, width - used));
  return joined([...before, { text: name, tone: 'bold' }, ...after], width);
}

/** The sparkline has what room the numbers leave. */
function suspects({ report, history, blocks }: HeaderFacts, width: number): Line {
  const leaks = report.findings.filter(({ leak }) => leak).length;
  const spans: Span[] = [
    { text: `suspects ${formatCount(suspectsOf(report))}` },
    leaks === 0 ? { text: 'no leak yet' } : { text: `LEAKS ${formatCount(leaks)}`, tone: 'red' },
  ];
  const used = spans.reduce((sum, { text }) => sum + widthOf(text) + 2, 0);
  const sparkline = history.sparkline(Math.min(LONGEST_SPARKLINE, width - used), blocks);
  return joined([...spans, ...(sparkline === '' ? [] : [{ text: sparkline }])], width);
}

function ports({ report, lookedMs, portlessSince }: HeaderFacts, width: number): Line {
  if (report.ports.status === 'unavailable') return [{ text: `ports not known: ${report.ports.reason}`, tone: 'dim' }];
  const own = namespacesOf(report);
  const tightest = tightestOf(report, own);
  if (tightest === undefined) return [{ text: 'ports: none in use' }];
  const where = `netns ${namespaceShort(tightest)}, the fullest of ${formatCount(own.size)}`;
  const others = own.size > 1 ? [{ text: where }] : [];
  const looked = lookedMs === null ? [] : [{ text: `seen ${formatDuration(lookedMs)} ago`, tone: 'dim' } as const];
  return joined([...range(tightest, portlessSince.get(tightest.netns) ?? 0), ...others, ...looked], width);
}

/** Only where there are some: others fail for want of ports in the namespaces that the line above is about. */
function victims(report: Report): Line[] {
  const own = namespacesOf(report);
  const where = own.size > 0 ? own : new Set([tightestOf(report, own)?.netns]);
  const text = new Victims(report).text((netns) => netns !== null && where.has(netns));
  const these = own.size > 1 ? ` in ${formatCount(own.size)} netns` : '';
  return text === null ? [] : [[{ text: `NO FREE PORT${these}: ${text}`, tone: 'yellow' }]];
}

/** The network namespaces of the traced processes: of those that live, while one does. */
function namespacesOf({ processes }: Report): Set<number> {
  const traced = processes.filter(({ activity }) => activity.status === 'measured');
  const living = traced.filter(({ exited }) => !exited);
  return new Set(
    (living.length > 0 ? living : traced).flatMap(({ netns }) => (netns.status === 'measured' ? [netns.value] : [])),
  );
}

/** The fullest one of them; of any, where none is known. */
function tightestOf({ ports }: Report, own: ReadonlySet<number>): ReportPorts | undefined {
  if (ports.status === 'unavailable') return undefined;
  const [tightest] = ports.value
    .filter(({ netns }) => own.size === 0 || own.has(netns))
    .sort((a, b) => freeOf(a) - freeOf(b) || b.inUse - a.inUse);
  return tightest;
}

function freeOf({ free }: ReportPorts): number {
  return free.status === 'measured' ? free.value : Number.POSITIVE_INFINITY;
}

function range({ range, inRange, inUse, free, perMinute, msToFull }: ReportPorts, portlessSince: number): Span[] {
  if (range.status === 'unavailable' || inRange === null) return [{ text: `ports ${formatCount(inUse)} in use` }];
  const [low, high] = range.value;
  return [
    { text: `ports ${formatCount(inRange)} of ${formatCount(high - low + 1)} in ${low}-${high}` },
    ...left(free, msToFull, portlessSince),
    // Of a full range there is none, and of one that is not on its way there nobody asks.
    ...(perMinute.status === 'measured' && msToFull.status === 'measured' && msToFull.value > 0
      ? [{ text: formatRate(perMinute.value) }]
      : []),
  ];
}

function left(free: ReportPorts['free'], msToFull: ReportPorts['msToFull'], portlessSince: number): Span[] {
  if (free.status === 'unavailable') return [];
  if (free.value <= 0) return [{ text: 'FULL', tone: 'red' }];
  if (portlessSince > 0) return [{ text: `${countOf(portlessSince, 'call')} found none free since`, tone: 'yellow' }];
  return [
    { text: `${formatCount(free.value)} free` },
    ...(msToFull.status === 'measured'
      ? [{ text: `full in ${formatDuration(msToFull.value)}`, tone: 'yellow' } as const]
      : []),
  ];
}

function accounts({ sockets }: Report, width: number): Line {
  const whole = accountsText(sockets);
  if (widthOf(whole) <= width || sockets.held === null) return [{ text: whole }];
  return joined(
    [
      { text: `held ${formatCount(sockets.held)}` },
      { text: `opened ${formatCount(sockets.opened ?? 0)}` },
      { text: `accepted ${formatCount(sockets.accepted ?? 0)}` },
      { text: `destroyed ${formatCount(sockets.destroyed ?? 0)}` },
    ],
    width,
  );
}
