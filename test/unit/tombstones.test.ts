import { describe, expect, it } from 'vitest';
import { Tombstones } from '../../src/ledger/tombstones.ts';

describe('Tombstones', () => {
  it('bury a birth and all before it, whatever the order', () => {
    const tombstones = new Tombstones();
    tombstones.bury('a', '1000');
    tombstones.bury('a', '999');
    expect(tombstones.isBuried('a', '999')).toBe(true);
    expect(tombstones.isBuried('a', '1000')).toBe(true);
    expect(tombstones.isBuried('a', '1001')).toBe(false);
    expect(tombstones.isBuried('b', '1')).toBe(false);
  });

  it('forget the address that was buried longest ago', () => {
    const tombstones = new Tombstones(2);
    tombstones.bury('a', '1');
    tombstones.bury('b', '1');
    tombstones.bury('a', '2');
    tombstones.bury('c', '1');
    expect(['a', 'b', 'c'].filter((address) => tombstones.isBuried(address, '1'))).toEqual(['a', 'c']);
  });
});
