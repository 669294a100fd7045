/** One plot over time, of which a part can be chosen. */
import uPlot from 'uplot';
import type { Levels } from '../../../report/timeline.ts';
import { formatCount } from '../../numbers.ts';
import { levelAt } from '../windowed.ts';
import { clock, tick } from './clock.ts';
import { el } from './dom.ts';
import { colourOf, widthFor } from './theme.ts';
import type { View } from './view.ts';

export interface Line {
  label: string;
  /** variable of the style sheet */
  colour: string;
  levels: Levels;
  /** `area`: stacked on the areas before it; `limit`: a border that others should stay below */
  look: 'area' | 'line' | 'limit';
}

interface Drawn extends Line {
  /** as drawn: stacked */
  values: Levels;
}

const HEIGHT = 170;
const SYNC = 'time';

/** Draws what `linesOf` gives now, and again whenever `draw` is called. */
export class Chart {
  readonly element: HTMLElement;
  readonly #view: View;
  readonly #plotted = el('div', { class: 'plot' });
  #plot: uPlot | null = null;
  #lines: readonly Line[] = [];

  constructor(view: View, title: string, unit: string, note: HTMLElement | null = null) {
    this.#view = view;
    this.element = el(
      'figure',
      { class: 'chart' },
      el('figcaption', {}, el('strong', {}, title), ` ${unit} `, note),
      this.#plotted,
    );
    view.onChange(() => this.#zoom());
  }

  /** Anew: other lines, width or colours. */
  draw(lines: readonly Line[] = this.#lines): void {
    this.#lines = lines;
    this.#plot?.destroy();
    this.#plot = null;
    const width = widthFor(this.#plotted);
    if (width === 0) return;
    const drawn = stacked(lines);
    this.#plot = new uPlot(
      this.#options(drawn, width),
      [this.#xs(), ...drawn.map(({ values }) => values)] as uPlot.AlignedData,
      this.#plotted,
    );
  }

  get isDrawn(): boolean {
    return this.#plot !== null;
  }

  /** Levels are those of the ends of their buckets. */
  #xs(): number[] {
    const { timeline, endMs } = this.#view;
    const { startMs, bucketMs, buckets } = timeline;
    return Array.from({ length: buckets }, (_, i) => Math.min(endMs, startMs + (i + 1) * bucketMs) / 1_000);
  }

  #options(drawn: readonly Drawn[], width: number): uPlot.Options {
    const ink = colourOf('--dim');
    const rule = colourOf('--rule');
    const axis = { stroke: ink, grid: { stroke: rule, width: 1 }, ticks: { stroke: rule, width: 1 } };
    const { spanMs } = this.#view;
    return {
      width,
      height: HEIGHT,
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1_000), 'Etc/UTC'),
      scales: {
        x: { time: true, auto: false, range: () => this.#range() },
        y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] },
      },
      axes: [
        {
          ...axis,
          space: 84,
          values: (_, splits, __, ___, step) => splits.map((at) => tick(at * 1_000, step * 1_000, spanMs)),
        },
        { ...axis, size: 64, values: (_, splits) => splits.map((at) => (Number.isInteger(at) ? formatCount(at) : '')) },
      ],
      series: [
        {
          label: 'UTC',
          value: (_, seconds) => clock(((seconds as number | null) ?? this.#view.times.toMs / 1_000) * 1_000, spanMs),
        },
        ...drawn.map((line) => this.#series(line)),
      ],
      legend: { live: true },
      cursor: {
        sync: {
          key: SYNC,
          setSeries: false,
          filters: { pub: (type) => type === 'mousemove' || type === 'mouseleave' },
        },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => this.#reset() },
        y: false,
      },
      hooks: { setSelect: [(plot) => this.#choose(plot)] },
    };
  }

  #series({ label, colour, look, levels }: Drawn): uPlot.Series {
    const stroke = colourOf(colour);
    return {
      label,
      stroke,
      width: look === 'area' ? 1 : 2,
      points: { show: false },
      spanGaps: true,
      ...(look === 'area' ? { fill: stroke } : {}),
      ...(look === 'limit' ? { dash: [6, 4] } : {}),
      // Not of a stack: what it says is its own. Without a cursor: at the end of the window.
      value: (_, __, ___, i) => {
        const level = levelAt(levels, i ?? this.#view.window.to);
        return level === null ? '?' : formatCount(level);
      },
    };
  }

  #reset(): null {
    this.#view.reset();
    return null;
  }

  #range(): [number, number] {
    const { fromMs, toMs } = this.#view.times;
    return [fromMs / 1_000, toMs / 1_000];
  }

  #zoom(): void {
    const [min, max] = this.#range();
    this.#plot?.setScale('x', { min, max });
  }

  #choose(plot: uPlot): void {
    const { left, width } = plot.select;
    if (width < 4) return;
    const from = plot.posToVal(left, 'x') * 1_000;
    const to = plot.posToVal(left + width, 'x') * 1_000;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#view.chooseTimes(from, to);
  }
}

/** The highest area first, so that each covers what belongs to those below it. */
function stacked(lines: readonly Line[]): Drawn[] {
  const sums: number[] = [];
  const areas: Drawn[] = [];
  for (const line of lines.filter(({ look }) => look === 'area')) {
    const values = line.levels.map((_, i) => {
      sums[i] = (sums[i] ?? 0) + (levelAt(line.levels, i) ?? 0);
      return sums[i] ?? 0;
    });
    areas.unshift({ ...line, values });
  }
  return [...areas, ...lines.filter(({ look }) => look !== 'area').map((line) => ({ ...line, values: line.levels }))];
}
