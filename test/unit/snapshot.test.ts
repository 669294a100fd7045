// What one look at the host can say, and what it must leave open.
import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { Census, CensusSocket } from '../../src/accounting/census.ts';
import { classify } from '../../src/accounting/classes.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import type { SocketKind } from '../../src/ledger/types.ts';
import { renderSnapshot, renderTriage } from '../../src/render/snapshot.ts';
import { buildSnapshotReport, kindNow } from '../../src/report/snapshot.ts';
import type { Report } from '../../src/report/types.ts';
import { census, censusSocket, onPort } from './census-facts.ts';
import { OTHER, OWNER, process, session } from './facts.ts';

const schema = JSON.parse(readFileSync(new URL('../../src/report/report.schema.json', import.meta.url), 'utf8'));
const validate = new Ajv2020({ allErrors: true }).compile(schema);

const SOCKSTAT = { socketsUsed: 9, tcpInuse: 0, tcp6Inuse: 0, orphan: 0, timeWait: 0, alloc: 38, memPages: 1 };

function snapshot(taken: Census, kinds: SocketKind[] | null = null): Report {
  const line = session();
  const owner = process();
  if (line.type !== 'session' || owner.type !== 'process') throw new Error('inputs of other types');
  const seen = { classes: classify(taken), ports: portsOf(taken), unseen: taken.unseen };
  const report = buildSnapshotReport({
    session: {
      ...line.session,
      host: { ...line.session.host, hooks: { set: 'none', refused: [], blindSpots: [] } },
      target: { pids: [], processes: [], follow: false },
      thresholds: { ...line.session.thresholds, minAgeMs: 0 },
    },
    census: taken,
    input: { type: 'census', atMs: taken.atMs, seen: { status: 'measured', value: seen } },
    sockstat: { status: 'measured', value: SOCKSTAT },
    processes: [owner],
    kinds,
    userNames: new Map([[33, 'www-\u001b[31mdata']]),
  });
  validate(JSON.parse(JSON.stringify(report)));
  expect(validate.errors).toBeNull();
  return report;
}

function many(count: number, one: (i: number) => Partial<CensusSocket>): CensusSocket[] {
  return Array.from({ length: count }, (_, i) => censusSocket({ address: (0xffff_0000 + i).toString(16), ...one(i) }));
}

