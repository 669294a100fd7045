import { readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { renderDiff } from '../../src/render/diff.ts';
import { renderText } from '../../src/render/text.ts';
import { diffReports } from '../../src/report/diff.ts';
import { mergeReports } from '../../src/report/merge.ts';
import { BOOT, session } from './facts.ts';
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
    const text = renderDiff(diff);
    expect(text).toMatch(/NEW\n.*GROWN\n.*\+5.*GONE\n/s);
    expect(renderDiff(diffReports(before, before))).toMatch(/UNCHANGED/);
  });

  it('takes the findings of several processes of one program together', () => {
    const [first] = web7.findings;
    if (first === undefined) throw new Error('the sample has findings');
    const two = { ...web7, findings: [first, { ...first, key: `${first.key}#2`, count: 3 }] };
    expect(diffReports(two, two).findings).toMatchObject([
      { key: first.key, change: 'unchanged', after: { count: 32 } },
    ]);
  });
});
