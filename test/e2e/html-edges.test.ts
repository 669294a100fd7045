// Pages of recordings at the edge of what a recording can be: each is shown, and complains of nothing.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { Compactor } from '../../src/recording/compact.ts';
import { type Loaded, loadRecording } from '../../src/recording/load.ts';
import { renderHtml } from '../../src/render/html.ts';
import { mergeReports } from '../../src/report/merge.ts';
import { mergeTimelines } from '../../src/report/merge-timelines.ts';
import type { Timeline } from '../../src/report/timeline.ts';
import { notRun } from '../host/not-run.ts';
import {
  BOOT,
  ended,
  failure,
  hostSample,
  measured,
  OWNER,
  process,
  row,
  session,
  socket,
  tick,
  unavailable,
} from '../unit/facts.ts';
import { FileBrowser, hasChromium } from './browser.ts';

let directory: string;
let browser: FileBrowser | null = null;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'socktrace-test-'));
  if (hasChromium()) browser = await FileBrowser.launch();
});
afterAll(async () => {
  await browser?.close();
  rmSync(directory, { recursive: true });
});

let files = 0;
async function load(inputs: readonly LedgerInput[]): Promise<Loaded & { timeline: Timeline }> {
  files += 1;
  const path = join(directory, `${files}.ndjson`);
  const compactor = new Compactor();
  const header = { type: 'recording', version: 1, tool: { name: 'socktrace', version: '0' } };
  const lines = [header, ...inputs.flatMap((input) => compactor.linesOf(input))];
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const loaded = await loadRecording(path, { part: { sinceMs: null, untilMs: null }, timeline: true });
  if (loaded.timeline === null) throw new Error('no timeline');
  expect(loaded.replayed.torn).toBe(0);
  return { ...loaded, timeline: loaded.timeline };
}

const clock = (monotonicMs: number, wallMs: number): LedgerInput => session({ clock: { monotonicMs, wallMs } });
const seconds = (count: number): LedgerInput[] => Array.from({ length: count }, (_, i) => tick(i * 1_000));
/** Runs where it is taken for markup, and reverses what is taken for text. */
const HOSTILE = `</script><script>alert(1)</script><img src=x onerror=alert(1)>"'&\u2028\u202e\ud800`;
const hostile = measured(HOSTILE);

const EDGES: Readonly<Record<string, readonly LedgerInput[]>> = {
  'nothing but a session': [session()],
  'one moment': [session(), process(), hostSample(0, 5), row(socket(1, 0)), tick(0)],
  'a socket that came and went': [
    session(),
    row(socket(1, 0)),
    ...seconds(20),
    ended(socket(1, 0), 20_000),
    tick(60_000),
  ],
  'a clock that goes backwards': [session(), row(socket(1, 0)), ...seconds(90).reverse(), hostSample(50_000, 4)],
  'three hundred years': [clock(0, 0), row(socket(1, 1)), hostSample(0, 1), tick(0), hostSample(9e12, 3), tick(9e12)],
  'times before time began': [clock(-9e12, -9e12), hostSample(-9e12, 1), tick(-9e12), hostSample(1, 1), tick(1)],
  'greatest counts': [
    session(),
    ...[1, 2, 3].map((firstMs) => failure({ firstMs, count: Number.MAX_SAFE_INTEGER })),
    hostSample(0, 1),
    hostSample(5_000, Number.MAX_SAFE_INTEGER, {}, { opened: Number.MAX_SAFE_INTEGER }),
    ...seconds(9),
  ],
  'text that would be markup': [
    session({
      host: {
        ...{ hostname: HOSTILE, bootId: HOSTILE, kernel: HOSTILE },
        hooks: { set: 'cgroup', refused: [{ set: HOSTILE, reason: HOSTILE }], blindSpots: [HOSTILE] },
      },
      callPaths: measured(true),
    }),
    process({ comm: HOSTILE, exe: hostile, cmdline: measured([HOSTILE]), unit: hostile, container: hostile }),
    {
      type: 'path',
      path: {
        ...{ id: HOSTILE, quality: 'complete', notes: [HOSTILE] },
        frames: [
          {
            ...{ function: HOSTILE, module: HOSTILE, buildId: HOSTILE, offset: '0x1' },
            file: HOSTILE,
            line: 1,
            how: 'cfi',
          },
        ],
      },
    },
    row(socket(1, 0, { openPath: { status: 'resolved', id: HOSTILE } })),
    row(socket(2, 0, { owner: unavailable(HOSTILE), openPath: unavailable(HOSTILE) })),
    failure({ comm: HOSTILE, path: { status: 'resolved', id: HOSTILE } }),
    ...seconds(60),
    hostSample(60_000, 3),
  ],
};

