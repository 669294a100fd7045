/** How the number of suspects of one finding developed while it was watched, in bounded memory. */

/** Shorter watching says nothing about a rate. */
const SHORTEST_WINDOW_MS = 10_000;

/** When full, every second sample goes and later ones are taken half as often: the window is covered evenly. */
const MOST_SAMPLES = 128;

interface Sample {
  atMs: number;
  net: number;
}

/** How many more there are than so long ago. */
export interface Growth {
  grown: number;
  overMs: number;
}

export function perMinuteOf({ grown, overMs }: Growth): number {
  return (grown / overMs) * 60_000;
}

/** Suspects of one finding at one time. */
export interface SuspectCount {
  count: number;
  /** of `count`: existed in their kind when watching began */
  fromStart: number;
}

/**
 * Counts at tick times. Sockets that existed when watching began become suspects only `minAgeMs` later, and perhaps
 * in several batches: counted as they come they would look like growth. So a sample is the count less the most of
 * them ever seen: their coming changes nothing, their going is a decrease.
 */
export class GrowthSeries {
  #samples: Sample[] = [];
  #mostFromStart = 0;
  #intervalMs = 0;

  /**
   * @param emptyAtMs when there was no such suspect yet: the window begins there. Null when watching has only begun:
   * then the first sample is what to compare with.
   */
  constructor(emptyAtMs: number | null) {
    if (emptyAtMs !== null) this.#samples.push({ atMs: emptyAtMs, net: 0 });
  }

  /** Takes the count of a later time. */
  add(atMs: number, suspects: SuspectCount): void {
    this.#mostFromStart = Math.max(this.#mostFromStart, suspects.fromStart);
    const last = this.#samples.at(-1);
    if (last !== undefined && atMs - last.atMs < this.#intervalMs) return;
    this.#samples.push({ atMs, net: this.#net(suspects) });
    if (this.#samples.length < MOST_SAMPLES) return;
    this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    this.#intervalMs = (2 * (atMs - (this.#samples[0]?.atMs ?? atMs))) / MOST_SAMPLES;
  }

  /**
   * Net growth over the later half of the window, or its last ten seconds if they are more: over all of it, a burst would
   * look like growth for as long as it is watched. Null when it was watched for less than ten seconds.
   */
  recent(nowMs: number, suspects: SuspectCount): Growth | null {
    const [first] = this.#samples;
    if (first === undefined || nowMs - first.atMs < SHORTEST_WINDOW_MS) return null;
    const fromMs = nowMs - Math.max((nowMs - first.atMs) / 2, SHORTEST_WINDOW_MS);
    const from = this.#samples.findLast(({ atMs }) => atMs <= fromMs) ?? first;
    return { grown: this.#net(suspects) - from.net, overMs: nowMs - from.atMs };
  }

  /** The same as a rate. */
  perMinute(nowMs: number, suspects: SuspectCount): number | null {
    const growth = this.recent(nowMs, suspects);
    return growth === null ? null : perMinuteOf(growth);
  }

  /**
   * Whether it keeps growing: more now than at two thirds of the window, more there than at one third, more there
   * than at its start. "More than at the start" alone would call a port that a service reserved once a leak.
   */
  isGrowing(nowMs: number, suspects: SuspectCount): boolean {
    const [first] = this.#samples;
    if (first === undefined || nowMs <= first.atMs) return false;
    const third = (nowMs - first.atMs) / 3;
    const atOneThird = this.#netAt(first.atMs + third);
    const atTwoThirds = this.#netAt(first.atMs + 2 * third);
    return first.net < atOneThird && atOneThird < atTwoThirds && atTwoThirds < this.#net(suspects);
  }

  #net({ count, fromStart }: SuspectCount): number {
    return count - Math.max(this.#mostFromStart, fromStart);
  }

  #netAt(atMs: number): number {
    return this.#samples.findLast((sample) => sample.atMs <= atMs)?.net ?? 0;
  }
}
