import { describe, expect, it } from 'vitest';
import { Ledger } from '../../src/ledger/ledger.ts';
import { renderRun } from '../../src/render/run.ts';
import { renderText } from '../../src/render/text.ts';
import { matches, unusedAllowances } from '../../src/report/allow.ts';
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
    const { unusedAllowances, ...report } = reportWith(['no such thing']);
    expect(report).toEqual(reportWith(undefined));
    expect(unusedAllowances).toEqual(['no such thing']);
  });

  it('that match nothing are told; those that match what is no leak, or what another allows, are not', () => {
    const plain = reportWith(undefined);
    expect(plain).not.toHaveProperty('unusedAllowances');
    expect(reportWith(['^leakyd$', 'leaky'])).not.toHaveProperty('unusedAllowances');
    const suspects = plain.findings.map((finding) => ({ ...finding, leak: false, undecided: false }));
    expect(unusedAllowances(suspects, ['bind-failed:', 'close-wait:'], new Ledger())).toEqual(['close-wait:']);
    const report = reportWith(['^leakyd$', 'warm_po\x1bol']);
    expect(report.unusedAllowances).toEqual(['warm_po\x1bol']);
    const told = '--allow "warm_po\\x1bol" matches nothing that was found: out of date, or misspelt?';
    expect(renderText(report)).toContain(`\n  ${told}\n`);
    expect(renderRun(report)).toContain(`socktrace: ${told}\n`);
  });
});
