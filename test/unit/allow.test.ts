import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/ledger/ledger.ts';
import { matches } from '../../src/report/allow.ts';
import { buildReport } from '../../src/report/report.ts';
import { incidentInputs } from './sample-report.ts';

describe('a pattern', () => {
  it.each([
    ['leakyd', '/usr/sbin/leakyd', true],
    ['^leakyd', '/usr/sbin/leakyd', false],
    ['^/usr/*leak', '/usr/sbin/leakyd', true],
    ['sbin$', '/usr/sbin/leakyd', false],
    ['leakyd$', '/usr/sbin/leakyd', true],
    ['^leakyd$', 'leakyd', true],
    ['^leakyd$', 'leakyd-leakyd', false],
    ['^leak*yd$', 'leakyd', true],
    ['^a*a$', 'a', false],
    ['a*b*c', 'xaxbxcx', true],
    ['a*c*b', 'xaxbxcx', false],
    ['.*', 'leakyd', false],
  ])('%s in %s: %s', (pattern, text, expected) => {
    expect(matches(pattern, text)).toBe(expected);
  });
});

function reportWith(allow: string[] | undefined) {
  const ledger = new Ledger();
  for (const input of incidentInputs())
    ledger.apply(
      input.type === 'session' && allow !== undefined ? { ...input, session: { ...input.session, allow } } : input,
    );
  return buildReport(ledger);
}

describe('allowed findings', () => {
  it('decide no verdict, and say which pattern allows them', () => {
    const plain = reportWith(undefined);
    expect(plain.verdict.is).toBe('leak');
    const report = reportWith(['nothing', '^leakyd$']);
    expect(report.verdict.is).not.toBe('leak');
    const wouldBe = plain.findings.filter(({ leak }) => leak).map(({ key }) => key);
    expect(report.findings.filter(({ allowed }) => allowed === '^leakyd$').map(({ key }) => key)).toEqual(
      expect.arrayContaining(wouldBe),
    );
    expect(report.findings.some(({ leak }) => leak)).toBe(false);
  });

  it.each(['^/usr/sbin/leak*$', '^leakyd$', ':/usr/sbin/leakyd:'])('by executable, name or key: %s', (pattern) => {
    expect(reportWith([pattern]).findings.some(({ leak }) => leak)).toBe(false);
  });

  it('leave the others a leak', () => {
    const plain = reportWith(undefined);
    const leaks = plain.findings.filter(({ leak }) => leak);
    expect(leaks.length).toBeGreaterThan(1);
    const report = reportWith(['^bind-failed:']);
    const left = leaks.filter(({ kind }) => kind !== 'bind-failed').map(({ key }) => key);
    expect(report.verdict).toEqual({ is: 'leak', findings: left });
  });

  it('are not looked for among what is no leak', () => {
    const report = reportWith(['no such thing']);
    expect(report).toEqual(reportWith(undefined));
  });
});
