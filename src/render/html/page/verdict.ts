/** The first thing to read: who leaks, how much, since when, from where, and who suffers. */
import { concernTest } from '../../../report/port-shortage.ts';
import type { Finding, Report, ReportPorts, ReportProcess } from '../../../report/types.ts';
import { formatDuration } from '../../duration.ts';
import { escapeText } from '../../escape.ts';
import { FailingProcesses } from '../../failing-processes.ts';
import { ProcessNames, targetName } from '../../names.ts';
import { countOf, formatCount, formatRate } from '../../numbers.ts';
import { PLAIN } from '../../style.ts';
import { CallPathTexts } from '../../text/call-path.ts';
import { victimTest } from '../../text/failures.ts';
import { headline, isAtExit, type Leak, leaksByProcess, place, total, who } from '../../text/headline.ts';
import { rangeText } from '../../text/ports.ts';
import { command, surroundings } from '../../text/processes.ts';
import { KIND_CLAUSE } from '../../words.ts';
import { moment } from './clock.ts';
import { type Child, el, facts } from './dom.ts';

const MOST_CULPRITS = 5;
const MOST_VICTIMS = 5;
const MOST_NAMESPACES = 3;

/** Leaks that one and the same process is the cause of: never empty. */
type Culprit = readonly [Leak, ...Leak[]];

export function verdictSection(report: Report): HTMLElement {
  const { verdict, host, target, window } = report;
  const badge = { leak: 'LEAK', 'no-leak': 'NO LEAK', 'not-known': 'NOT KNOWN' }[verdict.is];
  return el(
    'section',
    { id: 'verdict', class: verdict.is, 'aria-labelledby': 'verdict-title' },
    ...(verdict.is === 'leak' ? leakVerdict(report, badge) : otherVerdict(report, badge)),
    consequences(report),
    el(
      'p',
      { class: 'subject' },
      `${escapeText(host.hostname)} (Linux ${escapeText(host.kernel)}): ${targetName(target)}, watched for ${formatDuration(window.durationMs)}, from ${moment(Date.parse(window.startedAt))} to ${moment(Date.parse(window.endedAt))}. This verdict is of all that time.`,
    ),
  );
}

/** In the words of the text report, whose first line begins with its badge. */
function otherVerdict(report: Report, badge: string): Child[] {
  const [first = '', ...others] = headline(report, PLAIN);
  const title = first.slice(badge.length).replace(/^:? */, '');
  return [
    el('h1', { id: 'verdict-title' }, el('span', { class: 'badge verdict' }, badge), ` ${title}`),
    ...others.map((line) => el('p', {}, line.trim())),
  ];
}

function leakVerdict(report: Report, badge: string): Child[] {
  const names = new ProcessNames(report);
  const paths = new CallPathTexts(report);
  const all = culprits(report.findings);
  const more = all.length - MOST_CULPRITS;
  return [
    ...all.slice(0, MOST_CULPRITS).map((culprit, i) => card(report, culprit, names, paths, badge, i === 0)),
    more > 0 ? el('p', {}, `and ${countOf(more, 'more process that leaks', 'more processes that leak')}, below`) : null,
  ];
}

function culprits(findings: readonly Finding[]): Culprit[] {
  const all = new Map<string, Culprit>();
  for (const leak of leaksByProcess(findings.filter((finding) => finding.leak))) {
    const [{ process, processes, key, heldAtExit, count, source }] = leak;
    const owner = processes === 1 && process.status === 'measured' ? process.value : key;
    const id = `${owner}|${heldAtExit === count}|${source}`;
    const known = all.get(id);
    all.set(id, known === undefined ? [leak] : [...known, leak]);
  }
  return [...all.values()].sort((a, b) => sum(b, ({ count }) => count) - sum(a, ({ count }) => count));
}

function sum(culprit: Culprit, of: (finding: Finding) => number): number {
  return culprit.reduce((all, leak) => all + total(leak, of), 0);
}

