/** A file for https://www.speedscope.app, which also opens without a network: one profile for each value. */
import type { CallFrame } from '../ledger/types.ts';
import { readName } from '../report/frame-names.ts';
import type { Report } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { renderJsonLine } from './json.ts';
import { frameName, namesOf, STACK_VALUES, type Stack, stacksOf } from './stacks.ts';

interface Frame {
  name: string;
  file?: string;
  line?: number;
}

/** JSON of speedscope's file format. */
export function renderSpeedscope(report: Report): string {
  const stacks = stacksOf(report);
  const frames = new FrameTable();
  const rows = stacks.map((stack) => ({ stack, sample: frames.sampleOf(stack) }));
  const profiles = STACK_VALUES.map((value) => {
    const weighed = rows.filter(({ stack }) => stack.values[value] > 0);
    const weights = weighed.map(({ stack }) => stack.values[value]);
    return {
      type: 'sampled',
      name: value,
      unit: 'none',
      startValue: 0,
      endValue: weights.reduce((sum, weight) => sum + weight, 0),
      samples: weighed.map(({ sample }) => sample),
      weights,
    };
  });
  const { hostname } = report.host;
  return renderJsonLine({
    $schema: 'https://www.speedscope.app/file-format-schema.json',
    exporter: `${report.tool.name} ${report.tool.version}`,
    name: `${report.tool.name} on ${escapeText(hostname)}, ${report.window.startedAt}`,
    activeProfileIndex: 0,
    shared: { frames: frames.all },
    profiles,
  });
}

class FrameTable {
  readonly all: Frame[] = [];
  readonly #indexes = new Map<string, number>();

  /** Indexes of frames, outermost first. */
  sampleOf(stack: Stack): number[] {
    const names = namesOf(stack);
    const program = this.#indexOf({ name: names[0] ?? '' });
    if (stack.unknown !== null) return [program, ...names.slice(1).map((name) => this.#indexOf({ name }))];
    return [program, ...stack.frames.map((frame) => this.#indexOf(toFrame(frame))).reverse()];
  }

  #indexOf(frame: Frame): number {
    const key = JSON.stringify(frame);
    const known = this.#indexes.get(key);
    if (known !== undefined) return known;
    this.all.push(frame);
    this.#indexes.set(key, this.all.length - 1);
    return this.all.length - 1;
  }
}

function toFrame(frame: CallFrame): Frame {
  const { file, line } = readName(frame);
  const where = file ?? frame.module;
  return {
    name: frameName(frame),
    ...(where === null ? {} : { file: escapeText(where) }),
    ...(line === null ? {} : { line }),
  };
}
