import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { Compactor } from '../../src/recording/compact.ts';
import { parseLine } from '../../src/recording/line.ts';
import { readLine } from '../../src/recording/quick.ts';
import {
  ended,
  failure,
  history,
  measured,
  NO_ACTIVITY,
  OTHER,
  process,
  resolved,
  row,
  socket,
  tick,
  unavailable,
} from './facts.ts';
import { incidentWithPaths } from './sample-report.ts';

/** Lines as they are written, of every sort that is read in a special way, and others. */
function written(): string[] {
  const compactor = new Compactor();
  const known = process({}, { opened: 42, bound: 12 });
  const inputs: LedgerInput[] = [
    ...incidentWithPaths(),
    known,
    { ...known, activity: measured({ ...NO_ACTIVITY, opened: 43 }) } as LedgerInput,
    ended(socket(5, 1_000), 81_000.25),
    row(
      socket(1, 2_000.123456, {
        port: 65_535,
        local: { address: 'fe80::1', port: 50_000 },
        peer: { address: '10.0.0.1', port: 443 },
        ever: history({ bound: true, connecting: true }),
        connectErrno: 'ECONNREFUSED',
        releaseState: 'CLOSE',
        family: 6,
        openPath: { status: 'not-sampled' },
        bindPath: { status: 'pending' },
      }),
    ),
    row(socket(2, 3_000, { openPath: resolved('a "quoted" \\ path'), bindPath: null })),
    row(socket(3, 3_000, { origin: 'seeded', ever: unavailable(), accepted: unavailable() })),
    failure({ process: OTHER, comm: 'ünïcode\u2028', path: resolved('p1') }),
    failure({ comm: 'a"b\\c\u0007', path: null }),
    tick(1e-7),
    tick(123_456.789_012_345),
  ];
  return inputs.flatMap((input) => compactor.linesOf(input).map((line) => JSON.stringify(line)));
}

const lines = written();

function expectSame(text: string): void {
  expect(readLine(text)).toStrictEqual(parseLine(text));
}

describe('a line that is read quickly', () => {
  it('is what the whole parser makes of it', () => {
    for (const text of lines) {
      expect(parseLine(text)).not.toBeNull();
      expectSame(text);
    }
  });

  it('is one of the commonest, as they are written: they take no JSON.parse', () => {
    const parse = vi.spyOn(JSON, 'parse');
    try {
      for (const type of ['socket', 'closed', 'activity', 'failure', 'tick']) {
        const ofType = lines.filter((text) => text.startsWith(`{"type":"${type}"`));
        expect(ofType.length).toBeGreaterThan(0);
        parse.mockClear();
        for (const text of ofType) readLine(text);
        expect(parse.mock.calls.length).toBeLessThan(ofType.length / 2);
      }
    } finally {
      parse.mockRestore();
    }
  });

  /** What hostile or torn files may have in the place of something else. */
  const piece = fc.oneof(
    fc.string({ maxLength: 3, unit: 'binary' }),
    fc.constantFrom(
      '',
      '"',
      '\\',
      '\\u0041',
      '{',
      '}',
      ',',
      ':',
      '-',
      '0',
      '00',
      '1e3',
      '.5',
      '5.',
      ' ',
      '\t',
      '\n',
      '\r',
    ),
    fc.constantFrom(
      '\u0000',
      '\u2028',
      '9'.repeat(30),
      '-0',
      '1E400',
      'null',
      'true',
      'NaN',
      '"__proto__":1,',
      '"id":"x",',
    ),
  );

  it('is the same with any part of it replaced, left out or put in', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...lines),
        fc.array(fc.tuple(fc.nat(), fc.nat(8), piece), { maxLength: 3 }),
        (text, edits) => {
          let edited = text;
          for (const [at, length, put] of edits) {
            const from = at % (edited.length + 1);
            edited = edited.slice(0, from) + put + edited.slice(from + length);
          }
          expectSame(edited);
        },
      ),
      { numRuns: 20_000 },
    );
  });

  it('is the same with any number or text in the place of one', () => {
    const value = fc.oneof(
      fc.double().map(String),
      fc.integer().map(String),
      fc.bigInt({ min: 0n, max: 10n ** 24n }).map(String),
      fc.tuple(fc.nat(), fc.nat()).map(([a, b]) => `${a}.${b}`),
      fc.string({ unit: 'binary' }).map((text) => JSON.stringify(text)),
      fc.string().map((text) => `"${text}"`),
      fc.json(),
    );
    fc.assert(
      fc.property(fc.constantFrom(...lines), fc.nat(), value, (text, which, put) => {
        const values = [...text.matchAll(/(?<=:)(?:"[^"\\]*"|-?[\d.]+|null|true|false)(?=[,}])/g)];
        const found = values[which % values.length];
        if (found === undefined) return;
        expectSame(text.slice(0, found.index) + put + text.slice(found.index + found[0].length));
      }),
      { numRuns: 20_000 },
    );
  });

  it('of great length is left to the whole parser', () => {
    expectSame(JSON.stringify(failure({ comm: 'x'.repeat(10_000) })));
  });
});
