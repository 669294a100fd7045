/** Which code it was: call paths by the sockets or ports they hold at the end of the window, or by its failed calls. */
import flamegraph, { type FlameGraph, type LaidOut } from 'd3-flame-graph';
import { select } from 'd3-selection';
import { escapeText } from '../../escape.ts';
import { ProcessNames } from '../../names.ts';
import { countOf, formatCount } from '../../numbers.ts';
import { type FlameNode, type FlameSample, FlameTrees } from '../flame-tree.ts';
import { failuresIn, findingsIn, restOf } from '../windowed.ts';
import { button, el, section } from './dom.ts';
import { onMedium, widthFor } from './theme.ts';
import type { View } from './view.ts';

type Measure = 'sockets' | 'ports' | 'failures';

const MEASURES: Readonly<Record<Measure, { label: string; noun: string }>> = {
  sockets: { label: 'Sockets', noun: 'socket held' },
  ports: { label: 'Ports', noun: 'port held' },
  failures: { label: 'Failed calls', noun: 'failed call' },
};
const PLURALS: Readonly<Record<Measure, string>> = {
  sockets: 'sockets held',
  ports: 'ports held',
  failures: 'failed calls',
};

const CELL = 22;

export function flameSection(view: View): HTMLElement {
  const graph = new FlameView();
  const samples = samplesOf(view);
  const trees = new FlameTrees(view.report);
  let measure: Measure = 'sockets';
  const all = el('input', { type: 'checkbox', id: 'runtimes' });
  const tabs = (Object.keys(MEASURES) as Measure[]).map((name) =>
    button(
      MEASURES[name].label,
      () => {
        measure = name;
        update();
      },
      { 'data-measure': name, 'aria-pressed': 'false' },
    ),
  );
  const update = (): void => {
    for (const tab of tabs) tab.setAttribute('aria-pressed', String(tab.dataset['measure'] === measure));
    const found = samples[measure]();
    const sum = found.reduce((total, { count }) => total + count, 0);
    graph.show(trees.of(found, all.checked, countOf(sum, MEASURES[measure].noun, PLURALS[measure])), PLURALS[measure]);
  };
  all.addEventListener('change', update);
  view.onChange(update);
  onMedium(update);
  new ResizeObserver(update).observe(graph.element);
  const { callPaths } = view.report;
  return section(
    'flame',
    'Call paths',
    el(
      'div',
      { class: 'controls' },
      el('div', { class: 'tabs', role: 'group', 'aria-label': 'Width of a box' }, ...tabs),
      el('label', {}, all, ' libraries and runtimes'),
      button('Reset zoom', () => graph.reset(), { id: 'flame-reset' }),
    ),
    callPaths.status === 'unavailable'
      ? el('p', { class: 'hint' }, `Which code: not known: ${escapeText(callPaths.reason)}`)
      : el(
          'p',
          { class: 'hint' },
          'From the process (top) through its callers to the call, and what it left.',
          el('span', { class: 'how' }, ' A click or Enter zooms, arrow keys walk, Esc zooms out.'),
        ),
    graph.element,
    graph.words,
  );
}

function samplesOf(view: View): Record<Measure, () => FlameSample[]> {
  const { report, timeline } = view;
  const names = new ProcessNames(report);
  const who = (process: string | null, program: string | null): string =>
    process !== null && names.find(process) !== undefined
      ? names.of(process)
      : escapeText(program ?? 'unknown process');
  const findings = (): ReturnType<typeof findingsIn> => findingsIn(report, timeline, view.window);
  return {
    sockets: () => {
      const all = findings();
      const rest = restOf(timeline, view.window, all).map(({ kind, count }) => ({
        who: 'smaller findings',
        path: null,
        what: kind,
        count,
      }));
      const followed = all.map(({ process, program, openPath, kind, errno, count }) => ({
        who: who(process, program),
        path: openPath,
        what: `${kind}${errno === null ? '' : ` ${errno}`}`,
        count: count ?? 0,
      }));
      return [...followed, ...rest];
    },
    ports: () =>
      findings().map(({ process, program, openPath, bindPath, kind, ports }) => ({
        who: who(process, program),
        path: bindPath ?? openPath,
        what: kind,
        count: ports ?? 0,
      })),
    failures: () =>
      failuresIn(report, timeline, view.window).flatMap(({ comm, operation, errno, paths }) =>
        paths.map(({ path, count }) => ({ who: escapeText(comm), path, what: `${operation}() ${errno}`, count })),
      ),
  };
}

/** The graph itself, and a way through it for the keyboard. */
class FlameView {
  readonly element = el('div', { class: 'flame', role: 'tree', 'aria-label': 'Call paths' });
  readonly words = el('p', { class: 'hint flame-words', 'aria-live': 'polite' });
  #chart: FlameGraph<FlameNode> | null = null;
  #root: LaidOut<FlameNode> | null = null;
  #zoomed: LaidOut<FlameNode> | null = null;
  #focused = 0;

