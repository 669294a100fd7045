import { describe, expect, it } from 'vitest';
import { findingsOf } from '../../src/ledger/findings.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput } from '../../src/ledger/types.ts';
import {
  BOOT,
  ended,
  history,
  measured,
  OTHER,
  OWNER,
  process,
  row,
  session,
  socket,
  tick,
  unavailable,
  walk,
} from './facts.ts';

function ledgerOf(...inputs: LedgerInput[]): Ledger {
  const ledger = new Ledger();
  for (const input of [session(), process(), ...inputs]) ledger.apply(input);
  return ledger;
}

/** Kind and count of each finding. */
function summary(ledger: Ledger): string[] {
  return findingsOf(ledger).map(({ kind, count }) => `${kind} ${count}`);
}

const ESTABLISHED = { state: 'ESTABLISHED', ever: history({ established: true }), port: 443 } as const;
const CLOSE_WAIT = { state: 'CLOSE_WAIT', ever: history({ established: true }), port: 443 } as const;

describe('versions of one socket', () => {
  it('takes the newest, whatever comes last', () => {
    const unused = socket(1, 1_000);
    const bound = socket(1, 1_000, { changedMs: 2_000, ever: history({ bound: true }), port: 50_000 });
    expect(summary(ledgerOf(row(bound), row(unused), tick(10_000)))).toEqual(['bound-inactive 1']);
  });

  it('compares versions that Number would round to the same', () => {
    const older = socket(1, 0, { version: '9007199254740993' });
    const newer = socket(1, 0, { version: '9007199254740994', state: 'ESTABLISHED' });
    expect(summary(ledgerOf(row(newer), row(older), tick(10_000)))).toEqual([]);
    expect(summary(ledgerOf(row(older), row(newer), tick(10_000)))).toEqual([]);
  });

  it('counts the age from when the kind was entered, not from the last version', () => {
    const failed = { bindErrno: 'EADDRINUSE' };
    const ledger = ledgerOf(
      row(socket(1, 1_000, { ...failed, changedMs: 2_000 })),
      row(socket(1, 1_000, { ...failed, changedMs: 9_000, uid: 5 })),
      tick(12_000),
    );
    expect(findingsOf(ledger)[0]?.oldestMs).toBe(10_000);
  });

  it('counts the age of an unused socket from its open, however late it is told of', () => {
    expect(findingsOf(ledgerOf(row(socket(1, 1_000, { changedMs: 9_000 })), tick(12_000)))[0]?.oldestMs).toBe(11_000);
  });

  it('suspects nothing younger than the least age', () => {
    expect(summary(ledgerOf(row(socket(1, 1_000)), tick(5_999)))).toEqual([]);
    expect(summary(ledgerOf(row(socket(1, 1_000)), tick(6_000)))).toEqual(['unused 1']);
  });
});

describe('ends of sockets', () => {
  it('ended is terminal: a late row does not bring the socket back', () => {
    const unused = socket(1, 1_000);
    expect(summary(ledgerOf(ended(unused, 2_000), row(unused), tick(60_000)))).toEqual([]);
    expect(
      summary(ledgerOf(row(unused), ended(unused, 2_000), row({ ...unused, version: '9' }), tick(60_000))),
    ).toEqual([]);
  });

  it('a newer birth at an address ends the older socket', () => {
    const older = socket(1, 1_000);
    const newer = socket(1, 3_000, { ever: history({ bound: true }) });
    expect(summary(ledgerOf(row(older), row(newer), tick(60_000)))).toEqual(['bound-inactive 1']);
    expect(summary(ledgerOf(row(newer), row(older), tick(60_000)))).toEqual(['bound-inactive 1']);
    expect(summary(ledgerOf(row(newer), ended(older, 2_000), tick(60_000)))).toEqual(['bound-inactive 1']);
  });

  it('keeps what an exiting process still held, at any age and once', () => {
    const held = socket(1, 1_000, { changedMs: 1_500, released: true, releaseState: 'CLOSE', heldAtExit: true });
    const ledger = ledgerOf(row(held), ended(held, 1_600), ended(held, 1_600), row(held), tick(90_000));
    expect(findingsOf(ledger)).toMatchObject([
      { kind: 'unused', count: 1, heldAtExit: 1, leak: true, oldestMs: 600, holders: [] },
    ]);
  });

  it('an address that is reused does not forget what was held at exit there', () => {
    const held = socket(1, 1_000, { released: true, releaseState: 'CLOSE', heldAtExit: true });
    expect(summary(ledgerOf(ended(held, 1_600), row(socket(1, 2_000)), tick(90_000)))).toEqual(['unused 2']);
    expect(summary(ledgerOf(row(socket(1, 2_000)), ended(held, 1_600), tick(90_000)))).toEqual(['unused 2']);
  });

  it('refuses an id without a birth', () => {
    expect(() => ledgerOf(row(socket(1, 1, { id: 'ffff8880' })))).toThrow(TypeError);
  });
});

