/** Sums over the rows of a table, asked for again and again: only where rows have changed they are summed anew. */

/** Rows of a block. */
const ROWS = 512;

export class BlockSums<Sum> {
  /** null where something has changed since, or will have changed by itself the next time */
  #sums: (Sum | null)[] = [];

  /** This row is not what it was. */
  changed(row: number): void {
    const block = Math.floor(row / ROWS);
    if (block < this.#sums.length) this.#sums[block] = null;
  }

  /** No row is what it was. */
  allChanged(): void {
    this.#sums = [];
  }

  /**
   * The sums of the blocks of the rows below `end`.
   * @param sumOf sums some rows; `lasts`: the sum is the same at any later time, unless a row changes
   */
  of(end: number, sumOf: (from: number, to: number) => { sum: Sum; lasts: boolean }): Sum[] {
    const sums: Sum[] = [];
    for (let from = 0, block = 0; from < end; from += ROWS, block++) {
      const kept = this.#sums[block] ?? null;
      if (kept !== null) {
        sums.push(kept);
        continue;
      }
      const to = Math.min(from + ROWS, end);
      const { sum, lasts } = sumOf(from, to);
      // One with rows to come would have to be told of each.
      this.#sums[block] = lasts && to === from + ROWS ? sum : null;
      sums.push(sum);
    }
    return sums;
  }
}
