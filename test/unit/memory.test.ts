// When the memory there is is held to be used up.
import { describe, expect, it } from 'vitest';
import { type Memory, MemoryGuard } from '../../src/recording/memory.ts';

const LIMIT = 1_000_000;

/** A heap of which `live` bytes are needed, and the rest is garbage. */
class Heap implements Memory {
  live = 0;
  garbage = 0;
  collections = 0;

  usedBytes(): number {
    return this.live + this.garbage;
  }

  limitBytes(): number {
    return LIMIT;
  }

  collectGarbage(): void {
    this.collections++;
    this.garbage = 0;
  }
}

describe('a guard of 40%', () => {
  it('is not told off by garbage', () => {
    const heap = new Heap();
    const guard = new MemoryGuard(0.4, heap);
    heap.garbage = 900_000;
    expect(guard.isUsedUp).toBe(false);
    expect(heap.collections).toBe(1);
  });

  it('just below it, collections stay few while garbage comes', () => {
    const heap = new Heap();
    const guard = new MemoryGuard(0.4, heap);
    heap.live = 399_999;
    const garbage = 100;
    const looks = 10_000;
    for (let look = 0; look < looks; look++) {
      heap.garbage += garbage;
      expect(guard.isUsedUp).toBe(false);
    }
    // All that came is a full heap: one for each step of it.
    expect(looks * garbage).toBe(LIMIT);
    expect(heap.collections).toBeLessThanOrEqual(33);
  });

  it.each([10, 1_000, 30_000])('is up while half of the memory is left, %d bytes a look', (step) => {
    const heap = new Heap();
    const guard = new MemoryGuard(0.4, heap);
    while (!guard.isUsedUp && heap.live < LIMIT) heap.live += step;
    expect(heap.live).toBeGreaterThan(400_000);
    expect(heap.live).toBeLessThan(500_000);
  });
});
