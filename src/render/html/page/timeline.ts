/** What happened when: the plots, the chosen window, and its sums. */
import type { Known } from '../../../ledger/types.ts';
import type { Levels, TimelinePorts } from '../../../report/timeline.ts';
import { formatDuration } from '../../duration.ts';
import { escapeText, escapeWithin } from '../../escape.ts';
import { formatChange, formatCount } from '../../numbers.ts';
import { amountIn, changeIn, levelAt, sumOf } from '../windowed.ts';
import { Chart, type Line } from './chart.ts';
import { clock } from './clock.ts';
import { button, el, section } from './dom.ts';
import { onMedium } from './theme.ts';
import type { View } from './view.ts';

export function timelineSection(view: View): HTMLElement {
  const sockets = new Chart(view, 'Sockets held', 'that nothing is done with, by kind');
  const choice = portsChoice(view);
  const ports = new Chart(view, 'Ports', 'of the range that bind(0) and connect() choose from', choice.element);
  const alloc = new Chart(view, 'TCP sockets of the host', 'alloc of /proc/net/sockstat');
  const charts = [
    { chart: sockets, lines: () => socketLines(view) },
    { chart: ports, lines: () => portLines(choice.chosen()) },
    { chart: alloc, lines: () => allocLines(view) },
  ];
  choice.element?.addEventListener('change', () => ports.draw(portLines(choice.chosen())));
  const element = section(
    'timeline',
    'Timeline',
    el(
      'p',
      { class: 'hint how' },
      'Drag over a plot to look at a part of the time: everything from here down to the failed calls follows. ',
      'Esc or a double click shows all of it again.',
    ),
    el('div', { class: 'charts' }, ...charts.map(({ chart }) => chart.element)),
  );
  element.addEventListener('keydown', (event) => onKey(event, view));
  const drawAll = (): void => {
    for (const { chart, lines } of charts) chart.draw(lines());
  };
  // Draws for the first time as well: an element has no width before it is in the document.
  new ResizeObserver(drawAll).observe(element);
  onMedium(drawAll);
  return element;
}