  constructor() {
    this.element.addEventListener('keydown', (event) => this.#onKey(event));
    this.element.addEventListener('focusin', (event) => {
      const box = this.#boxOf(event.target as Element);
      if (box !== null) this.words.textContent = this.#label(box);
    });
  }

  #noun = '';

  show(tree: FlameNode, noun: string): void {
    const kept = this.#zoomed === null ? [] : namesTo(this.#zoomed);
    this.#noun = noun;
    this.element.replaceChildren();
    this.#zoomed = null;
    this.#root = null;
    this.#chart = null;
    const width = widthFor(this.element);
    if (tree.value === 0 || width === 0) {
      this.element.replaceChildren(el('p', { class: 'none' }, tree.value === 0 ? 'none in this window' : ''));
      return;
    }
    const chart = flamegraph<FlameNode>()
      .width(width)
      .cellHeight(CELL)
      .minFrameSize(1)
      .transitionDuration(0)
      .inverted(true)
      .resetHeightOnZoom(true)
      .setLabelHandler((box) => this.#label(box))
      .setDetailsHandler((text) => {
        if (text !== null) this.words.textContent = text;
      })
      .setColorMapper(({ data }) => `var(--flame-${data.tone})`)
      .onClick((box) => this.#onZoom(box));
    select(this.element).datum(tree).call(chart);
    this.#chart = chart;
    this.#root = chart.findById(0);
    this.#focused = 0;
    this.#decorate();
    const again = kept.length < 2 ? null : find(this.#root, kept);
    if (again !== null) chart.zoomTo(again);
  }

  reset(): void {
    if (this.#root !== null) this.#chart?.zoomTo(this.#root);
  }

  #onZoom(box: LaidOut<FlameNode>): void {
    this.#zoomed = box === this.#root ? null : box;
    this.element.dataset['zoomed'] = this.#zoomed === null ? '' : box.data.name;
    this.#focused = box.id;
    const hadFocus = this.element.contains(document.activeElement);
    this.#decorate();
    if (hadFocus) this.#frame(box)?.focus();
  }

  /** The library knows the mouse only. */
  #decorate(): void {
    let rows = 0;
    for (const frame of this.#frames()) {
      const box = this.#boxOf(frame);
      if (box === null) continue;
      rows = Math.max(rows, box.depth + 1);
      frame.setAttribute('role', 'treeitem');
      frame.setAttribute('aria-level', String(box.depth + 1));
      frame.setAttribute('aria-label', this.#label(box));
      frame.setAttribute('tabindex', box.id === this.#focused ? '0' : '-1');
      frame.classList.add(box.data.tone);
      // At once: the library lets new boxes grow, which flickers while a window is dragged.
      frame.querySelector('rect')?.setAttribute('width', frame.getAttribute('width') ?? '0');
      frame.querySelector('.d3-flame-graph-label')?.replaceChildren(box.data.name);
    }
    this.element.querySelector('svg')?.setAttribute('height', String(rows * CELL));
  }

  #label({ data }: LaidOut<FlameNode>): string {
    const total = this.#root?.data.value ?? data.value;
    const percent = ((100 * data.value) / total).toFixed(1).replace(/\.0$/, '');
    return `${data.name}: ${formatCount(data.value)} ${this.#noun} (${percent}%)`;
  }

  #frames(): SVGGElement[] {
    return [...this.element.querySelectorAll<SVGGElement>('g.frame')];
  }

  #frame(box: LaidOut<FlameNode>): SVGGElement | null {
    return this.#frames().find((frame) => this.#boxOf(frame) === box) ?? null;
  }

  /** d3 keeps what an element stands for on the element. */
  #boxOf(element: Element): LaidOut<FlameNode> | null {
    return (element as Element & { __data__?: LaidOut<FlameNode> }).__data__ ?? null;
  }

  #onKey(event: KeyboardEvent): void {
    const frame = document.activeElement;
    const box = frame === null ? null : this.#boxOf(frame);
    if (box === null) return;
    switch (event.key) {
      case 'ArrowUp':
        this.#focus(box.parent);
        break;
      case 'ArrowDown':
        this.#focus(box.children?.find((child) => this.#frame(child) !== null) ?? null);
        break;
      case 'ArrowLeft':
        this.#focus(this.#beside(box, -1));
        break;
      case 'ArrowRight':
        this.#focus(this.#beside(box, 1));
        break;
      case 'Enter':
      case ' ':
        this.#chart?.zoomTo(box);
        break;
      case 'Escape':
        if (this.#zoomed === null) return;
        this.reset();
        event.stopPropagation();
        break;
      default:
        return;
    }
    event.preventDefault();
  }

  #beside(box: LaidOut<FlameNode>, by: 1 | -1): LaidOut<FlameNode> | null {
    const same = this.#frames()
      .map((frame) => this.#boxOf(frame))
      .filter((other) => other?.depth === box.depth);
    return same[same.indexOf(box) + by] ?? null;
  }

  #focus(box: LaidOut<FlameNode> | null): void {
    if (box === null) return;
    this.#focused = box.id;
    for (const frame of this.#frames()) frame.setAttribute('tabindex', this.#boxOf(frame) === box ? '0' : '-1');
    this.#frame(box)?.focus();
  }
}

/** By which a box is found in another graph of the same program. */
function namesTo(box: LaidOut<FlameNode>): string[] {
  return [...(box.parent === null ? [] : namesTo(box.parent)), box.data.name];
}

function find(root: LaidOut<FlameNode> | null, [, ...names]: readonly string[]): LaidOut<FlameNode> | null {
  let box = root;
  for (const name of names) box = box?.children?.find(({ data }) => data.name === name) ?? null;
  return box;
}
