// Call paths in the ledger: which group a socket is in, and what a leak is when several paths open its sockets.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findingsOf } from '../../src/ledger/findings.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput, PathRef, SocketFacts } from '../../src/ledger/types.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Report } from '../../src/report/types.ts';
import {
  ended,
  failure,
  frame,
  history,
  hostSample,
  libcFrame,
  measured,
  OTHER,
  OWNER,
  path,
  pathCounters,
  process,
  resolved,
  row,
  session,
  socket,
  tick,
  unavailable,
} from './facts.ts';

const CAPTURED = session({ callPaths: { status: 'measured', value: true } });
const PENDING: PathRef = { status: 'pending' };

function ledgerOf(...inputs: LedgerInput[]): Ledger {
  const ledger = new Ledger();
  for (const input of [CAPTURED, process(), process({ id: OTHER, pid: 4321 }), ...inputs]) ledger.apply(input);
  return ledger;
}

/** Path and count of each finding, with `!` for a leak. */
function summary(ledger: Ledger): string[] {
  return findingsOf(ledger).map(({ openPath, count, leak }) => {
    const at = openPath.status === 'resolved' ? openPath.id : openPath.status;
    return `${at} ${count}${leak ? '!' : ''}`;
  });
}

/** So many unused sockets of one path, born at `birthMs`. */
function opened(openPath: PathRef, count: number, first: number, facts: Partial<SocketFacts> = {}): LedgerInput[] {
  return Array.from({ length: count }, (_, i) => row(socket(first + i, 1_000, { openPath, ...facts })));
}

describe('a path that is told again', () => {
  const bare = path('a', [frame('f')]);
  const noted = path('a', [frame('f')], { notes: ['no lines are to be had'] });
  const lined = path('a', [frame('f', 'f.c:7')]);

  it.each([
    ['lines count for more than notes', [noted, lined], lined],
    ['a note for more than none', [bare, noted], noted],
  ])('%s, whichever comes last', (_, told, kept) => {
    for (const inputs of [told, told.toReversed()])
      expect(ledgerOf(...inputs).callPaths.get('a')).toEqual((kept as { path: unknown }).path);
  });
});

describe('a socket whose path is found later', () => {
  const pending = socket(1, 1_000, { openPath: PENDING });
  const found = { ...pending, openPath: resolved('a') };

  it('moves to the group of that path at the same version, whichever copy comes last', () => {
    expect(summary(ledgerOf(row(pending), tick(10_000)))).toEqual(['pending 1']);
    expect(summary(ledgerOf(row(pending), row(found), tick(10_000)))).toEqual(['a 1']);
    expect(summary(ledgerOf(row(found), row(pending), tick(10_000)))).toEqual(['a 1']);
  });

  it('keeps its age and its descriptor', () => {
    const [finding] = findingsOf(ledgerOf(row(pending), row(found), tick(10_000)));
    expect(finding).toMatchObject({ oldestMs: 9_000, key: 'unused:/usr/sbin/leakyd:-:a:-' });
  });

  it('moves as well when its path was given up', () => {
    const given = { ...pending, openPath: unavailable('exited before its code could be read') };
    expect(summary(ledgerOf(row(pending), row(given), row(pending), tick(10_000)))).toEqual(['unavailable 1']);
  });

  it('takes the paths of a newer version as they are', () => {
    const bound = { ever: history({ bound: true }), changedMs: 2_000, openPath: resolved('a'), bindPath: PENDING };
    const newer = socket(1, 1_000, bound);
    const ledger = ledgerOf(row(newer), row(found), row({ ...newer, bindPath: resolved('b') }), tick(10_000));
    expect(findingsOf(ledger)).toMatchObject([
      { kind: 'bound-inactive', count: 1, openPath: { id: 'a' }, bindPath: { id: 'b' } },
    ]);
  });

  it('moves after its process has exited with it, and is counted once', () => {
    const held = { ...pending, released: true, releaseState: 'CLOSE', heldAtExit: true } as const;
    const resolvedLater = { ...held, openPath: resolved('a') };
    expect(summary(ledgerOf(ended(held, 2_000), ended(resolvedLater, 2_000), tick(10_000)))).toEqual(['a 1!']);
    expect(summary(ledgerOf(ended(resolvedLater, 2_000), row(held), tick(10_000)))).toEqual(['a 1!']);
  });

  it('is counted once when it has gone into a sum meanwhile', () => {
    const held = { released: true, releaseState: 'CLOSE', heldAtExit: true } as const;
    const many = Array.from({ length: 5_001 }, (_, i) => socket(i, 1_000, { ...held, openPath: PENDING }));
    const ledger = ledgerOf(...many.map((facts) => ended(facts, 2_000)), tick(10_000));
    for (const facts of many.slice(0, 3)) ledger.apply(ended({ ...facts, openPath: resolved('a') }, 2_000));
    expect(summary(ledger)).toEqual(['pending 5001!']);
  });
});

