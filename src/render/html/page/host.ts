/** The whole host at the end: where every socket is, which ports are taken, and what was not seen. */
import type { SocketClass } from '../../../accounting/classes.ts';
import type { Report, ReportPortHolder, ReportPorts, ReportProcess } from '../../../report/types.ts';
import { escapeText } from '../../escape.ts';
import { ProcessNames } from '../../names.ts';
import { countOf, formatCount } from '../../numbers.ts';
import { accountsText, movement } from '../../text/accounts.ts';
import { explain } from '../../text/classes.ts';
import { stepsForRecording } from '../../text/next-of-recording.ts';
import { notSampled, unknowns } from '../../text/observation.ts';
import { holderText, inUseText, isFull, rangeText, usedNamespaces } from '../../text/ports.ts';
import { command, concerned, surroundings } from '../../text/processes.ts';
import { el, facts, section } from './dom.ts';
import { DataTable } from './table.ts';

/** What is of one host: of a report of several recordings, each has its own. */
type OfHost = Pick<Report, 'sockets' | 'sockstat' | 'ports'> & { name?: string };

function hostsOf(report: Report): OfHost[] {
  return report.sources ?? [report];
}

function nameOf({ name }: OfHost): HTMLElement | null {
  return name === undefined ? null : el('h3', {}, escapeText(name));
}

/** The sums, and whether they close. */
export function accountsSection(report: Report): HTMLElement {
  return section(
    'accounts',
    'Accounts',
    ...hostsOf(report).flatMap((host) => [nameOf(host), sums(host), classesTable(host)]),
  );
}

function sums({ sockets, sockstat }: OfHost): HTMLElement {
  const traced = ['traced', accountsText(sockets)] as const;
  if (sockstat.status === 'unavailable')
    return facts([traced, ['sockstat', `not known: ${escapeText(sockstat.reason)}`]]);
  const { before, after, moved } = sockstat.value;
  const alloc = `alloc ${formatCount(before.alloc)} -> ${formatCount(after.alloc)} (all TCP sockets of the host)`;
  return facts([traced, ['sockstat', alloc], ['moved', moved.status === 'measured' ? movement(moved.value) : null]]);
}

function classesTable({ sockstat }: OfHost): HTMLElement | null {
  if (sockstat.status === 'unavailable') return null;
  const { classes, unplaced, unseen, allocWhenClassified } = sockstat.value;
  if (classes.status === 'unavailable')
    return el('p', { class: 'hint' }, `classes of alloc: not known: ${escapeText(classes.reason)}`);
  const most = Math.max(1, ...classes.value.map(({ count }) => count));
  const row = (name: string, count: number | null, evidence: string, style = ''): HTMLElement =>
    el(
      'tr',
      { class: style },
      el('td', { class: 'right' }, count === null ? '?' : formatCount(count)),
      el('td', {}, meter(count ?? 0, most)),
      el('th', { scope: 'row' }, name),
      el('td', {}, evidence),
    );
  return el(
    'div',
    { class: 'scroll' },
    el(
      'table',
      { class: 'sums' },
      el('caption', {}, 'Every TCP socket of the host, at the end'),
      el(
        'tbody',
        {},
        ...classes.value.map(({ name, count, evidence }: SocketClass) => row(name, count, escapeText(evidence))),
        unplaced.status === 'measured' ? row('unplaced', unplaced.value, explain(unplaced.value)) : null,
        row(
          'alloc',
          allocWhenClassified.status === 'measured' ? allocWhenClassified.value : null,
          'all of them (/proc/net/sockstat)',
          'total',
        ),
      ),
    ),
    ...unseen.map((what) => el('p', { class: 'warn' }, `not seen: ${escapeText(what)}`)),
  );
}

/** A bar for the eye; the number stands beside it. */
function meter(value: number, most: number): HTMLElement {
  const bar = el('span', { class: 'bar-fill' });
  bar.style.width = `${Math.max(0, Math.min(100, (100 * value) / most))}%`;
  return el('span', { class: 'meter', 'aria-hidden': 'true' }, bar);
}

const MOST_NAMESPACES = 50;

export function portsSection(report: Report): HTMLElement {
  const names = new ProcessNames(report);
  return section(
    'ports',
    'Ports by network namespace',
    ...hostsOf(report).flatMap((host) => [nameOf(host), ...namespacesOf(host, report, names)]),
  );
}