describe('descriptors', () => {
  const unused = socket(1, 1_000);

  it('shows who holds a suspect, and one descriptor', () => {
    const [finding] = findingsOf(ledgerOf(row(unused), walk(5_000, [unused]), tick(10_000)));
    expect(finding?.holders).toEqual([{ process: OWNER, count: 1 }]);
    expect(finding?.examples).toMatchObject([{ inode: '9000', fd: 10, process: OWNER }]);
  });

  it('shows what was never confirmed', () => {
    expect(findingsOf(ledgerOf(row(unused), tick(40_000)))[0]).toMatchObject({ kind: 'unused', holders: [] });
  });

  it('what a complete walk does not find is released, and never a leak', () => {
    const many = Array.from({ length: 20 }, (_, i) => socket(i, 1_000));
    const ledger = ledgerOf(...many.map(row), walk(5_000, []), tick(90_000));
    expect(findingsOf(ledger)).toMatchObject([{ kind: 'released', count: 20, leak: false }]);
    ledger.apply(walk(91_000, many));
    expect(findingsOf(ledger)).toMatchObject([{ kind: 'unused', count: 20, leak: true }]);
  });

  it('absence from an incomplete, an older or a too early walk means nothing', () => {
    expect(summary(ledgerOf(row(unused), walk(5_000, [], { complete: false }), tick(10_000)))).toEqual(['unused 1']);
    expect(summary(ledgerOf(row(unused), walk(6_000, [unused]), walk(5_000, []), tick(10_000)))).toEqual(['unused 1']);
    expect(summary(ledgerOf(row(unused), walk(1_000, []), tick(10_000)))).toEqual(['unused 1']);
  });

  it('what a walk does not tell of is held as it was, until one tells that it is gone', () => {
    const ledger = ledgerOf(row(unused), walk(5_000, [unused]), walk(7_000, []), tick(40_000));
    expect(findingsOf(ledger)[0]).toMatchObject({ kind: 'unused', holders: [{ process: OWNER, count: 1 }] });
    ledger.apply(walk(41_000, [], { complete: false, gone: [unused] }));
    expect(summary(ledger)).toEqual(['unused 1']);
    ledger.apply(walk(42_000, [], { gone: [unused] }));
    expect(summary(ledger)).toEqual(['released 1']);
  });

  it('a walk may tell of a socket before anybody else does', () => {
    const later = socket(2, 1_000);
    const ledger = ledgerOf(walk(5_000, [unused, later]), row(unused), walk(7_000, [], { gone: [later] }), row(later));
    ledger.apply(walk(9_000, []));
    ledger.apply(tick(40_000));
    expect(findingsOf(ledger)).toMatchObject([
      { kind: 'released', holders: [] },
      { kind: 'unused', holders: [{ process: OWNER, count: 1 }] },
    ]);
    const reborn = ledgerOf(walk(5_000, [unused]), ended(unused, 6_000), row(socket(1, 1_500)), tick(40_000));
    expect(findingsOf(reborn)).toMatchObject([{ kind: 'unused', holders: [] }]);
  });

  it('prefers a descriptor of the owner, and counts each holder once', () => {
    const pass = walk(5_000, [unused]);
    if (pass.type !== 'holders') throw new Error('not a walk');
    pass.sockets[0]?.holders.unshift({ process: OTHER, pid: 4321, fd: 3, inode: '9000' });
    pass.sockets[0]?.holders.push({ process: OTHER, pid: 4321, fd: 4, inode: '9000' });
    const [finding] = findingsOf(ledgerOf(row(unused), pass, tick(10_000)));
    expect(finding?.holders).toEqual([
      { process: OWNER, count: 1 },
      { process: OTHER, count: 1 },
    ]);
    expect(finding?.examples[0]?.process).toBe(OWNER);
  });
});