async function shown(html: string, context: Parameters<typeof notRun>[0]): Promise<string> {
  const { page, complaints } = await (browser ?? notRun(context, 'chromium is not installed')).open(html);
  expect(await page.locator('#verdict').count()).toBe(1);
  // The shortest window there is, and the whole again.
  await page.locator('input[aria-label="Window to"]').fill('0');
  await page.keyboard.press('Escape');
  expect(complaints).toEqual([]);
  return page.locator('main').innerText();
}

it.for(Object.keys(EDGES))('%s', async (name, context) => {
  const { report, timeline } = await load(EDGES[name] ?? []);
  const text = await shown(renderHtml(report, timeline), context);
  expect(text).not.toMatch(/NaN|undefined|Infinity|\[object|Invalid Date|[\u2028\u202e\ud800]/);
});

it('several of them in one', async (context) => {
  const all = await Promise.all(Object.values(EDGES).map(load));
  const named = all.map((one, i) => ({ name: `${i}${HOSTILE}`, ...one }));
  const [first, ...others] = named;
  if (first === undefined) throw new Error('none');
  const timelines = [first.timeline, ...others.map(({ timeline }) => timeline)] as const;
  const names = named.map(({ name }) => name);
  const text = await shown(
    renderHtml(mergeReports([first, ...others]), mergeTimelines([...timelines], names)),
    context,
  );
  expect(text).not.toMatch(/NaN|undefined|Infinity|\[object|Invalid Date|[\u2028\u202e\ud800]/);
});

it('thousands of findings: in every window, the rows and the rest are the suspects', async (context) => {
  const inputs: LedgerInput[] = [session()];
  let made = 0;
  const open = (owner: number, count: number, atMs: number): LedgerInput[] =>
    Array.from({ length: count }, () => {
      made += 1;
      return row(socket(made, atMs, { owner: measured(`${BOOT}:${100 + owner}:1`) }));
    });
  for (let owner = 0; owner < 3_000; owner++) {
    const id = `${BOOT}:${100 + owner}:1`;
    inputs.push(
      process({ id, pid: 100 + owner, exe: measured(`/usr/bin/p${owner}`) }),
      ...open(owner, 1 + (owner % 3), 0),
    );
  }
  for (let second = 0; second < 60; second++) {
    // Small ones become large, one after the other.
    inputs.push(...open(3 * second, 5, second * 1_000), tick(second * 1_000));
  }
  const { report, timeline } = await load(inputs);
  const { page, complaints } = await (browser ?? notRun(context, 'chromium is not installed')).open(
    renderHtml(report, timeline),
  );
  const number = (text: string): number => Number((text.match(/\d[\d,]*/)?.[0] ?? '').replaceAll(',', ''));
  for (const to of [59, 50, 30, 15, 8]) {
    await page.locator('input[aria-label="Window to"]').fill(String(to));
    const suspects = number(await page.locator('#tiles dd').first().innerText());
    const said = await page.locator('#findings p.hint').innerText();
    const [inFindings = '', rest = ''] = said.split('UTC');
    expect(suspects, said).toBeGreaterThan(0);
    expect(number(inFindings) + number(rest), said).toBe(suspects);
  }
  expect(complaints).toEqual([]);
});

it('failed calls of other namespaces are marked as such', async (context) => {
  const traced = process({ netns: measured(1) });
  const far = { process: `${BOOT}:${2 ** 31 + 351}:1`, pid: 0, comm: 'nginx' };
  const other = { process: `${BOOT}:77:1`, pid: 77, comm: 'curl' };
  const seen = process({ id: other.process, pid: 77, comm: 'curl', netns: measured(7) });
  const { report, timeline } = await load([
    session(),
    traced,
    seen.type === 'process' ? { ...seen, activity: unavailable('not traced') } : seen,
    failure({ ...far, errno: 'ECONNREFUSED', cause: 'refused', netns: 0 }),
    failure({ ...other, errno: 'ECONNREFUSED', cause: 'refused', netns: 7 }),
    failure({ process: OWNER, pid: 1234, comm: 'leakyd', errno: 'ECONNREFUSED', cause: 'refused', netns: 1 }),
    ...seconds(60),
  ]);
  const { page } = await (browser ?? notRun(context, 'chromium is not installed')).open(renderHtml(report, timeline));
  const programs = await page.locator('#failures tbody td:nth-child(5)').allInnerTexts();
  expect(programs.toSorted()).toEqual(['curl[77] (netns 7)', 'leakyd[1234]', 'nginx[351 outside] (netns not known)']);
});
