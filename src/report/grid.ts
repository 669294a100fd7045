/** Columns of equally long buckets in bounded memory: when they are used up, pairs become one. */

export const MOST_BUCKETS = 1_000;
const SHORTEST_BUCKET_MS = 1_000;

interface Column {
  /** makes one of each pair of buckets */
  fold(): void;
}

/** Time from `startMs` on. Its unit is the caller's clock. */
export class Grid {
  readonly startMs: number;
  readonly #columns = new Set<Column>();
  #bucketMs = SHORTEST_BUCKET_MS;
  #buckets = 1;

  constructor(startMs: number) {
    this.startMs = startMs;
  }

  get bucketMs(): number {
    return this.#bucketMs;
  }

  get buckets(): number {
    return this.#buckets;
  }

  /** The bucket of a time; what is before the start belongs to the first. */
  at(ms: number): number {
    const elapsed = Math.max(0, ms - this.startMs);
    while (elapsed / this.#bucketMs >= MOST_BUCKETS) {
      for (const column of this.#columns) column.fold();
      this.#bucketMs *= 2;
      this.#buckets = Math.ceil(this.#buckets / 2);
    }
    const bucket = Math.floor(elapsed / this.#bucketMs);
    this.#buckets = Math.max(this.#buckets, bucket + 1);
    return bucket;
  }

  levels(): LevelColumn {
    const column = new LevelColumn();
    this.#columns.add(column);
    return column;
  }

  amounts(): AmountColumn {
    const column = new AmountColumn();
    this.#columns.add(column);
    return column;
  }

  drop(column: Column): void {
    this.#columns.delete(column);
  }
}

/** Values at one moment of each bucket: of several, the last. */
export class LevelColumn implements Column {
  #values: (number | null)[] = [];

  set(bucket: number, value: number): void {
    while (this.#values.length < bucket) this.#values.push(null);
    this.#values[bucket] = value;
  }

  fold(): void {
    this.#values = pairsOf(this.#values).map(([a, b]) => b ?? a ?? null);
  }

  /** One value a bucket; null where none was set. */
  values(buckets: number): (number | null)[] {
    return Array.from({ length: buckets }, (_, i) => this.#values[i] ?? null);
  }
}

/** What happened in each bucket. */
export class AmountColumn implements Column {
  #values: number[] = [];
  #total = 0;

  get total(): number {
    return this.#total;
  }

  add(bucket: number, amount: number): void {
    while (this.#values.length <= bucket) this.#values.push(0);
    this.#values[bucket] = (this.#values[bucket] ?? 0) + amount;
    this.#total += amount;
  }

  fold(): void {
    this.#values = pairsOf(this.#values).map(([a = 0, b = 0]) => a + b);
  }

  values(buckets: number): number[] {
    return Array.from({ length: buckets }, (_, i) => this.#values[i] ?? 0);
  }
}

function pairsOf<T>(values: readonly T[]): (readonly [T | undefined, T | undefined])[] {
  return Array.from({ length: Math.ceil(values.length / 2) }, (_, i) => [values[2 * i], values[2 * i + 1]] as const);
}
