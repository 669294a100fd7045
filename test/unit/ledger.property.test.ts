/** The ledger is level-triggered: what it concludes depends on what is true, not on how it was told. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findingsOf } from '../../src/ledger/findings.ts';
import { classify, isWasteful } from '../../src/ledger/kinds.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput, SocketFacts, SocketKind } from '../../src/ledger/types.ts';
import type { Finding } from '../../src/report/types.ts';
import { ended, history, OTHER, OWNER, process, row, session, socket, tick } from './facts.ts';

const NOW_MS = 1_000_000;

/** One step in the life of a socket, as facts that it adds to those of the step before. */
const STEPS: readonly Partial<SocketFacts>[] = [
  { bindErrno: 'EADDRINUSE' },
  { bindErrno: null, ever: history({ bound: true }), port: 50_000 },
  { ever: history({ connecting: true }), state: 'SYN_SENT', port: 50_001 },
  { ever: history({ connecting: true }), state: 'CLOSE', connectErrno: 'ECONNREFUSED', port: null },
  { ever: history({ established: true }), state: 'ESTABLISHED', port: 50_002 },
  { ever: history({ established: true }), state: 'CLOSE_WAIT', port: 50_002 },
  { ever: history({ established: true }), state: 'CLOSE', socketErrno: 'ECONNRESET', port: null },
];

type End = 'alive' | 'ended' | 'held at exit';

/** All versions of one socket in order, and how it ended. */
interface Life {
  versions: SocketFacts[];
  end: End;
  endedMs: number;
}

const life = fc.record({
  steps: fc.array(fc.constantFrom(...STEPS), { maxLength: 5 }),
  owner: fc.constantFrom(OWNER, OTHER),
  end: fc.constantFrom<End>('alive', 'alive', 'ended', 'held at exit'),
});

/** Up to four lives, one after the other, at each of up to six addresses. */
const lives: fc.Arbitrary<Life[]> = fc
  .array(fc.array(life, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 })
  .map((addresses) => addresses.flatMap((atAddress, number) => atAddress.map((one, nth) => live(number, nth, one))));

function live(
  number: number,
  nth: number,
  { steps, owner, end }: { steps: Partial<SocketFacts>[]; owner: string; end: End },
): Life {
  const birthMs = 1_000 + nth * 10_000;
  let facts: Partial<SocketFacts> = { owner: { status: 'measured', value: owner } };
  const versions = [socket(number, birthMs, facts)];
  steps.forEach((step, index) => {
    facts = { ...facts, ...step };
    versions.push(socket(number, birthMs, { ...facts, changedMs: birthMs + (index + 1) * 100 }));
  });
  const endedMs = birthMs + 5_000;
  const last = { ...facts, changedMs: endedMs, released: true, releaseState: facts.state ?? 'CLOSE' } as const;
  if (end === 'ended') versions.push(socket(number, birthMs, last));
  if (end === 'held at exit') versions.push(socket(number, birthMs, { ...last, heldAtExit: true }));
  return { versions, end, endedMs };
}

/** Each version told once, in order; the ends as the kernel side tells them. */
function inOrder({ versions, end, endedMs }: Life): LedgerInput[] {
  const inputs = versions.map(row);
  const last = versions.at(-1);
  if (end !== 'alive' && last !== undefined) inputs[inputs.length - 1] = ended(last, endedMs);
  return inputs;
}

function conclude(inputs: readonly LedgerInput[]): Ledger {
  const ledger = new Ledger();
  for (const input of [session(), process(), process({ id: OTHER, pid: 4321 }), ...inputs, tick(NOW_MS)]) {
    ledger.apply(input);
  }
  return ledger;
}

/** A finding without what hangs on when a kind was first told of. */
function timeless({
  oldestMs: _oldest,
  examples: _examples,
  ...finding
}: Finding): Omit<Finding, 'oldestMs' | 'examples'> {
  return finding;
}