describe('leaks', () => {
  const many = (count: number, facts = {}) => Array.from({ length: count }, (_, i) => row(socket(i, 1_000, facts)));

  it('ten old ones leak, nine do not, ten young ones do not', () => {
    expect(findingsOf(ledgerOf(...many(10), tick(31_000)))[0]?.leak).toBe(true);
    expect(findingsOf(ledgerOf(...many(9), tick(31_000)))[0]?.leak).toBe(false);
    expect(findingsOf(ledgerOf(...many(10), tick(30_999)))[0]?.leak).toBe(false);
  });

  it('counts only those that are old themselves', () => {
    const young = Array.from({ length: 9 }, (_, i) => row(socket(100 + i, 20_000)));
    expect(findingsOf(ledgerOf(...many(9), ...young, tick(32_000)))[0]).toMatchObject({ count: 18, leak: false });
  });

  it('close-wait ages only while no byte moves', () => {
    const sockets = Array.from({ length: 10 }, (_, i) => socket(i, 1_000, CLOSE_WAIT));
    const ledger = ledgerOf(...sockets.map(row), walk(10_000, sockets, { bytesMoved: '5' }), tick(60_999));
    expect(findingsOf(ledger)[0]?.leak).toBe(false);
    ledger.apply(tick(61_000));
    expect(findingsOf(ledger)[0]?.leak).toBe(true);
    ledger.apply(walk(62_000, sockets, { bytesMoved: '6' }));
    expect(findingsOf(ledger)[0]).toMatchObject({ leak: false, oldestMs: 61_000 });
    ledger.apply(walk(122_000, sockets, { bytesMoved: '6' }));
    expect(findingsOf(ledger)[0]?.leak).toBe(true);
  });

  it('bytes that move after a walk has seen the socket in close-wait move in it, those before do not', () => {
    const used = Array.from({ length: 10 }, (_, i) => socket(i, 1_000, ESTABLISHED));
    const waiting = used.map((facts) => row({ ...facts, ...CLOSE_WAIT, changedMs: 20_000, version: '20000000000' }));
    const before = [...used.map(row), walk(10_000, used, { bytesMoved: '5' }), ...waiting];
    const moved = ledgerOf(...before, walk(21_000, []), walk(60_000, used, { bytesMoved: '6' }), tick(119_999));
    expect(findingsOf(moved)[0]).toMatchObject({ kind: 'close-wait', leak: false });
    moved.apply(tick(120_000));
    expect(findingsOf(moved)[0]?.leak).toBe(true);
    const still = ledgerOf(...before, walk(30_000, used, { bytesMoved: '6' }), tick(80_000));
    expect(findingsOf(still)[0]?.leak).toBe(true);
  });

  it('a few that keep growing leak; a few of one moment do not', () => {
    const growing = ledgerOf(tick(0));
    const burst = ledgerOf(tick(0), ...many(3));
    for (let second = 1; second <= 120; second += 1) {
      if (second % 20 === 0) growing.apply(row(socket(second, second * 1_000)));
      growing.apply(tick(second * 1_000));
      burst.apply(tick(second * 1_000));
    }
    expect(findingsOf(growing)[0]).toMatchObject({ count: 5, leak: true });
    // Two in the later half of the 96 s since there was none.
    expect(findingsOf(growing)[0]?.perMinute).toBeCloseTo(2.5, 5);
    expect(findingsOf(burst)[0]).toMatchObject({ count: 3, leak: false });
  });

  it('what existed when watching began is no growth', () => {
    const seeded = { origin: 'seeded', ever: unavailable(), openedMs: unavailable() } as const;
    const ledger = ledgerOf(...many(7, seeded), tick(1_000));
    for (let second = 2; second <= 120; second += 1) {
      if (second === 60) for (let i = 7; i < 9; i += 1) ledger.apply(row(socket(i, 1_000, seeded)));
      ledger.apply(tick(second * 1_000));
    }
    expect(findingsOf(ledger)).toMatchObject([{ kind: 'closed-unknown', count: 9, leak: false, perMinute: 0 }]);
  });

  it('the growth of processes that share a finding is that of all of them, those that come and those that go', () => {
    const facts = (second: number) => ({ owner: measured(`${BOOT}:${1000 + second}:${second}`) });
    const batch = (second: number) =>
      Array.from({ length: 15 }, (_, i) => socket(100 * second + i, second * 1_000, facts(second)));
    const [growing, steady] = [ledgerOf(tick(0)), ledgerOf(tick(0))];
    for (let second = 1; second <= 100; second += 1) {
      if (second % 2 === 0) for (const one of batch(second)) for (const each of [growing, steady]) each.apply(row(one));
      if (second % 2 === 0 && second > 40)
        for (const one of batch(second - 40)) steady.apply(ended(one, second * 1_000));
      for (const each of [growing, steady]) each.apply(tick(second * 1_000));
    }
    // 15 each two seconds, by a process of their own.
    const [all, stay] = [findingsOf(growing), findingsOf(steady)];
    expect([all.length, all[0]?.processes]).toEqual([1, 47]);
    expect(all[0]?.perMinute).toBeCloseTo(450, -2);
    // A batch more or less, as the times of the samples have it.
    expect(stay.length).toBe(1);
    expect(stay[0]?.perMinute).toBeCloseTo(0, -2);
  });

  it('what existed then and tells since when it is idle is as old as that, and no growth', () => {
    const idle = { origin: 'seeded', openedMs: unavailable(), state: 'CLOSE_WAIT' } as const;
    const seed = (number: number) =>
      row({ ...socket(number, 900_000, idle), changedMs: 700_000, version: '700000000000' });
    const ledger = ledgerOf(seed(1), seed(2), tick(900_500));
    for (let second = 901; second <= 960; second += 1) ledger.apply(tick(second * 1_000));
    expect(findingsOf(ledger)).toMatchObject([
      { kind: 'close-wait', count: 2, leak: false, oldestMs: 260_000, oldestIsLowerBound: true, perMinute: 0 },
    ]);
    for (let number = 3; number <= 10; number += 1) ledger.apply(seed(number));
    expect(findingsOf(ledger)).toMatchObject([{ kind: 'close-wait', count: 10, leak: true, perMinute: 0 }]);
  });

  it('tells no rate before ten seconds of watching', () => {
    const ledger = ledgerOf(tick(0), row(socket(1, 0)), tick(1_000), tick(5_000), tick(9_000));
    expect(findingsOf(ledger)[0]?.perMinute).toBeNull();
  });
});

