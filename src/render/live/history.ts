/** How a count developed since the trace began, in a bounded number of points. */

export const BLOCKS = '▁▂▃▄▅▆▇█';
/** Where the locale has no such characters. */
export const ASCII_BLOCKS = '_.-=+*%#';

const MOST_POINTS = 240;
const FIRST_STEP_MS = 1_000;

export class History {
  #points: number[] = [];
  #sinceMs: number | null = null;
  #stepMs = FIRST_STEP_MS;

  /** Takes the count at a time, which must not run backwards. Times without one have the count before them. */
  add(atMs: number, count: number): void {
    this.#sinceMs ??= atMs;
    let index = Math.floor((atMs - this.#sinceMs) / this.#stepMs);
    while (index >= MOST_POINTS) {
      this.#halve();
      index = Math.floor((atMs - this.#sinceMs) / this.#stepMs);
    }
    const before = this.#points.at(-1) ?? count;
    while (this.#points.length < index) this.#points.push(before);
    this.#points[index] = count;
  }

  /** The whole time in at most `width` characters, scaled from nothing to the most. */
  sparkline(width: number, blocks: string = BLOCKS): string {
    const levels = [...blocks];
    const columns = Math.min(width, this.#points.length);
    if (columns <= 0) return '';
    const shown = Array.from({ length: columns }, (_, i) => this.#last(i, columns));
    const most = Math.max(...shown);
    return shown
      .map((count) => levels[most === 0 ? 0 : Math.round((count / most) * (levels.length - 1))] ?? '')
      .join('');
  }

  /** The last point of one of `columns` equal stretches. */
  #last(column: number, columns: number): number {
    return this.#points[Math.ceil(((column + 1) * this.#points.length) / columns) - 1] ?? 0;
  }

  #halve(): void {
    this.#points = Array.from(
      { length: Math.ceil(this.#points.length / 2) },
      (_, i) => this.#points[2 * i + 1] ?? this.#points[2 * i] ?? 0,
    );
    this.#stepMs *= 2;
  }
}
