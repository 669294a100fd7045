import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { LedgerInput, Verdict } from '../../src/ledger/types.ts';
import { renderDiff } from '../../src/render/diff.ts';
import { renderText } from '../../src/render/text.ts';
import { diffReports } from '../../src/report/diff.ts';
import { mergeReports } from '../../src/report/merge.ts';
import type { Finding, Report } from '../../src/report/types.ts';
import { BOOT, measured, OTHER, session } from './facts.ts';
import { incidentInputs, incidentWithPaths, reportOf } from './sample-report.ts';

const schema = JSON.parse(readFileSync(new URL('../../src/report/report.schema.json', import.meta.url), 'utf8'));
const validate = new Ajv2020({ allErrors: true }).compile(schema);

/** The sample on another host, an hour later: every process is another. */
function onOtherHost(): LedgerInput[] {
  const [first] = incidentWithPaths();
  if (first?.type !== 'session') throw new Error('the sample does not begin with its session');
  const { host } = first.session;
  const moved: LedgerInput = {
    type: 'session',
    session: {
      ...first.session,
      host: { ...host, hostname: 'web8' },
      clock: { monotonicMs: 0, wallMs: first.session.clock.wallMs + 3_600_000 },
    },
  };
  const text = JSON.stringify([moved, ...incidentWithPaths().slice(1)]);
  return JSON.parse(text.replaceAll(BOOT, '11111111-2222-3333-4444-555555555555')) as LedgerInput[];
}

const web7 = reportOf(incidentWithPaths());
const web8 = reportOf(onOtherHost());

describe('one report of several recordings', () => {
  const merged = mergeReports([
    { name: 'web7.ndjson', report: web7 },
    { name: 'web8.ndjson', report: web8 },
  ]);

  it('is a report that the schema accepts', () => {
    expect(validate(JSON.parse(JSON.stringify(merged))), JSON.stringify(validate.errors)).toBe(true);
    expect(validate(JSON.parse(JSON.stringify(web7)))).toBe(true);
  });

  it('adds up, and names the source of each finding and failure', () => {
    expect(merged.sockets.opened).toBe(82);
    expect(merged.findings.map(({ source, kind, count }) => [source, kind, count])).toEqual([
      ['web7.ndjson', 'bind-failed', 29],
      ['web8.ndjson', 'bind-failed', 29],
      ['web7.ndjson', 'bound-inactive', 12],
      ['web8.ndjson', 'bound-inactive', 12],
    ]);
    expect(new Set(merged.findings.map(({ key }) => key)).size).toBe(4);
    expect(merged.processes).toHaveLength(web7.processes.length + web8.processes.length);
    expect(
      merged.failures.status === 'measured' && merged.failures.value.every(({ source }) => source !== undefined),
    ).toBe(true);
    expect(merged.window).toMatchObject({
      startedAt: web7.window.startedAt,
      endedAt: web8.window.endedAt,
      durationMs: 3_680_000,
    });
    expect(merged.verdict.is).toBe('leak');
    // The same program has the same paths wherever it runs.
    expect(
      merged.callPaths.status === 'measured' && merged.callPaths.value.map(({ counters }) => counters?.opened),
    ).toEqual([82, 0]);
  });

  it('keeps with each source what is of its host alone', () => {
    expect(merged.sources?.map(({ name, host }) => [name, host.hostname])).toEqual([
      ['web7.ndjson', 'web7'],
      ['web8.ndjson', 'web8'],
    ]);
    expect(merged.sockstat.status).toBe('unavailable');
    expect(merged.sources?.[0]?.sockstat).toEqual(web7.sockstat);
  });

  it('knows of no failed calls when no recording does', () => {
    const failures = { status: 'unavailable', reason: 'refused' } as const;
    const blind = { name: 'web7.ndjson', report: { ...web7, failures } };
    expect(mergeReports([blind, { name: 'web8.ndjson', report: { ...web8, failures } }]).failures).toEqual(failures);
    const seen = mergeReports([blind, { name: 'web8.ndjson', report: web8 }]).failures;
    expect(seen.status === 'measured' && seen.value.map(({ source }) => source)).toContain('web8.ndjson');
  });

  it('tells the allowances that matched nothing in any of them', () => {
    const unused = (...lists: (string[] | undefined)[]): string[] | undefined => {
      const [first, second] = lists.map((list) => ({ ...web7, ...(list && { unusedAllowances: list }) }));
      return mergeReports([
        { name: 'a', report: first as Report },
        { name: 'b', report: second as Report },
      ]).unusedAllowances;
    };
    expect(unused(['gone', 'one'], ['other', 'gone'])).toEqual(['gone']);
    expect(unused(['gone'], undefined)).toBeUndefined();
    expect(unused(['one'], ['other'])).toBeUndefined();
  });

  it('says in its text which finding is of which recording', () => {
    const text = renderText(merged);
    expect(text).toMatch(/^RECORDINGS$/m);
    expect(text.match(/recorded in web8\.ndjson/g)).toHaveLength(2);
    expect(text).toContain('web7, web8');
    expect(renderText(web7)).not.toContain('RECORDINGS');
  });
});