describe('the ledger', () => {
  it('concludes the same from any order, repetition and interleaving of the same versions', () => {
    const told = lives.chain((all) => {
      const inputs = all.flatMap(inOrder);
      return fc.record({
        inputs: fc.constant(inputs),
        shuffled: fc.shuffledSubarray([...inputs, ...inputs], { minLength: inputs.length * 2 }),
      });
    });
    fc.assert(
      fc.property(told, ({ inputs, shuffled }) => {
        const straight = conclude(inputs);
        const mixed = conclude(shuffled);
        expect(findingsOf(mixed).map(timeless)).toEqual(findingsOf(straight).map(timeless));
        expect(mixed.countByKind()).toEqual(straight.countByKind());
      }),
      { numRuns: 500 },
    );
  });

  it('concludes the same, ages included, when versions are repeated late between those of other addresses', () => {
    fc.assert(
      fc.property(lives, fc.array(fc.nat(), { minLength: 1, maxLength: 200 }), (all, picks) => {
        expect(findingsOf(conclude(interleaved(byAddress(all), picks)))).toEqual(
          findingsOf(conclude(all.flatMap(inOrder))),
        );
      }),
      { numRuns: 500 },
    );
  });

  it('needs only the newest version of what lives and the end of what was held at exit', () => {
    fc.assert(
      fc.property(lives, (all) => {
        const newest = all.flatMap((one) => inOrder(one).slice(-1));
        expect(findingsOf(conclude(newest)).map(timeless)).toEqual(
          findingsOf(conclude(all.flatMap(inOrder))).map(timeless),
        );
      }),
    );
  });

  it('counts in findings exactly the wasteful sockets that live or were held at exit', () => {
    fc.assert(
      fc.property(lives, (all) => {
        const ledger = conclude(all.flatMap(inOrder));
        const expected = totals(all.filter(isReportable(all)).map((one) => ({ kind: finalKind(one), count: 1 })));
        expect(totals(findingsOf(ledger))).toEqual(expected);
        const wasteful = ledger.countByKind().filter(({ kind }) => isWasteful(kind));
        expect(totals(wasteful)).toEqual(expected);
      }),
    );
  });
});

/** Wasteful, and either held at exit or alive as the last at its address: a later birth there ends it. */
function isReportable(all: readonly Life[]): (one: Life) => boolean {
  const newest = new Map(all.map((one) => [addressOf(one), one]));
  return (one) =>
    isWasteful(finalKind(one)) &&
    (one.end === 'held at exit' || (one.end === 'alive' && newest.get(addressOf(one)) === one));
}

function finalKind({ versions }: Life): SocketKind {
  const last = versions.at(-1);
  if (last === undefined) throw new Error('a life without versions');
  return classify(last);
}

function totals(counts: readonly { kind: SocketKind; count: number }[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { kind, count } of counts) sums[kind] = (sums[kind] ?? 0) + count;
  return sums;
}

/** What is told of each address, in order: births at one address follow each other. */
function byAddress(all: readonly Life[]): LedgerInput[][] {
  const lists = new Map<string, LedgerInput[]>();
  for (const one of all) {
    const address = addressOf(one);
    lists.set(address, [...(lists.get(address) ?? []), ...inOrder(one)]);
  }
  return [...lists.values()];
}

function addressOf({ versions }: Life): string {
  return versions[0]?.id.split(':')[0] ?? '';
}

/** Walks all lists at once, in the order of `picks`, and now and then repeats something told before. */
function interleaved(lists: readonly LedgerInput[][], picks: readonly number[]): LedgerInput[] {
  const rest = lists.map((list) => [...list]);
  const told: LedgerInput[] = [];
  for (let turn = 0; rest.some((list) => list.length > 0); turn += 1) {
    const pick = picks[turn % picks.length] ?? 0;
    const open = rest.filter((list) => list.length > 0);
    const next = open[(pick + turn) % open.length]?.shift();
    if (next !== undefined) told.push(next);
    const again = told[pick % told.length];
    if (again !== undefined && pick % 3 === 0) told.push(again);
  }
  return told;
}