function card(
  report: Report,
  culprit: Culprit,
  names: ProcessNames,
  paths: CallPathTexts,
  badge: string,
  isFirst: boolean,
): HTMLElement {
  const [[first]] = culprit;
  const sockets = sum(culprit, ({ count }) => count);
  const ports = sum(culprit, (finding) => finding.ports);
  const process = first.process.status === 'measured' ? names.find(first.process.value) : undefined;
  return el(
    'article',
    { class: 'culprit' },
    el(
      isFirst ? 'h1' : 'h2',
      isFirst ? { id: 'verdict-title' } : {},
      el('span', { class: 'badge verdict' }, badge),
      ` ${who(first, names)} `,
      el('strong', {}, countOf(sockets, 'leaked socket')),
      ...(ports > 0 ? [' and, with them, ', el('strong', {}, countOf(ports, 'port'))] : []),
    ),
    facts([
      ['since', since(report, culprit)],
      ['from', el('code', {}, code(culprit, paths))],
      ['growth', isAtExit(first) ? null : growth(culprit)],
      ['these are', kinds(culprit)],
      ['recorded in', first.source === undefined ? null : escapeText(first.source)],
      ['process', process === undefined ? null : description(process)],
    ]),
  );
}

function since({ window }: Report, culprit: Culprit): string {
  const findings = culprit.flat();
  const oldestMs = findings.reduce((oldest, finding) => Math.max(oldest, finding.oldestMs), 0);
  const isBound = findings.some(({ oldestIsLowerBound }) => oldestIsLowerBound);
  const at = moment(Date.parse(window.endedAt) - oldestMs);
  return `${isBound ? 'before ' : ''}${at} (the oldest ${isBound ? 'at least ' : ''}${formatDuration(oldestMs)} before the end)`;
}

/** Of all its leaks, as `place` says it of one. */
function code([first, ...others]: Culprit, paths: CallPathTexts): string {
  const [finding, ...rest] = first;
  const text = place([finding, ...rest, ...others.flat()], paths).replace(/^, /, '');
  return text === '' ? 'not known' : text;
}

function growth(culprit: Culprit): string | null {
  const rates = culprit.flat().flatMap(({ perMinute }) => perMinute ?? []);
  return rates.length === 0 ? null : `${formatRate(rates.reduce((a, b) => a + b, 0))} over the whole time`;
}

function kinds(culprit: Culprit): HTMLElement {
  return el(
    'ul',
    {},
    ...culprit.map((leak) => {
      const [{ kind, errno }] = leak;
      const ports = total(leak, (finding) => finding.ports);
      return el(
        'li',
        {},
        el('span', { class: `kind ${kind}` }, formatCount(total(leak, ({ count }) => count))),
        ` ${KIND_CLAUSE[kind]}${errno === null ? '' : ` (${errno})`}${ports === 0 ? '' : `, holding ${countOf(ports, 'port')}`}`,
      );
    }),
  );
}

function description(process: ReportProcess): Node {
  const [where] = surroundings(process);
  return el('span', {}, el('code', {}, command(process)), where === undefined ? null : ` (${where})`);
}

/** What the leak does to others. */
function consequences(report: Report): HTMLElement | null {
  const isVictim = victimTest(report);
  const failing = new FailingProcesses(report);
  const victims = report.failures.status === 'measured' ? report.failures.value.filter(isVictim) : [];
  const hosts = report.sources ?? [{ ...report, name: '' }];
  const all = hosts.flatMap(({ name, ports }) =>
    ports.status === 'measured' ? ports.value.map((one) => ({ source: name, ports: one })) : [],
  );
  const used = all.filter(({ ports }) => ports.inUse > 0);
  const concern = concernTest(report);
  const full = used.filter(({ ports }) => isScarce(ports)).sort((a, b) => concern(a.ports) - concern(b.ports));
  const where = (source: string, { netns }: ReportPorts): string =>
    `${source === '' ? '' : `${escapeText(source)}, `}${used.length > 1 ? `network namespace ${netns}, ` : ''}`;
  const most = victims
    .slice(0, MOST_VICTIMS)
    .map((one) => `${escapeText(one.comm)}${failing.mark(one)} (${formatCount(one.count)} ${one.operation}())`);
  const more = victims.length - most.length;
  const lines = [
    ...full.slice(0, MOST_NAMESPACES).map(({ source, ports }) => `Ports: ${where(source, ports)}${rangeText(ports)}`),
    ...(victims.length === 0
      ? []
      : [`Victims, who found no free port: ${most.join(', ')}${more > 0 ? ` and ${formatCount(more)} more` : ''}`]),
  ];
  return lines.length === 0 ? null : el('div', { class: 'alarm' }, ...lines.map((line) => el('p', {}, line)));
}

/** Less than a tenth is left. */
function isScarce({ free, range }: ReportPorts): boolean {
  return (
    free.status === 'measured' && range.status === 'measured' && free.value * 10 < range.value[1] - range.value[0] + 1
  );
}