function namespacesOf({ ports }: OfHost, report: Report, names: ProcessNames): HTMLElement[] {
  const hint = (text: string): HTMLElement => el('p', { class: 'hint' }, text);
  if (ports.status === 'unavailable') return [hint(`not known: ${escapeText(ports.reason)}`)];
  const used = usedNamespaces(ports.value, report);
  if (used.length === 0) return [hint('none in use')];
  const more = used.length - MOST_NAMESPACES;
  return [
    ...used.slice(0, MOST_NAMESPACES).map(({ ports }) => namespaceOf(ports, names)),
    ...(more > 0 ? [hint(`and ${countOf(more, 'more network namespace')}: --json lists them all`)] : []),
  ];
}

function namespaceOf(ports: ReportPorts, names: ProcessNames): HTMLElement {
  const { netns, path, range, inRange } = ports;
  const size = range.status === 'measured' ? range.value[1] - range.value[0] + 1 : null;
  const table = new DataTable<ReportPortHolder>({
    label: `Holders of ports in network namespace ${netns}`,
    columns: [
      { title: 'Ports', align: 'right', cell: ({ count }) => formatCount(count), sortBy: ({ count }) => count },
      { title: 'Used for', cell: ({ use }) => use, sortBy: ({ use }) => use },
      {
        title: 'By',
        cell: (holder) => holderText(holder, ports, names),
        sortBy: (holder) => holderText(holder, ports, names),
      },
    ],
    keyOf: ({ process, use }) => `${process}|${use}`,
    textOf: (holder) => holderText(holder, ports, names),
    empty: 'nobody',
  });
  table.update(ports.holders);
  return el(
    'div',
    { class: 'namespace' },
    el('h3', {}, `network namespace ${netns}${path === null ? '' : ` (${escapeText(path)})`}`),
    size === null || inRange === null ? null : meter(inRange, size),
    el('p', isFull(ports) ? { class: 'alarm' } : {}, rangeText(ports)),
    el('p', { class: 'hint' }, inUseText(ports)),
    table.element,
  );
}

/** Those of the findings first, then the targets, then all others that are named. */
export function processesSection(report: Report): HTMLElement {
  const names = new ProcessNames(report);
  const first = concerned(report);
  const table = new DataTable<ReportProcess>({
    label: 'Processes',
    columns: [
      { title: 'Pid', align: 'right', cell: ({ pid }) => String(pid), sortBy: ({ pid }) => pid },
      { title: 'Name', cell: ({ id }) => names.of(id), sortBy: ({ comm }) => comm },
      { title: 'Command', cell: (process) => el('code', {}, command(process)), sortBy: command },
      {
        title: 'Surroundings',
        cell: (process) => surroundings(process).join('; '),
        sortBy: (process) => surroundings(process).join('; '),
      },
    ],
    keyOf: ({ id }) => id,
    textOf: (process) => [names.of(process.id), command(process), ...surroundings(process)].join(' '),
    empty: 'none',
  });
  table.update([
    ...[...first].flatMap((id) => names.find(id) ?? []),
    ...report.processes.filter(({ id }) => !first.has(id)),
  ]);
  return section('processes', 'Processes', table.element);
}

/** What the report rests on. */
export function observedSection(report: Report): HTMLElement {
  const { set, refused, blindSpots } = report.host.hooks;
  const list = (items: readonly string[]): HTMLElement => el('ul', {}, ...items.map((item) => el('li', {}, item)));
  const losses = report.loss.reasons.map(({ what, count }) => `${formatCount(count)} ${escapeText(what)}`);
  const unread = (report.sources ?? [report]).flatMap((host) => unknowns({ ...report, ...host }));
  const unknown = [...new Set([...unread, ...notSampled(report)])];
  return section(
    'observed',
    'Loss, and what was not seen',
    facts([
      ['loss', losses.length === 0 ? 'none' : list(losses)],
      ['hooks', set],
      [
        'refused',
        refused.length === 0
          ? null
          : list(refused.map((hooks) => `${escapeText(hooks.set)}: ${escapeText(hooks.reason)}`)),
      ],
      ['cannot see', blindSpots.length === 0 ? null : list(blindSpots.map(escapeText))],
      ['not known', unknown.length === 0 ? null : list(unknown)],
    ]),
  );
}

export function nextSection(report: Report): HTMLElement | null {
  const steps = stepsForRecording(report, { files: [] });
  if (steps.length === 0) return null;
  return section(
    'next',
    'Next',
    el('ul', { class: 'next' }, ...steps.map(({ command, why }) => el('li', {}, el('code', {}, command), ` ${why}`))),
  );
}