describe('findings by call path', () => {
  it('are one for each pair of paths', () => {
    const bound = { ever: history({ bound: true }) };
    const ledger = ledgerOf(
      row(socket(1, 1_000, { ...bound, openPath: resolved('a'), bindPath: resolved('x') })),
      row(socket(2, 1_000, { ...bound, openPath: resolved('a'), bindPath: resolved('y') })),
      row(socket(3, 1_000, { ...bound, openPath: resolved('a'), bindPath: resolved('y') })),
      row(socket(4, 1_000, { openPath: resolved('a') })),
      tick(10_000),
    );
    expect(findingsOf(ledger).map(({ key, count }) => [key, count])).toEqual([
      ['bound-inactive:/usr/sbin/leakyd:-:a:y', 2],
      ['bound-inactive:/usr/sbin/leakyd:-:a:x', 1],
      ['unused:/usr/sbin/leakyd:-:a:-', 1],
    ]);
  });

  it('tell processes apart while those are few, and are one for each path where there are many', () => {
    const of = (processes: number): number => {
      const inputs: LedgerInput[] = [];
      for (let i = 0; i < processes; i += 1) {
        const id = `boot:${i}:1`;
        inputs.push(process({ id, pid: i }));
        for (const [j, at] of ['a', 'b', 'c'].entries())
          inputs.push(...opened(resolved(at), 2, 100 * i + 10 * j, { owner: measured(id) }));
      }
      return findingsOf(ledgerOf(...inputs, tick(10_000))).length;
    };
    expect(of(2)).toBe(6);
    expect(of(3)).toBe(3);
  });
});