describe('the difference of two reports', () => {
  it('finds what is new, grown and gone by the keys of findings', () => {
    const before = reportOf([session(), ...incidentInputs().slice(1)]);
    const [first, second] = before.findings;
    if (first === undefined || second === undefined) throw new Error('the sample has two findings');
    const after = {
      ...before,
      findings: [
        { ...first, count: first.count + 5 },
        { ...second, key: 'unused:/bin/new:-:-:-', kind: 'unused' as const },
      ],
    };
    const diff = diffReports(before, after);
    expect(diff.findings.map(({ change, key }) => [change, key])).toEqual([
      ['new', 'unused:/bin/new:-:-:-'],
      ['grown', first.key],
      ['gone', second.key],
    ]);
    expect(diff.findings[1]).toMatchObject({ before: { count: 29 }, after: { count: 34 } });
    const text = renderDiff(diff, [after, before]);
    expect(text).toMatch(/NEW\n.*GROWN\n.*\+5.*GONE\n/s);
    expect(renderDiff(diffReports(before, before), [before])).toMatch(/UNCHANGED/);
  });

  it('says in its text what, how many, whose and which code opened them, and no key', () => {
    const text = renderDiff(diffReports(web8, web7), [web7, web8]);
    expect(text).toMatch(/LEAK +29 +0 +bind-failed +EADDRINUSE +0 .* leakyd +acquire_port \(leak_worker\.c:41\)$/m);
    for (const { key } of web7.findings) expect(text).not.toContain(key);
  });

  it('takes the findings of several processes of one program together', () => {
    const [first] = web7.findings;
    if (first === undefined) throw new Error('the sample has findings');
    const two = { ...web7, findings: [first, { ...first, key: `${first.key}#2`, count: 3 }] };
    expect(diffReports(two, two).findings).toMatchObject([
      { key: first.key, change: 'unchanged', after: { count: 32 } },
    ]);
  });

  describe('where one recording began when the sockets were open already', () => {
    const [failed, bound] = web7.findings;
    if (failed === undefined || bound === undefined) throw new Error('the sample has two findings');
    const unknown: Finding = {
      ...bound,
      key: 'closed-unknown:/usr/sbin/leakyd:-:-:-',
      kind: 'closed-unknown',
      errno: null,
      openPath: { status: 'preexisting' },
      bindPath: { status: 'preexisting' },
      count: failed.count + bound.count,
      leak: true,
    };
    const seenWhole = { ...web7, findings: [{ ...failed, leak: true }, bound] };
    const seenLate = { ...web7, findings: [unknown] };

    it('claims neither new nor gone, but the sum', () => {
      for (const [before, after] of [
        [seenWhole, seenLate],
        [seenLate, seenWhole],
      ] as const) {
        const diff = diffReports(before, after);
        expect(diff.findings.map(({ change }) => change)).toEqual(['not-known', 'not-known', 'not-known']);
        expect(diff.indistinct).toMatchObject([
          { program: '/usr/sbin/leakyd', comm: 'leakyd', before: unknown.count, after: unknown.count },
        ]);
        expect(diff.verdict).toMatchObject({
          is: 'not-known',
          because: [expect.stringContaining('3 findings of leakyd')],
        });
        const text = renderDiff(diff, [after, before]);
        expect(text).toMatch(/NOT KNOWN ONE BY ONE\n.*\n {2}leakyd: 41 -> 41 in all \(0\)/);
        expect(text).not.toMatch(/^(?:NEW|GONE|SHRUNK|GROWN)$/m);
      }
    });

    it('is a leak when there are more of them in all', () => {
      const more = { ...seenLate, findings: [{ ...unknown, count: unknown.count + 1 }] };
      expect(diffReports(seenWhole, more).verdict).toEqual({ is: 'leak', findings: [unknown.key] });
    });

    it('claims what is true whatever they are', () => {
      const grown = { ...web7, findings: [{ ...failed, count: failed.count + 5 }, unknown] };
      const changes = Object.fromEntries(
        diffReports(seenWhole, grown).findings.map(({ kind, change }) => [kind, change]),
      );
      expect(changes).toEqual({ 'bind-failed': 'grown', 'bound-inactive': 'not-known', 'closed-unknown': 'not-known' });
    });

    it('keeps other programs apart, and what is in no closed state', () => {
      const other = { ...unknown, process: { status: 'unavailable', reason: 'not told' } as const };
      expect(diffReports(seenWhole, { ...web7, findings: [other] }).indistinct).toEqual([]);
      const waiting = { ...bound, key: 'close-wait:/usr/sbin/leakyd:-:-:-', kind: 'close-wait' as const };
      expect(diffReports({ ...web7, findings: [waiting] }, seenLate).indistinct).toEqual([]);
    });
  });

  it('says when the two can hardly be compared', () => {
    const codes = (before: Report, after: Report) => diffReports(before, after).notes.map(({ code }) => code);
    expect(codes(web7, web7)).toEqual([]);
    // web8 is an hour later.
    expect(codes(web7, web8)).toEqual(['other-host']);
    expect(codes(web8, web7)).toEqual(['reversed', 'other-host']);
    const processes = web7.processes.map((process) => ({ ...process, exe: measured('/usr/bin/other') }));
    expect(codes(web7, { ...web7, processes })).toEqual(['other-program']);
    const traced = (target: Partial<Report['target']>): Report => ({ ...web7, target: { ...web7.target, ...target } });
    const again = traced({ pids: [77], processes: [OTHER] });
    expect(codes(web7, again)).toEqual(['other-selection']);
    expect(codes(web7, traced({ processes: [OTHER] }))).toEqual(['other-selection']);
    expect(codes(web7, traced({ selectors: [{ by: 'comm', value: 'nginx' }] }))).toEqual(['other-selection']);
    expect(codes(web7, traced({ follow: false }))).toEqual(['other-selection']);
    const command = ['npm', 'test'];
    expect(codes(traced({ command }), { ...again, target: { ...again.target, command } })).toEqual([]);
    expect(renderDiff(diffReports(web7, again), [again, web7])).toMatch(
      /^note: +different processes were traced: --pid 1234, and --pid 77$/m,
    );
    expect(codes(web7, { ...web7, window: { ...web7.window, leakCount: 99 } })).toEqual(['other-thresholds']);
    expect(renderDiff(diffReports(web8, web7), [web7, web8])).toMatch(/^note: .*older one.*03:01:20/m);
  });

  describe('concludes', () => {
    const [failed, bound] = web7.findings;
    if (failed === undefined || bound === undefined) throw new Error('the sample has two findings');
    const leak = { ...failed, leak: true };
    const withFindings = (...findings: Finding[]): Report => ({
      ...web7,
      verdict: { is: 'leak', findings: [leak.key] },
      findings,
    });

    it.each<[string, Report, Report, Verdict]>([
      ['nothing of the same leak', withFindings(leak), withFindings(leak), { is: 'no-leak' }],
      ['nothing of a smaller one', withFindings(leak), withFindings({ ...leak, count: 3 }), { is: 'no-leak' }],
      [
        'a leak of a larger one',
        withFindings(leak),
        withFindings({ ...leak, count: 99 }),
        { is: 'leak', findings: [leak.key] },
      ],
      ['a leak of a new one', withFindings(), withFindings(leak), { is: 'leak', findings: [leak.key] }],
      [
        'a leak of what was a suspect',
        withFindings({ ...leak, leak: false }),
        withFindings(leak),
        { is: 'leak', findings: [leak.key] },
      ],
      [
        'nothing sure where a new one may come of age',
        withFindings(leak),
        withFindings(leak, { ...bound, leak: false, undecided: true }),
        { is: 'not-known', because: ['12 more bound-inactive sockets that are too young to tell'] },
      ],
      [
        'nothing sure where something was lost',
        withFindings(leak),
        {
          ...withFindings(leak),
          loss: { complete: false, reasons: [{ code: 'iterator-failed', what: 'walks', count: 2 }] },
        },
        { is: 'not-known', because: ['2 walks'] },
      ],
      [
        'what the later report does not know',
        withFindings(),
        { ...withFindings(), verdict: { is: 'not-known', because: ['it was dark'] } },
        { is: 'not-known', because: ['it was dark'] },
      ],
    ])('%s', (_, before, after, verdict) => {
      expect(diffReports(before, after).verdict).toEqual(verdict);
    });
  });
});
