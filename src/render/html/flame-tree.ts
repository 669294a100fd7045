/** Call paths with weights, as the tree that a flame graph draws: process, callers, the call, what it left. */
import type { PathRef } from '../../ledger/types.ts';
import { foldPath } from '../../report/fold.ts';
import type { Report, ReportCallPath } from '../../report/types.ts';
import { callerText, withoutPath } from '../text/call-path.ts';

/** What a box is of: its colour. */
export type FlameTone = 'all' | 'process' | 'program' | 'runtime' | 'unknown' | 'result';

export interface FlameNode {
  name: string;
  value: number;
  tone: FlameTone;
  children: FlameNode[];
}

/** So many of `what`, of this process and call path. */
export interface FlameSample {
  who: string;
  path: PathRef | null;
  what: string;
  count: number;
}

/** Of one box; what is beyond is too small to be seen, and shown as one. */
const MOST_CHILDREN = 200;

export class FlameTrees {
  readonly #byId: ReadonlyMap<string, ReportCallPath>;
  readonly #steps = new Map<string, FlameStep[]>();

  constructor({ callPaths }: Report) {
    this.#byId = new Map(callPaths.status === 'measured' ? callPaths.value.map((path) => [path.id, path]) : []);
  }

  /**
   * @param all whether frames of libraries and runtimes are shown, too
   * @param total what the outermost box says after its count
   */
  of(samples: readonly FlameSample[], all: boolean, total: string): FlameNode {
    const root: Growing = { name: total, value: 0, tone: 'all', children: new Map() };
    for (const { who, path, what, count } of samples) {
      if (count <= 0) continue;
      const steps = [
        { name: who, tone: 'process' } as const,
        ...this.#stepsOf(path, all),
        { name: what, tone: 'result' } as const,
      ];
      root.value += count;
      let node = root;
      for (const { name, tone } of steps) {
        const key = `${tone}|${name}`;
        let child = node.children.get(key);
        if (child === undefined) {
          child = { name, tone, value: 0, children: new Map() };
          node.children.set(key, child);
        }
        child.value += count;
        node = child;
      }
    }
    return grown(root);
  }

  /** Outermost first. */
  #stepsOf(ref: PathRef | null, all: boolean): FlameStep[] {
    if (ref === null) return [{ name: 'call path not known', tone: 'unknown' }];
    const path = ref.status === 'resolved' ? this.#byId.get(ref.id) : undefined;
    if (path === undefined) return [{ name: withoutPath(ref), tone: 'unknown' }];
    const key = `${all}|${path.id}`;
    const known = this.#steps.get(key);
    if (known !== undefined) return known;
    const { frames } = foldPath(path.frames);
    const own = new Set(frames);
    const steps = (all ? path.frames : frames)
      .map((frame): FlameStep => ({ name: callerText(frame), tone: own.has(frame) ? 'program' : 'runtime' }))
      .reverse();
    const shown: FlameStep[] = steps.length > 0 ? steps : [{ name: 'no frame could be read', tone: 'unknown' }];
    this.#steps.set(key, shown);
    return shown;
  }
}

interface FlameStep {
  name: string;
  tone: FlameTone;
}

interface Growing extends FlameStep {
  value: number;
  children: Map<string, Growing>;
}

function grown({ name, tone, value, children }: Growing): FlameNode {
  const ordered = [...children.values()].sort((a, b) => b.value - a.value);
  const rest = ordered.slice(MOST_CHILDREN);
  const restValue = rest.reduce((sum, child) => sum + child.value, 0);
  return {
    name,
    tone,
    value,
    children: [
      ...ordered.slice(0, MOST_CHILDREN).map(grown),
      ...(rest.length > 0 ? [leaf(`${rest.length} more`, restValue)] : []),
    ],
  };
}

function leaf(name: string, value: number): FlameNode {
  return { name, tone: 'unknown', value, children: [] };
}
