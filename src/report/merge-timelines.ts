/** The timelines of several recordings on one: hosts' wall clocks are taken as they are. */
import { MOST_BUCKETS } from './grid.ts';
import type { Amounts, Levels, Timeline } from './timeline.ts';

/** @param names of the recordings, as the merged report has them */
export function mergeTimelines(timelines: readonly [Timeline, ...Timeline[]], names: readonly string[]): Timeline {
  const startMs = Math.min(...timelines.map((timeline) => timeline.startMs));
  const endMs = Math.max(...timelines.map((timeline) => timeline.startMs + timeline.buckets * timeline.bucketMs));
  const longest = Math.max(...timelines.map(({ bucketMs }) => bucketMs));
  const bucketMs = Math.max(longest, Math.ceil((endMs - startMs) / MOST_BUCKETS));
  const buckets = Math.max(1, Math.ceil((endMs - startMs) / bucketMs));
  const axes = timelines.map((timeline) => new Axis(timeline, { startMs, bucketMs, buckets }));
  const kinds = new Set(timelines.flatMap(({ byKind }) => byKind.map(({ kind }) => kind)));
  return {
    startMs,
    bucketMs,
    buckets,
    sources: timelines.flatMap(({ sources }, i) =>
      sources.map((source) => ({
        ...source,
        name: names[i] ?? source.name,
        alloc: axisOf(axes, i).levels(source.alloc),
        held: axisOf(axes, i).levels(source.held),
        opened: axisOf(axes, i).amounts(source.opened),
        destroyed: axisOf(axes, i).amounts(source.destroyed),
        ports: source.ports.map((ports) => ({
          ...ports,
          bySuspects: axisOf(axes, i).levels(ports.bySuspects),
          inRange: axisOf(axes, i).levels(ports.inRange),
        })),
      })),
    ),
    byKind: [...kinds].map((kind) => ({
      kind,
      counts: sum(
        timelines.flatMap(({ byKind }, i) =>
          byKind.filter((one) => one.kind === kind).map(({ counts }) => axisOf(axes, i).levels(counts)),
        ),
      ),
    })),
    findings: timelines.flatMap(({ findings }, i) =>
      findings.map((finding) => ({
        ...finding,
        key: `${finding.key}@${names[i] ?? ''}`,
        source: i,
        counts: axisOf(axes, i).levels(finding.counts),
        ports: axisOf(axes, i).levels(finding.ports),
      })),
    ),
    failures: timelines.flatMap(({ failures }, i) =>
      failures.map((failure) => ({ ...failure, source: i, counts: axisOf(axes, i).amounts(failure.counts) })),
    ),
  };
}

function axisOf(axes: readonly Axis[], i: number): Axis {
  const axis = axes[i];
  if (axis === undefined) throw new RangeError(`no timeline ${i}`);
  return axis;
}

type Shape = Pick<Timeline, 'startMs' | 'bucketMs' | 'buckets'>;

/** Lays columns of one timeline out on another, of buckets that are as long or longer. */
class Axis {
  readonly #from: Shape;
  readonly #to: Shape;

  constructor(from: Shape, to: Shape) {
    this.#from = from;
    this.#to = to;
  }

  levels(values: Levels): Levels {
    const laid: Levels = Array.from({ length: this.#to.buckets }, () => null);
    values.forEach((value, i) => {
      if (value !== null) laid[this.#bucketOf(i)] = value;
    });
    return laid;
  }

  amounts(values: Amounts): Amounts {
    const laid: Amounts = Array.from({ length: this.#to.buckets }, () => 0);
    values.forEach((value, i) => {
      const bucket = this.#bucketOf(i);
      laid[bucket] = (laid[bucket] ?? 0) + value;
    });
    return laid;
  }

  #bucketOf(i: number): number {
    const ms = this.#from.startMs + i * this.#from.bucketMs - this.#to.startMs;
    return Math.min(this.#to.buckets - 1, Math.floor(ms / this.#to.bucketMs));
  }
}

function sum(columns: readonly Levels[]): Levels {
  const [first = []] = columns;
  return first.map((_, i) =>
    columns.reduce<number | null>((total, column) => {
      const value = column[i] ?? null;
      return value === null ? total : (total ?? 0) + value;
    }, null),
  );
}
