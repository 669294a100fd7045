import { describe, expect, it } from 'vitest';
import { parseSocketId, type SocketIdentity } from '../../src/ledger/identity.ts';
import { Tombstones } from '../../src/ledger/tombstones.ts';

function at(address: string, birthNs: string): SocketIdentity {
  return parseSocketId(`${address}:${birthNs}`);
}

describe('Tombstones', () => {
  it('bury a birth and all before it, whatever the order', () => {
    const tombstones = new Tombstones();
    tombstones.bury(at('a', '1000'));
    tombstones.bury(at('a', '999'));
    expect(tombstones.isBuried(at('a', '999'))).toBe(true);
    expect(tombstones.isBuried(at('a', '1000'))).toBe(true);
    expect(tombstones.isBuried(at('a', '1001'))).toBe(false);
    expect(tombstones.isBuried(at('b', '1'))).toBe(false);
  });

  it('forget the address that was buried longest ago', () => {
    const tombstones = new Tombstones(2);
    tombstones.bury(at('a', '1'));
    tombstones.bury(at('b', '1'));
    tombstones.bury(at('a', '2'));
    tombstones.bury(at('c', '1'));
    expect(['a', 'b', 'c'].filter((address) => tombstones.isBuried(at(address, '1')))).toEqual(['a', 'c']);
  });
});
