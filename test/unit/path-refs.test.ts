import { describe, expect, it } from 'vitest';
import type { NativeFrame, PumpedPaths } from '../../src/kernel/binding.ts';
import type { DecodedPath } from '../../src/kernel/decode.ts';
import { NO_PATH_COUNTS } from '../../src/ledger/call-paths.ts';
import type { LedgerInput, PathCounters } from '../../src/ledger/types.ts';
import { CallPaths } from '../../src/session/call-paths.ts';

const NOTHING: PumpedPaths = {
  unwound: [],
  named: [],
  debugFiles: [],
  pending: 0,
  deaths: 0,
  audited: 0,
  wrong: 0,
  unwinderPid: 1,
};
const FRAME: NativeFrame = {
  function: 'open_one',
  module: '/usr/bin/service',
  buildId: 'ab12',
  offset: 0x1180n,
  file: 'service.c',
  line: 12,
  how: 2,
};

/** Answers what it is told to answer next. */
class Unwinder {
  readonly inputs: LedgerInput[] = [];
  readonly asked: bigint[] = [];
  takes = true;
  #next: Partial<PumpedPaths> = {};
  readonly paths = new CallPaths(
    {
      pumpPaths: () => {
        const answer = { ...NOTHING, ...this.#next };
        this.#next = {};
        return answer;
      },
      wantPathNames: (path) => {
        if (this.takes) this.asked.push(path);
        return this.takes;
      },
      offerDebugFile: () => ({ is: 'later' }),
    },
    (input) => this.inputs.push(input),
  );

  answers(next: Partial<PumpedPaths>): void {
    this.#next = next;
    this.paths.pump();
  }

  unwound(ref: bigint, path: bigint, notes: string[] = []): void {
    this.answers({ unwound: [{ ref, path, quality: 1, notes }] });
  }

  named(path: bigint, frames: NativeFrame[] = [FRAME]): void {
    this.answers({ named: [{ path, quality: 1, notes: [], frames }] });
  }

  counts(ref: bigint, counters: Partial<PathCounters>, gone = false): void {
    const decoded: DecodedPath = { ref, gone, counters: { ...NO_PATH_COUNTS, ...counters } };
    this.paths.count(decoded);
    this.paths.flush();
  }

  get lastCounts(): unknown {
    return this.inputs.findLast(({ type }) => type === 'pathCounters');
  }
}

describe('references', () => {
  it('stand for a path once it has names, and the ledger has been told of it before', () => {
    const unwinder = new Unwinder();
    expect(unwinder.paths.of(300n)).toEqual({ status: 'pending' });
    unwinder.unwound(300n, 0xabcn);
    expect(unwinder.paths.of(300n)).toEqual({ status: 'pending' });
    expect(unwinder.paths.isSettled).toBe(false);
    unwinder.named(0xabcn);
    expect(unwinder.paths.of(300n)).toEqual({ status: 'resolved', id: '0000000000000abc' });
    expect(unwinder.inputs).toEqual([
      {
        type: 'path',
        path: {
          id: '0000000000000abc',
          quality: 'complete',
          notes: [],
          frames: [
            {
              function: 'open_one',
              module: '/usr/bin/service',
              buildId: 'ab12',
              offset: '0x1180',
              file: 'service.c',
              line: 12,
              how: 'cfi',
            },
          ],
        },
      },
    ]);
    expect(unwinder.paths.isSettled).toBe(true);
  });

  it('of one path ask for its names once, also when the unwinder cannot take the question at first', () => {
    const unwinder = new Unwinder();
    unwinder.takes = false;
    unwinder.unwound(300n, 7n);
    unwinder.unwound(301n, 7n);
    unwinder.takes = true;
    unwinder.answers({});
    unwinder.answers({});
    expect(unwinder.asked).toEqual([7n]);
    unwinder.named(7n);
    unwinder.unwound(302n, 7n);
    for (const ref of [300n, 301n, 302n]) expect(unwinder.paths.of(ref).status).toBe('resolved');
    expect(unwinder.asked).toEqual([7n]);
  });

  it('without frames are asked for again', () => {
    const unwinder = new Unwinder();
    unwinder.unwound(300n, 7n);
    unwinder.named(7n, []);
    unwinder.unwound(301n, 7n);
    unwinder.named(7n);
    expect(unwinder.asked).toEqual([7n, 7n]);
    expect(unwinder.paths.of(300n)).toEqual(unwinder.paths.of(301n));
  });

  it('that name no capture, and stacks that could not be read, say why', () => {
    const unwinder = new Unwinder();
    expect(unwinder.paths.of(0n).status).toBe('unavailable');
    expect(unwinder.paths.of(1n)).toEqual({ status: 'not-sampled' });
    expect(unwinder.paths.of(2n)).toMatchObject({ status: 'unavailable', reason: expect.stringContaining('kernel') });
    unwinder.unwound(300n, 0n, ['exited before its code could be read']);
    expect(unwinder.paths.of(300n)).toEqual({ status: 'unavailable', reason: 'exited before its code could be read' });
  });

  it('without a path are one object for each reason: a program that forks all the time has very many', () => {
    const unwinder = new Unwinder();
    for (const [ref, note] of [
      [300n, 'exited'],
      [301n, 'exited'],
      [302n, 'late'],
    ] as const)
      unwinder.unwound(ref, 0n, [note]);
    expect(unwinder.paths.of(301n)).toBe(unwinder.paths.of(300n));
    expect(unwinder.paths.of(302n)).toEqual({ status: 'unavailable', reason: 'late' });
  });

  it('of more paths than are kept are counted with what was not sampled', () => {
    const unwinder = new Unwinder();
    for (let i = 0n; i < 10_000n; i++) {
      unwinder.unwound(1_000n + i, 1n + i);
      unwinder.named(1n + i);
    }
    unwinder.unwound(50_000n, 20_000n);
    expect(unwinder.paths.of(50_000n)).toMatchObject({
      status: 'unavailable',
      reason: expect.stringContaining('10,000'),
    });
    unwinder.counts(50_000n, { opened: 3 });
    expect(unwinder.lastCounts).toMatchObject({ paths: [{ id: 'not-sampled', counters: { opened: 3 } }] });
    unwinder.unwound(50_001n, 1n);
    expect(unwinder.paths.of(50_001n).status).toBe('resolved');
  });
});

describe('counts', () => {
  it('of the references of one path are added up, also those that came before its names', () => {
    const unwinder = new Unwinder();
    unwinder.counts(300n, { opened: 1 });
    expect(unwinder.lastCounts).toBeUndefined();
    unwinder.unwound(300n, 7n);
    unwinder.named(7n);
    unwinder.unwound(301n, 7n);
    unwinder.counts(301n, { opened: 40, bound: 12 });
    unwinder.counts(301n, { opened: 41, bound: 12 });
    expect(unwinder.lastCounts).toMatchObject({ paths: [{ counters: { opened: 42, bound: 12 } }] });
  });

  it('of a reference that went stay, and those of its next life are added', () => {
    const unwinder = new Unwinder();
    unwinder.unwound(300n, 7n);
    unwinder.named(7n);
    unwinder.counts(300n, { opened: 5, sockets: 5, ended: 5 }, true);
    unwinder.counts(300n, { opened: 2, sockets: 2 });
    expect(unwinder.lastCounts).toMatchObject({ paths: [{ counters: { opened: 7, sockets: 7, ended: 5 } }] });
  });

  it('of a reference that went before it stood for anything are not lost', () => {
    const unwinder = new Unwinder();
    unwinder.counts(300n, { opened: 1, sockets: 1, ended: 1 }, true);
    unwinder.unwound(300n, 7n);
    unwinder.named(7n);
    unwinder.counts(1n, { opened: 9 });
    expect(unwinder.lastCounts).toMatchObject({
      paths: [
        { id: '0000000000000007', counters: { opened: 1 } },
        { id: 'not-sampled', counters: { opened: 9 } },
      ],
    });
  });
});
