import { expect, it } from 'vitest';
import { layOut } from '../../src/render/table.ts';

it('columns are as wide as their longest cell, titles among them, and the last is not padded', () => {
  const columns = [
    { title: 'KIND', align: 'left' },
    { title: 'N', align: 'right' },
    { title: 'BY', align: 'left' },
  ] as const;
  const table = layOut(columns, [
    ['unused', '7', 'a'],
    ['x', '12,000', 'leakyd'],
  ]);
  expect([table.title, ...table.rows]).toEqual(['KIND         N  BY', 'unused       7  a', 'x       12,000  leakyd']);
});

it('takes more rows than a call takes arguments: snapshot --limit lists any number of sockets', () => {
  const { rows } = layOut(
    [{ title: 'PORT', align: 'right' }],
    Array.from({ length: 200_000 }, (_, i) => [String(i)]),
  );
  expect(rows.at(-1)).toBe('199999');
  expect(rows[0]).toBe('     0');
});