describe('a leak through several paths', () => {
  const few = (count: number): LedgerInput[] =>
    ['a', 'b', 'c', 'd'].flatMap((at, i) => opened(resolved(at), count, 100 * i));

  it('is a leak when all of them together are enough', () => {
    expect(summary(ledgerOf(...few(5), tick(40_000)))).toEqual(['a 5!', 'b 5!', 'c 5!', 'd 5!']);
    expect(summary(ledgerOf(...few(2), tick(40_000)))).toEqual(['a 2', 'b 2', 'c 2', 'd 2']);
  });

  it('is not known while its sockets only have to get older', () => {
    const young = findingsOf(ledgerOf(...few(5), tick(20_000)));
    expect(young.map(({ leak, undecided }) => [leak, undecided])).toEqual(Array(4).fill([false, true]));
    expect(findingsOf(ledgerOf(...few(2), tick(20_000))).some(({ undecided }) => undecided)).toBe(false);
  });

  it('accuses no other code than that which leaks, where one path alone is enough', () => {
    const reserved = opened(resolved('reserve_port'), 1, 900);
    expect(summary(ledgerOf(...opened(resolved('a'), 50, 0), ...reserved, tick(40_000)))).toEqual([
      'a 50!',
      'reserve_port 1',
    ]);
    expect(summary(ledgerOf(...opened(resolved('a'), 50, 0), ...few(3).slice(3), tick(40_000)))).toEqual([
      'a 50!',
      'b 3',
      'c 3',
      'd 3',
    ]);
  });

  it('has its share of what was not sampled', () => {
    const rest = opened({ status: 'not-sampled' }, 3, 900);
    expect(summary(ledgerOf(...opened(resolved('a'), 50, 0), ...rest, tick(40_000)))).toEqual([
      'a 50!',
      'not-sampled 3!',
    ]);
    const halves = [...opened(resolved('a'), 5, 0), ...opened({ status: 'not-sampled' }, 5, 900)];
    expect(summary(ledgerOf(...halves, tick(40_000)))).toEqual(['not-sampled 5!', 'a 5!']);
  });

  it('is a leak of the program when its processes go through different paths', () => {
    const ledger = ledgerOf(
      ...opened(resolved('a'), 5, 0),
      ...opened(resolved('b'), 5, 100, { owner: measured(OTHER) }),
      tick(40_000),
    );
    expect(summary(ledger)).toEqual(['a 5!', 'b 5!']);
  });

  it('that grows slowly in each path grows', () => {
    const ledger = ledgerOf(tick(0));
    for (let second = 1; second <= 120; second += 1) {
      // One each 20 s, each of another path.
      if (second % 20 === 0) ledger.apply(row(socket(second, second * 1_000, { openPath: resolved(`path${second}`) })));
      ledger.apply(tick(second * 1_000));
    }
    // The suspects are of 20, 40, ... 100 s; the last is too young for a leak.
    const findings = findingsOf(ledger);
    expect(findings.map(({ leak }) => leak).sort()).toEqual([false, true, true, true, true]);
  });

  it('that grows in one path accuses no other', () => {
    const ledger = ledgerOf(tick(0), ...opened(resolved('reserve_port'), 1, 900));
    for (let second = 1; second <= 120; second += 1) {
      if (second % 20 === 0) ledger.apply(row(socket(second, second * 1_000, { openPath: resolved('a') })));
      ledger.apply(tick(second * 1_000));
    }
    expect(summary(ledger)).toEqual(['a 5!', 'reserve_port 1']);
  });

  it('is none because paths of old sockets are found one after the other', () => {
    const sockets = [1, 2, 3].map((number) => socket(number, 1_000, { openPath: PENDING }));
    const ledger = ledgerOf(tick(0), ...sockets.map(row));
    for (let second = 1; second <= 120; second += 1) {
      const facts = second % 35 === 0 ? sockets[second / 35 - 1] : undefined;
      if (facts !== undefined) ledger.apply(row({ ...facts, openPath: resolved('a') }));
      ledger.apply(tick(second * 1_000));
    }
    expect(summary(ledger)).toEqual(['a 3']);
  });

  it('is a leak if and only if it is one without call paths', () => {
    const ref = fc.constantFrom<PathRef>(
      resolved('a'),
      resolved('b'),
      resolved('c'),
      PENDING,
      { status: 'not-sampled' },
      unavailable('exited'),
    );
    const one = fc.record({
      birthMs: fc.integer({ min: 500, max: 170_000 }),
      openPath: ref,
      owner: fc.constantFrom(OWNER, OTHER),
      kind: fc.constantFrom<Partial<SocketFacts>>({}, { bindErrno: 'EADDRINUSE' }),
    });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 40 }), (sockets) => {
        const facts = sockets.map(({ birthMs, openPath, owner, kind }, i) =>
          socket(i, birthMs, { ...kind, openPath, owner: measured(owner) }),
        );
        const watched = (all: SocketFacts[]): Ledger => {
          const ledger = ledgerOf(tick(0));
          for (let atMs = 2_000; atMs <= 180_000; atMs += 2_000) {
            for (const each of all)
              if (each.changedMs > atMs - 2_000 && each.changedMs <= atMs) ledger.apply(row(each));
            ledger.apply(tick(atMs));
          }
          return ledger;
        };
        const conclusion = (ledger: Ledger) => {
          const findings = findingsOf(ledger);
          return {
            leaking: [...new Set(findings.filter(({ leak }) => leak).map(({ kind }) => kind))].sort(),
            known: !findings.some(({ undecided }) => undecided),
            total: findings.reduce((sum, { count }) => sum + count, 0),
          };
        };
        const off = conclusion(watched(facts.map((each) => ({ ...each, openPath: unavailable('off') }))));
        const on = conclusion(watched(facts));
        expect(on.leaking).toEqual(off.leaking);
        expect(on.total).toBe(off.total);
        // Which of several paths will be a leak may be open for longer than whether there is one.
        if (off.leaking.length === 0) expect(on.known).toBe(off.known);
      }),
      { numRuns: 150 },
    );
  });
});

