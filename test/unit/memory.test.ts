// When the memory there is is held to be used up, and when it is worth to collect garbage.
import { describe, expect, it } from 'vitest';
import { type Memory, MemoryGuard, Tidying } from '../../src/recording/memory.ts';

const LIMIT = 1_000_000;

/** A heap of which `live` bytes are needed, and the rest is garbage. */
class Heap implements Memory {
  live = 0;
  garbage = 0;
  external = 0;
  collections = 0;

  usedBytes(): number {
    return this.live + this.garbage;
  }

  externalBytes(): number {
    return this.external;
  }

  limitBytes(): number {
    return LIMIT;
  }

  collectGarbage(): void {
    this.collections++;
    this.garbage = 0;
    this.external = 0;
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

describe('what a burst has left', () => {
  const MIB = 2 ** 20;

  it('is collected once nothing comes any more', () => {
    const heap = new Heap();
    const tidying = new Tidying(heap);
    for (let look = 0; look < 10; look++) {
      heap.live += 10 * MIB;
      heap.external += 20 * MIB;
      tidying.look();
    }
    expect(heap.collections).toBe(0);
    tidying.look();
    expect(heap.collections).toBe(1);
    expect(heap.external).toBe(0);
  });

  it('is left where it is little beside what is needed', () => {
    const heap = new Heap();
    const tidying = new Tidying(heap);
    heap.live = 100 * MIB;
    tidying.look();
    heap.garbage = 20 * MIB;
    for (let look = 0; look < 100; look++) tidying.look();
    expect(heap.collections).toBe(0);
    heap.garbage = 30 * MIB;
    for (let look = 0; look < 100; look++) tidying.look();
    expect(heap.collections).toBe(1);
  });

  it('of which much is needed is not looked for again and again', () => {
    const heap = new Heap();
    const tidying = new Tidying(heap);
    for (let look = 0; look < 1_000; look++) {
      heap.live += MIB / 2;
      tidying.look();
    }
    expect(heap.collections).toBeLessThan(20);
  });
});