describe('a snapshot', () => {
  it('of a kind of which there is none says so, and of no age', () => {
    expect(renderSnapshot(snapshot(census([censusSocket()]), ['close-wait']), 10)).toContain('FINDINGS\n  none\n');
  });

  it('of incident A: who holds how many, with which ports, and that the sum closes', () => {
    const report = snapshot(
      census([...many(29, () => ({})), ...many(9, (i) => ({ ...onPort(50_000 + i), address: `aaaa${i}` }))]),
    );
    expect(report.findings).toMatchObject([
      { kind: 'closed-unknown', count: 29, ports: 0, process: { value: OWNER }, leak: false, oldestIsLowerBound: true },
      { kind: 'closed-unknown', count: 9, ports: 9, process: { value: OWNER }, leak: false },
    ]);
    expect(report.verdict).toMatchObject({ is: 'not-known' });
    expect(report.ports).toMatchObject({ value: [{ inRange: 9, free: { value: 0 } }] });
    const text = renderTriage(report);
    // What there is comes before what is not known, and has one name everywhere.
    expect(text).toMatch(
      /^38 SUSPECTS {2}\S+\[1234\] holds 38 closed-unknown \(9 ports\)\nNOT KNOWN: whether they are a leak, because of\n/,
    );
    expect(text).toMatch(/^ +9 {2}closed-unknown {2}\S+\[1234\]$/m);
    expect(text).not.toContain('bound-inactive');
    for (const part of ['29  closed', '9  closed-bound', 'the sum closes', 'find no port'])
      expect(text).toContain(part);
  });

  it('connections that their peers ended long ago are a leak: their last segment tells the age', () => {
    const idle = { state: 'CLOSE_WAIT', wasEstablished: true, hasSent: true, activeMs: 10_000 } as const;
    const report = snapshot(census(many(12, () => idle)));
    expect(report.verdict).toMatchObject({ is: 'leak' });
    expect(report.findings).toMatchObject([{ kind: 'close-wait', count: 12, leak: true, oldestMs: 90_000 }]);
    expect(snapshot(census(many(12, () => ({ ...idle, activeMs: 99_000 })))).verdict.is).not.toBe('leak');
  });

  it('begins with who has most suspects, of all kinds', () => {
    const gone = { state: 'CLOSE_WAIT', wasEstablished: true, hasSent: true, activeMs: 99_000 } as const;
    const other = { holders: [{ process: OTHER, pid: 4321, fd: 3 }] };
    const report = snapshot(
      census([
        ...many(3, (i) => ({ ...gone, address: `b${i}` })),
        ...many(5, (i) => ({ ...other, address: `c${i}` })),
        ...many(4, () => ({})),
      ]),
    );
    expect(renderTriage(report).split('\n').slice(0, 3)).toEqual([
      '12 SUSPECTS  leakyd[1234] holds 4 closed-unknown, 3 close-wait',
      expect.stringMatching(/^ {13}\S+ holds 5 closed-unknown$/),
      'NOT KNOWN: whether they are a leak, because of',
    ]);
    const one = renderSnapshot(snapshot(census(many(1, () => ({})))), 1);
    expect(one).toMatch(/^1 SUSPECT {2}leakyd\[1234\] holds 1 closed-unknown\n/);
  });

  it('tells kinds by what the kernel remembers', () => {
    expect(kindNow(censusSocket())).toBe('closed-unknown');
    expect(kindNow(censusSocket({ hasSent: true }))).toBe('connect-failed');
    expect(kindNow(censusSocket({ hasSent: true, wasEstablished: true }))).toBe('disconnected');
    expect(kindNow(censusSocket({ holders: [], ways: ['flight'] }))).toBe('released');
  });

  it('shows the kinds that were asked for, and all of the sum', () => {
    const report = snapshot(census([censusSocket(), onPort(443, { address: 'b', state: 'LISTEN' })]), ['listening']);
    expect(report.snapshot).toMatchObject({ value: [{ kind: 'listening', port: 443 }] });
    expect(report.findings).toEqual([]);
  });

  it('what was not seen makes it not known, and a host without suspects is clean', () => {
    const listener = onPort(443, { state: 'LISTEN' });
    expect(snapshot(census([listener])).verdict.is).toBe('no-leak');
    expect(snapshot(census([listener], { unseen: ['3 processes'] })).verdict).toEqual({
      is: 'not-known',
      because: ['3 processes'],
    });
  });

  it('names users that the host has a name for, whatever is in it', () => {
    const report = snapshot(census(many(2, (i) => ({ uid: [33, 100_033][i] as number }))));
    expect(report.snapshot).toMatchObject({ value: [{ uid: 33 }, { uid: 100_033, user: null }] });
    const text = renderSnapshot(report, 2);
    expect(text).toMatch(/ www-\\x1b\[31mdata \(33\) /);
    expect(text).toContain(' 100033 ');
  });

  it('a namespace whose range is not known has no ports in it or out of it', () => {
    const report = snapshot(census([onPort(443, { netns: 7 })]));
    const ports = report.ports.status === 'measured' ? report.ports.value : [];
    expect(ports[0]).toMatchObject({ netns: 7, inUse: 1, inRange: null, outOfRange: null });
    expect(renderTriage(report)).toMatch(/port range not known: .*\n {4}1 port in use in all\n/);
  });

  it('lists wasteful sockets first, as many as asked for', () => {
    const report = snapshot(census([onPort(443, { address: 'b', state: 'LISTEN' }), ...many(3, () => ({}))]));
    const text = renderSnapshot(report, 3);
    expect(text.match(/closed-unknown {2}CLOSE/g)).toHaveLength(3);
    expect(text).toContain('and 1 more socket');
  });
});