describe('call paths in the report', () => {
  const frames = [libcFrame('socket'), frame('acquire_port', '/src/worker.c:41'), frame('main', '/src/worker.c:9')];
  const reportOf = (...inputs: LedgerInput[]): Report => buildReport(ledgerOf(...inputs, tick(40_000)));

  it('are unavailable with the reason of the session', () => {
    const off = { ...CAPTURED, session: { ...sessionFacts(), callPaths: unavailable('switched off by --no-paths') } };
    const report = reportOf(off, path('a', frames), pathCounters({ 'not-sampled': { opened: 3 } }));
    expect(report).toMatchObject({
      callPaths: { status: 'unavailable', reason: 'switched off by --no-paths' },
      callPathsNotSampled: null,
      callPathsNotListed: null,
    });
    expect(buildReport(ledgerOf(session())).callPaths.status).toBe('unavailable');
  });

  it('have exact counters, with what is held by sum', () => {
    const report = reportOf(
      path('a', frames),
      path('b', frames),
      path('c', frames),
      pathCounters({
        a: { opened: 41_019, bound: 12_000, ended: 19, closedUnused: 19 },
        b: { accepted: 50, ended: 51 },
        'not-sampled': { opened: 7, accepted: 2, ended: 4 },
      }),
    );
    expect(report.callPaths).toMatchObject({
      value: [
        { id: 'a', counters: { opened: 41_019, bound: 12_000, closedUnused: 19, held: 41_000 } },
        { id: 'b', counters: { accepted: 50, held: 0 } },
        { id: 'c', counters: null },
      ],
    });
    expect(report.callPathsNotSampled).toMatchObject({ opened: 7, accepted: 2, held: 5 });
    expect(report.callPathsNotListed).toBeNull();
  });

  it('list all that findings and failures refer to, and the busiest others', () => {
    const busy = Array.from({ length: 150 }, (_, i) => path(`busy${i}`, frames));
    const counts = Object.fromEntries(busy.map((_, i) => [`busy${i}`, { opened: 1_000 + i }]));
    const report = reportOf(
      ...busy,
      path('idle', frames),
      path('failing', frames),
      pathCounters({ ...counts, idle: { opened: 1 }, failing: { bindFailed: 3 }, untold: { opened: 5, ended: 1 } }),
      row(socket(1, 1_000, { openPath: resolved('idle') })),
      failure({ operation: 'bind', path: resolved('failing') }),
    );
    if (report.callPaths.status === 'unavailable') throw new Error('no call paths');
    const ids = report.callPaths.value.map(({ id }) => id);
    expect(ids).toHaveLength(100);
    expect(ids.slice(0, 2)).toEqual(['busy149', 'busy148']);
    expect(ids.slice(-2)).toEqual(['idle', 'failing']);
    // 52 of the busy ones, from 1,000 to 1,051, and the one whose frames nobody told.
    const opened = Array.from({ length: 52 }, (_, i) => 1_000 + i).reduce((sum, count) => sum + count, 5);
    expect(report.callPathsNotListed).toMatchObject({ paths: 53, counters: { opened, held: opened - 1 } });
  });

  it('a failure has the path of its last call', () => {
    const facts = { operation: 'bind', errno: 'EADDRINUSE' } as const;
    const failures = [
      failure({ ...facts, detail: 'port-zero', count: 5, lastMs: 9_000, path: resolved('late') }),
      failure({ ...facts, detail: 'port-zero', count: 5, lastMs: 9_000, path: PENDING }),
      failure({ ...facts, detail: 'port-given', count: 7, lastMs: 4_000, path: resolved('early') }),
    ];
    for (const inputs of [failures, failures.toReversed()])
      expect(reportOf(...inputs).failures).toMatchObject({ value: [{ count: 12, path: { id: 'late' } }] });
  });

  it('is the same whatever order paths and counters are told in, and however often', () => {
    const bare = [libcFrame('socket'), frame(null), frame(null)];
    const inputs: LedgerInput[] = [
      path('a', bare, { notes: ['install the debug symbols of leakyd'] }),
      path('a', [libcFrame('socket'), frame('acquire_port'), frame('main')]),
      path('a', frames),
      path('b', bare, { quality: 'truncated' }),
      path('b', bare, { quality: 'unreliable' }),
      pathCounters({ a: { opened: 1 } }),
      pathCounters({ a: { opened: 9, ended: 3 }, b: { bound: 4 } }),
      pathCounters({ b: { bound: 5, connected: 1 }, 'not-sampled': { opened: 1 } }),
      pathCounters({ 'not-sampled': { opened: 8, ended: 8 } }),
      row(socket(1, 1_000, { openPath: PENDING })),
      row(socket(1, 1_000, { openPath: resolved('a') })),
      row(socket(2, 1_000, { openPath: resolved('b') })),
      failure({ path: PENDING }),
      failure({ path: resolved('b') }),
    ];
    const straight = reportOf(hostSample(0, 1), ...inputs);
    expect(straight.callPaths).toMatchObject({
      value: [{ id: 'a', frames, counters: { opened: 9, held: 6 } }, { id: 'b' }],
    });
    fc.assert(
      fc.property(fc.shuffledSubarray([...inputs, ...inputs], { minLength: 2 * inputs.length }), (shuffled) => {
        expect(reportOf(hostSample(0, 1), ...shuffled)).toEqual(straight);
      }),
      { numRuns: 300 },
    );
  });
});

function sessionFacts() {
  if (CAPTURED.type !== 'session') throw new Error('not a session');
  return CAPTURED.session;
}
