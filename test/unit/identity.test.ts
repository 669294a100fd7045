import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compareInstants,
  formatInstant,
  formatSocketId,
  instantToMs,
  parseInstant,
  parseSocketId,
} from '../../src/ledger/identity.ts';

const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('the identity of a socket', () => {
  it('is read and written back, whatever its address and its birth', () => {
    fc.assert(
      fc.property(word, word, (address, birth) => {
        const id = `${address.toString(16)}:${birth}`;
        const identity = parseSocketId(id);
        expect(formatSocketId(identity.address, identity.birth)).toBe(id);
        expect((BigInt(identity.address.high) << 32n) | BigInt(identity.address.low)).toBe(address);
      }),
    );
  });

  it.each(['', ':', 'ff', 'ff:', ':1', 'FF:1', 'fg:1', 'ff:1x', 'ff:-1', 'ff:1:1', '0x1:1', `${'f'.repeat(17)}:1`])(
    'is not %j',
    (id) => {
      expect(() => parseSocketId(id)).toThrow(TypeError);
    },
  );
});

describe('an instant', () => {
  it('is exact and in order, in all 64 bits', () => {
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(formatInstant(parseInstant(`${a}`))).toBe(`${a}`);
        expect(Math.sign(compareInstants(parseInstant(`${a}`), parseInstant(`${b}`)))).toBe(a < b ? -1 : Number(a > b));
      }),
    );
  });

  it('is the number of milliseconds that its digits are, as long as that is exact', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (ns) => {
        fc.pre(ns >= 0);
        expect(instantToMs(parseInstant(`${ns}`))).toBe(ns / 1e6);
      }),
    );
  });
});
