// A program of many processes: one finding, in bounded memory, whether they have exited or live.
import { describe, expect, it } from 'vitest';
import { findingsOf } from '../../src/ledger/findings.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { renderText } from '../../src/render/text.ts';
import {
  BOOT,
  ended,
  history,
  hostSample,
  measured,
  process,
  row,
  session,
  socket,
  THRESHOLDS,
  tick,
} from './facts.ts';
import { reportOf } from './sample-report.ts';

function child(pid: number): { id: string; pid: number; comm: string } {
  return { id: `${BOOT}:${pid}:${pid}`, pid, comm: 'worker' };
}

function ofChild(pid: number, bornMs: number): Parameters<typeof socket> {
  return [pid, bornMs, { owner: measured(child(pid).id) }];
}

describe('children that exit with a socket each', () => {
  it('are one finding', () => {
    const inputs = [1, 2, 3].flatMap((pid) => {
      const [number, born, facts] = ofChild(pid, 1_000 * pid);
      const held = { ...facts, released: true, releaseState: 'CLOSE', heldAtExit: true, port: 40_000 + pid } as const;
      return [process({ ...child(pid), exitedMs: 9_000 }), ended(socket(number, born, held), 9_000)];
    });
    const report = reportOf([session(), ...inputs, hostSample(0, 1), tick(60_000)]);
    expect(report.findings).toMatchObject([
      { kind: 'unused', leak: true, count: 3, processes: 3, heldAtExit: 3, ports: 3, oldestMs: 8_000 },
    ]);
    expect(renderText(report)).toMatch(/^LEAK {2}worker\[\d\] and 2 more processes exited with 3 sockets/);
  });

  it('are counted exactly and in bounded memory, 30,000 of them', () => {
    const ledger = new Ledger();
    ledger.apply(session());
    for (let pid = 1; pid <= 30_000; pid++) {
      const [number, born, facts] = ofChild(pid, pid);
      const held = { ...facts, released: true, releaseState: 'CLOSE', heldAtExit: true } as const;
      ledger.apply(process({ ...child(pid), exitedMs: pid + 3 }));
      ledger.apply(ended(socket(number, born, held), pid + 3));
      if (pid % 100 === 0) ledger.apply(tick(pid + 3));
    }
    expect([...ledger.sockets()].length).toBeLessThan(6_000);
    expect(findingsOf(ledger)).toMatchObject([
      { kind: 'unused', count: 30_000, processes: 30_000, heldAtExit: 30_000 },
    ]);
    expect(findingsOf(ledger)[0]?.examples).toHaveLength(5);
    expect(ledger.countByKind()).toEqual([{ kind: 'unused', count: 30_000 }]);
  });
});

describe('living processes of one program', () => {
  function living(count: number, bornMs: number): ReturnType<typeof reportOf> {
    const pids = Array.from({ length: count }, (_, i) => i + 1);
    return reportOf([
      session(),
      hostSample(0, 1),
      ...pids.map((pid) => process(child(pid))),
      ...pids.map((pid) => row(socket(...ofChild(pid, bornMs)))),
      tick(60_000),
    ]);
  }

  it('with one old socket each, and so many that the program leaks', () => {
    const { findings, verdict } = living(1_000, 1_000);
    expect(findings).toMatchObject([{ leak: true, count: 1_000, processes: 1_000 }]);
    expect(findings[0]?.holders.length).toBeLessThanOrEqual(100);
    expect(verdict.is).toBe('leak');
  });

  it('that are few have a finding each', () => {
    const { findings } = living(5, 1_000);
    expect(findings).toHaveLength(5);
    expect(findings.every(({ leak, processes }) => !leak && processes === 1)).toBe(true);
  });

  it('with young sockets may leak: not known', () => {
    expect(living(12, 50_000).verdict.is).toBe('not-known');
  });
});

it('the age of what existed before the trace is a lower bound, and is said so', () => {
  const facts = socket(1, 0, { origin: 'seeded', state: 'CLOSE_WAIT', ever: history({ established: true }) });
  const report = reportOf([session(), process(), hostSample(0, 1), tick(0), row(facts), tick(70_000)]);
  expect(report.findings).toMatchObject([{ kind: 'close-wait', oldestIsLowerBound: true }]);
  expect(renderText(report)).toMatch(/>1m 10s/);
});

it('whoever holds the sockets now is named, not who opened them', () => {
  const facts = socket(1, 0);
  const held = { id: facts.id, receiveQueue: 0, sendQueue: 0, bytesMoved: '0' };
  const holders = [{ process: child(77).id, pid: 77, fd: 5, inode: '1' }];
  const report = reportOf([
    session({ thresholds: { ...THRESHOLDS, leakCount: 1 } }),
    process(),
    process({ ...child(77), comm: 'heir' }),
    hostSample(0, 1),
    row(facts),
    { type: 'holders', atMs: 69_000, complete: true, sockets: [{ ...held, holders }], gone: [] },
    tick(70_000),
  ]);
  expect(renderText(report)).toMatch(/^LEAK {2}leakyd\[1234\] opened, and heir\[77\] now holds, 1 socket never used/);
});
