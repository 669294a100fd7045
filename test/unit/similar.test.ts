import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editsBetween, nearest } from '../../src/cli/similar.ts';

describe('the nearest name', () => {
  const names = ['--duration', '--pid', '--no-paths', '--no-victims', '--leak-age', '--leak-count'];

  it.each([
    { word: '--durtion', name: '--duration' },
    { word: '--DURATION', name: '--duration' },
    { word: '--dur', name: '--duration' },
    { word: '--pdi', name: '--pid' },
    { word: '--no-path', name: '--no-paths' },
  ])('$word is $name', ({ word, name }) => {
    expect(nearest(word, names)).toEqual([name]);
  });

  it('of two that are as near both', () => {
    expect(nearest('--leak', names)).toEqual(['--leak-age', '--leak-count']);
  });

  it.each(['--xyz', '--p', ''])('%s is none of them', (word) => {
    expect(nearest(word, names)).toEqual([]);
  });
});

describe('edits', () => {
  const word = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', 'c') });

  it('none to itself, as many both ways, one for a change, and never more than the longer has characters', () => {
    fc.assert(
      fc.property(word, word, fc.nat(), (a, b, at) => {
        expect(editsBetween(a, a)).toBe(0);
        expect(editsBetween(a, b)).toBe(editsBetween(b, a));
        expect(editsBetween(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
        const i = at % (a.length + 1);
        expect(editsBetween(a, `${a.slice(0, i)}x${a.slice(i)}`)).toBe(1);
        if (i < a.length) expect(editsBetween(a, a.slice(0, i) + a.slice(i + 1))).toBe(1);
      }),
    );
  });

  it('two neighbours that change places are one', () => {
    expect(editsBetween('snpashot', 'snapshot')).toBe(1);
  });
});