/** The chosen window in words and numbers, and the means to choose it without a mouse. */
export function windowBar(view: View): HTMLElement {
  const last = Math.max(0, view.timeline.buckets - 1);
  const slider = (label: string): HTMLInputElement =>
    el('input', { type: 'range', min: '0', max: String(last), step: '1', 'aria-label': label });
  const from = slider('Window from');
  const to = slider('Window to');
  const words = el('output', { class: 'window', id: 'window' });
  const tiles = el('dl', { class: 'tiles', id: 'tiles', 'aria-live': 'polite' });
  const reset = button('Whole recording', () => view.reset(), { id: 'reset' });
  from.addEventListener('input', () =>
    view.choose({ from: Number(from.value), to: Math.max(Number(from.value), view.window.to) }),
  );
  to.addEventListener('input', () =>
    view.choose({ from: Math.min(Number(to.value), view.window.from), to: Number(to.value) }),
  );
  const update = (): void => {
    const { fromMs, toMs } = view.times;
    const [start, end] = [clock(fromMs, view.spanMs), clock(toMs, view.spanMs)];
    from.value = String(view.window.from);
    to.value = String(view.window.to);
    from.setAttribute('aria-valuetext', start);
    to.setAttribute('aria-valuetext', end);
    words.textContent = `${view.isWhole ? 'Whole recording' : 'Window'}: ${start} - ${end} UTC (${formatDuration(toMs - fromMs)})`;
    reset.toggleAttribute('disabled', view.isWhole);
    tiles.replaceChildren(...tilesOf(view).flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
  };
  view.onChange(update);
  update();
  return el(
    'div',
    { class: 'bar', role: 'region', 'aria-label': 'Chosen window' },
    el('div', { class: 'choose' }, words, from, to, reset),
    tiles,
  );
}

function tilesOf(view: View): [string, string][] {
  const { timeline, window } = view;
  const suspects = sumOf(timeline.byKind.filter(({ kind }) => kind !== 'released').map(({ counts }) => counts));
  const allPorts = timeline.sources.flatMap(({ ports }) => ports);
  const failed = timeline.failures.reduce((sum, { counts }) => sum + amountIn(counts, window), 0);
  const opened = timeline.sources.reduce((sum, source) => sum + amountIn(source.opened, window), 0);
  const destroyed = timeline.sources.reduce((sum, source) => sum + amountIn(source.destroyed, window), 0);
  const level = (levels: Levels): string => {
    const at = levelAt(levels, window.to);
    const change = changeIn(levels, window);
    return `${at === null ? '?' : formatCount(at)}${change === null ? '' : ` (${formatChange(change)})`}`;
  };
  return [
    ['suspects', level(suspects)],
    ['ports they hold', level(sumOf(allPorts.map(({ bySuspects }) => bySuspects)))],
    ['alloc', level(sumOf(timeline.sources.map(({ alloc }) => alloc)))],
    ['opened or accepted', formatCount(opened)],
    ['closed', formatCount(destroyed)],
    ['failed calls', formatCount(failed)],
  ];
}

function socketLines({ timeline }: View): Line[] {
  return [
    ...timeline.byKind.map(
      ({ kind, counts }): Line => ({ label: kind, colour: `--kind-${kind}`, levels: counts, look: 'area' }),
    ),
    {
      label: 'all of the traced',
      colour: '--ink',
      levels: sumOf(timeline.sources.map(({ held }) => held)),
      look: 'line',
    },
  ];
}

function portLines(ports: TimelinePorts | null): Line[] {
  if (ports === null) return [];
  const { limit, inRange, bySuspects } = ports;
  return [
    { label: 'in use by anybody', colour: '--line', levels: inRange, look: 'line' },
    { label: 'held by suspects', colour: '--kind-bound-inactive', levels: bySuspects, look: 'area' },
    ...(limit.status === 'measured'
      ? [{ label: 'limit', colour: '--leak', levels: inRange.map(() => limit.value), look: 'limit' } as const]
      : []),
  ];
}

function allocLines({ timeline: { sources } }: View): Line[] {
  if (sources.length === 1)
    return sources.map(({ alloc }) => ({ label: 'alloc', colour: '--line', levels: alloc, look: 'line' }));
  return sources.map(
    ({ alloc, name, hostname }, i): Line => ({
      label: escapeWithin(name === '' ? hostname : name, 40),
      colour: `--series-${i % 6}`,
      levels: alloc,
      look: 'line',
    }),
  );
}

/** Of several network namespaces one is shown, first the one that is nearest to its limit. */
function portsChoice({ timeline }: View): { element: HTMLSelectElement | null; chosen: () => TimelinePorts | null } {
  const all = timeline.sources
    .flatMap(({ name, ports }) => ports.map((one) => ({ name, one, fullness: fullness(one) })))
    .sort((a, b) => b.fullness - a.fullness);
  if (all.length < 2) return { element: null, chosen: () => all[0]?.one ?? null };
  const element = el(
    'select',
    { 'aria-label': 'Network namespace', id: 'namespace' },
    ...all.map(({ name, one }, i) =>
      el(
        'option',
        { value: String(i) },
        `network namespace ${one.netns}${name === '' ? '' : ` of ${escapeText(name)}`}`,
      ),
    ),
  );
  return { element, chosen: () => all[Number(element.value)]?.one ?? null };
}

function fullness({ limit, inRange, bySuspects }: TimelinePorts): number {
  const most = Math.max(0, ...[...inRange, ...bySuspects].map((level) => level ?? 0));
  return most / valueOr(limit, 65_535);
}

function valueOr(known: Known<number>, otherwise: number): number {
  return known.status === 'measured' && known.value > 0 ? known.value : otherwise;
}

/** Along the time and into it. */
function onKey(event: KeyboardEvent, view: View): void {
  if (event.target instanceof HTMLSelectElement) return;
  const { from, to } = view.window;
  const width = to - from;
  const step = Math.max(1, Math.round(width / 10));
  const last = view.timeline.buckets - 1;
  switch (event.key) {
    case 'ArrowLeft':
      view.choose({ from: Math.max(0, from - step), to: Math.max(0, from - step) + width });
      break;
    case 'ArrowRight':
      view.choose({ from: Math.min(last, to + step) - width, to: Math.min(last, to + step) });
      break;
    case '+':
      if (width > 1) view.choose({ from: from + step, to: Math.max(from + step, to - step) });
      break;
    case '-':
      view.choose({ from: from - step, to: to + step });
      break;
    default:
      return;
  }
  event.preventDefault();
}
