/** Refuses what does not fit into memory: V8 ends the process without a word when its heap has reached its limit. */
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { formatBytes } from '../render/numbers.ts';

/** What V8 counts to the limit for objects that are new, and which none that stays may have. */
const YOUNG_BYTES = 48 * 2 ** 20;

export interface Memory {
  /** what is used, garbage included */
  usedBytes(): number;
  limitBytes(): number;
  collectGarbage(): void;
}

const HEAP: Memory = {
  usedBytes: () =>
    getHeapSpaceStatistics()
      .filter(({ space_name: name }) => !name.startsWith('new'))
      .reduce((sum, { space_used_size: used }) => sum + used, 0),
  limitBytes: () => {
    const { heap_size_limit: limit } = getHeapStatistics();
    return Math.max(limit - YOUNG_BYTES, limit / 4);
  },
  collectGarbage: () => {
    setFlagsFromString('--expose-gc');
    (runInNewContext('gc') as () => void)();
  },
};

/** Of all memory: so much more may be taken before it is known. */
const STEP = 1 / 32;

/** Says when more than a share of the memory there is has been taken. */
export class MemoryGuard {
  readonly #share: number;
  readonly #memory: Memory;
  /** as much was left by the last collection, and a step */
  #enoughBytes = 0;

  constructor(share: number, memory: Memory = HEAP) {
    this.#share = share;
    this.#memory = memory;
  }

  /**
   * What is used includes garbage, of which V8 lets much lie while there is room: to know it takes a collection, and none
   * before as much has been added that it is worth one.
   */
  get isUsedUp(): boolean {
    const limit = this.#memory.limitBytes();
    const most = this.#share * limit;
    if (this.#memory.usedBytes() <= Math.max(most, this.#enoughBytes)) return false;
    this.#memory.collectGarbage();
    const left = this.#memory.usedBytes();
    this.#enoughBytes = left + STEP * limit;
    return left > most;
  }
}

/** Bytes of the memory there is. */
export function shareOfMemory(share: number): number {
  return share * HEAP.limitBytes();
}

/** How much memory there is, and how to have more. */
export function memoryInWords(): string {
  const limit = HEAP.limitBytes();
  const option = `NODE_OPTIONS=--max-old-space-size=${Math.ceil((2 * limit) / 2 ** 20)}`;
  return `${formatBytes(limit)} of memory: ${option} gives it twice as much`;
}