describe('findings', () => {
  it('are grouped by kind, owner and errno, and count distinct ports', () => {
    const failed = (number: number, bindErrno: string) => row(socket(number, 1_000, { bindErrno }));
    const bound = (number: number, port: number, netns = 1) =>
      row(socket(number, 1_000, { ever: history({ bound: true }), port, netns }));
    const ledger = ledgerOf(
      failed(1, 'EADDRINUSE'),
      failed(2, 'EADDRINUSE'),
      failed(3, 'EACCES'),
      bound(4, 50_000),
      bound(5, 50_000),
      bound(6, 50_000, 2),
      bound(7, 50_001),
      tick(10_000),
    );
    expect(findingsOf(ledger)).toMatchObject([
      { key: 'bound-inactive:/usr/sbin/leakyd:-:-:-', count: 4, ports: 3 },
      { key: 'bind-failed:/usr/sbin/leakyd:EADDRINUSE:-:-', count: 2, ports: 0 },
      { key: 'bind-failed:/usr/sbin/leakyd:EACCES:-:-', count: 1 },
    ]);
  });

  it('of two processes of one program have distinct keys, the greater one the plain key', () => {
    const twin = { status: 'measured', value: OTHER } as const;
    const ledger = ledgerOf(
      process({ id: OTHER, pid: 4321 }),
      row(socket(1, 1_000)),
      row(socket(2, 1_000, { owner: twin })),
      row(socket(3, 1_000, { owner: twin })),
      tick(10_000),
    );
    expect(findingsOf(ledger).map(({ key, process: owner }) => [key, owner])).toEqual([
      ['unused:/usr/sbin/leakyd:-:-:-', twin],
      ['unused:/usr/sbin/leakyd:-:-:-#2', { status: 'measured', value: OWNER }],
    ]);
  });

  it('show the five oldest sockets, oldest first', () => {
    const rows = [7, 3, 5, 1, 6, 2, 4].map((number) => row(socket(number, number * 100, { port: number })));
    const [finding] = findingsOf(ledgerOf(...rows, tick(10_000)));
    expect(finding?.examples.map(({ localPort }) => localPort)).toEqual([1, 2, 3, 4, 5]);
  });

  it('take comm when the executable is not known, and leave out that it was replaced', () => {
    const name = (facts: Parameters<typeof process>[0]) =>
      findingsOf(ledgerOf(process(facts), row(socket(1, 1_000)), tick(10_000)))[0]?.key;
    expect(name({ exe: { status: 'measured', value: '/usr/sbin/leakyd (deleted)' } })).toBe(
      'unused:/usr/sbin/leakyd:-:-:-',
    );
    const ledger = new Ledger();
    for (const input of [session(), process({ exe: unavailable() }), row(socket(1, 1_000)), tick(10_000)])
      ledger.apply(input);
    expect(findingsOf(ledger)[0]?.key).toBe('unused:leakyd:-:-:-');
  });
});
