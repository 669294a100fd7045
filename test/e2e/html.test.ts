// The HTML report of incident A at its own size, driven as a reader would: in Chromium, by mouse and by keyboard.
import type { Locator, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, type TestContext } from 'vitest';
import { Ledger } from '../../src/ledger/ledger.ts';
import { levelAt, type TimeWindow } from '../../src/render/html/windowed.ts';
import { renderHtml } from '../../src/render/html.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Timeline } from '../../src/report/timeline.ts';
import { TimelineBuilder } from '../../src/report/timeline-builder.ts';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import {
  BURST_MS,
  FULL_MS,
  IN_VAIN,
  incidentA,
  type Options,
  openedAt,
  PORTS,
  SOCKETS,
  VICTIM_CALLS,
} from '../unit/incident-a.ts';
import { FileBrowser, hasChromium, type OpenPage } from './browser.ts';

const START_MS = Date.UTC(2026, 10, 23, 3, 0, 0);
const MIN_AGE_MS = 5_000;

interface Told {
  report: Report;
  timeline: Timeline;
  html: string;
}

function tell(options: Options = {}): Told {
  const ledger = new Ledger();
  const builder = new TimelineBuilder(ledger);
  for (const input of incidentA(options)) {
    ledger.apply(input);
    builder.take(input);
  }
  const report = buildReport(ledger);
  const timeline = builder.finish(report);
  if (timeline === null) throw new Error('the incident has no session');
  return { report, timeline, html: renderHtml(report, timeline) };
}

let told: Told;
let browser: FileBrowser | null = null;
let open: OpenPage;

beforeAll(async () => {
  told = tell();
  if (hasChromium()) browser = await FileBrowser.launch();
});

afterAll(async () => {
  await browser?.close();
});

function chromium(context: TestContext): FileBrowser {
  return browser ?? notRun(context, 'chromium is not installed');
}

const number = (text: string | null): number => Number((text ?? '').replaceAll(',', ''));

/** The cells of one column of a table, as shown. */
async function column(page: Page, section: string, nth: number): Promise<string[]> {
  return page.locator(`#${section} tr[data-row] td:nth-child(${nth})`).allInnerTexts();
}

const COLUMNS = { status: 1, sockets: 2, change: 3, growth: 4, kind: 5, ports: 6, since: 7, owner: 8, where: 9 };

function background(page: Page): Promise<string> {
  return page.evaluate('getComputedStyle(document.body).backgroundColor');
}

/** Drags over the plot of the sockets, from one part of its width to another. */
async function brush(page: Page, from: number, to: number): Promise<void> {
  const box = await page.locator('.u-over').first().boundingBox();
  if (box === null) throw new Error('no plot is drawn');
  const y = box.y + box.height / 2;
  await page.mouse.move(box.x + from * box.width, y);
  await page.mouse.down();
  await page.mouse.move(box.x + to * box.width, y, { steps: 5 });
  await page.mouse.up();
}

/** The window that the page says is chosen; its times are those of the incident's day. */
async function chosenWindow(page: Page): Promise<TimeWindow & { fromMs: number; toMs: number }> {
  const text = await page.locator('#window').innerText();
  const [, from = '', to = ''] = /(\d\d:\d\d:\d\d) - (\d\d:\d\d:\d\d)/.exec(text) ?? [];
  const fromMs = Date.parse(`2026-11-23T${from}Z`);
  const toMs = Date.parse(`2026-11-23T${to}Z`);
  const bucket = async (end: string): Promise<number> => Number(await page.getByLabel(`Window ${end}`).inputValue());
  return { from: await bucket('from'), to: await bucket('to'), fromMs, toMs };
}

async function rowOf(page: Page, section: string, text: string): Promise<Locator> {
  const row = page.locator(`#${section} tr[data-row]`, { hasText: text });
  expect(await row.count()).toBe(1);
  return row;
}

async function count(page: Page, kind: string): Promise<number> {
  const row = await rowOf(page, 'findings', kind);
  return number(await row.locator(`td:nth-child(${COLUMNS.sockets})`).innerText());
}

describe('the page of incident A', () => {
  beforeEach(async (context) => {
    open = await chromium(context).open(told.html);
  });

  afterEach(async () => {
    if (browser === null) return;
    expect(open.complaints).toEqual([]);
    await open.page.context().close();
  });

  it('says first who leaks, how much, since when, from where, and who suffers', async () => {
    const verdict = open.page.locator('#verdict');
    const title = await verdict.locator('h1').innerText();
    expect(title).toBe('LEAK pool-server[1234] holds 41,019 leaked sockets and, with them, 12,000 ports');
    const text = await verdict.innerText();
    expect(text).toContain('2026-11-23 03:01:00 UTC');
    expect(text).toContain('acquire_port (port.c:41)');
    expect(text).toContain('29,019 left open after bind() failed (EADDRINUSE)');
    expect(text).toContain('12,000 bound and never used, holding 12,000 ports');
    expect(text).toContain('range 50000-62000');
    expect(text).toContain(`ftp (${VICTIM_CALLS} connect())`);
    const box = await verdict.boundingBox();
    expect((box?.y ?? 0) + (box?.height ?? 9e9)).toBeLessThan(900);
  });

  it('shows the counts of the report until a part of the time is chosen', async () => {
    const shown = (await column(open.page, 'findings', COLUMNS.sockets)).map(number);
    expect(shown).toEqual(told.report.findings.map((finding) => finding.count));
    expect(shown.slice(0, 2)).toEqual([IN_VAIN, PORTS]);
    const tiles = await open.page.locator('#tiles').innerText();
    expect(tiles).toContain('41,026');
    const calls = (await column(open.page, 'failures', 2)).map(number);
    const reported = told.report.failures.status === 'measured' ? told.report.failures.value : [];
    expect(calls.reduce((a, b) => a + b, 0)).toBe(reported.reduce((sum, failure) => sum + failure.count, 0));
  });

  it('lets everything below follow a window that is dragged over the plot', async () => {
    const { page } = open;
    await brush(page, 0.05, 0.25);
    const early = await chosenWindow(page);
    expect(early.fromMs).toBeGreaterThan(START_MS);
    expect(early.toMs).toBeLessThan(START_MS + FULL_MS);
    // Before the ports were gone: nothing failed, and as much was bound as had been opened.
    expect(await column(page, 'failures', 2)).toEqual([]);
    expect(await page.locator('#failures').innerText()).toContain('none in this window');
    expect(await column(page, 'findings', COLUMNS.kind)).not.toContain('bind-failed EADDRINUSE');
    const bound = await count(page, 'bound-inactive');
    const finding = told.timeline.findings.find(({ kind }) => kind === 'bound-inactive');
    expect(bound).toBe(levelAt(finding?.counts ?? [], early.to));
    const { bucketMs } = told.timeline;
    const opened = (atMs: number): number => openedAt(atMs - START_MS - MIN_AGE_MS);
    expect(bound).toBeGreaterThanOrEqual(opened(early.toMs - bucketMs));
    expect(bound).toBeLessThanOrEqual(opened(early.toMs));
    // What was there then and is not in the report.
    expect(early.toMs).toBeGreaterThan(START_MS + BURST_MS[0]);
    expect(await (await rowOf(page, 'findings', 'python3')).innerText()).toContain('gone');
    expect(await page.locator('#flame svg').textContent()).toContain('bound-inactive');

    await page.keyboard.press('Escape');
    expect(await page.locator('#window').innerText()).toContain('Whole recording');
    expect(await count(page, 'bind-failed')).toBe(IN_VAIN);
    expect(await page.locator('#findings').innerText()).not.toContain('python3');

    await brush(page, 0.5, 0.75);
    const late = await chosenWindow(page);
    expect(await count(page, 'bound-inactive')).toBe(PORTS);
    const failed = await count(page, 'bind-failed');
    expect(failed).toBeGreaterThan(0);
    expect(failed).toBeLessThan(IN_VAIN);
    const calls = number(await (await rowOf(page, 'failures', 'pool-server')).locator('td:nth-child(2)').innerText());
    // As many as sockets were opened meanwhile, but for a bucket at each end.
    const meanwhile = openedAt(late.toMs - START_MS) - openedAt(late.fromMs - START_MS);
    const slack = 2 * (openedAt(FULL_MS + bucketMs) - openedAt(FULL_MS));
    expect(Math.abs(calls - meanwhile)).toBeLessThanOrEqual(slack);

    await page.locator('.u-over').nth(2).dblclick();
    expect(await page.locator('#window').innerText()).toContain('Whole recording');
  });

  it('shows values under the cursor in all plots', async () => {
    const { page } = open;
    const box = await page.locator('.u-over').first().boundingBox();
    await page.mouse.move((box?.x ?? 0) + (box?.width ?? 0) / 2, (box?.y ?? 0) + 20);
    const legends = await page.locator('.u-legend').allTextContents();
    expect(legends).toHaveLength(3);
    for (const legend of legends) expect(legend).toMatch(/03:(29|30):\d\d/);
    expect(legends[0]).toMatch(/bound-inactive\D*12,000/);
    expect(legends[1]).toMatch(/limit\D*12,000/);
  });

  it('sorts findings by any column, and back', async () => {
    const { page } = open;
    const before = await column(page, 'findings', COLUMNS.sockets);
    const head = page.locator(`#findings th:nth-child(${COLUMNS.ports})`);
    await head.locator('button').click();
    expect(await head.getAttribute('aria-sort')).toBe('descending');
    const ports = (await column(page, 'findings', COLUMNS.ports)).map(number);
    expect(ports).toEqual([...ports].sort((a, b) => b - a));
    expect(ports[0]).toBe(PORTS);
    await head.locator('button').click();
    expect(await head.getAttribute('aria-sort')).toBe('ascending');
    expect((await column(page, 'findings', COLUMNS.ports)).map(number)).toEqual([...ports].reverse());
    await head.locator('button').click();
    expect(await head.getAttribute('aria-sort')).toBe('none');
    expect(await column(page, 'findings', COLUMNS.sockets)).toEqual(before);
  });

  it('filters and searches findings', async () => {
    const { page } = open;
    const kinds = (): Promise<string[]> => column(page, 'findings', COLUMNS.kind);
    await page.locator('#leaks').check();
    expect(await kinds()).toEqual(['bind-failed EADDRINUSE', 'bound-inactive']);
    await page.locator('#kind').selectOption('bound-inactive');
    expect(await kinds()).toEqual(['bound-inactive']);
    await page.locator('#kind').selectOption('close-wait');
    expect(await kinds()).toEqual([]);
    expect(await page.locator('#findings').innerText()).toContain('nothing matches');
    await page.locator('#leaks').uncheck();
    expect(await kinds()).toEqual(['close-wait']);
    await page.locator('#kind').selectOption('all kinds');
    // A caller that the table does not show, and an argument of the command.
    for (const words of ['service_loop', 'try_bind --workers']) {
      await page.locator('#search').fill(words);
      expect(await column(page, 'findings', COLUMNS.owner)).toEqual(['pool-server[1234]', 'pool-server[1234]']);
    }
    await page.locator('#search').fill('no such thing');
    expect(await kinds()).toEqual([]);
  });

  it('zooms the flame graph, and switches it between sockets, ports and failed calls', async () => {
    const { page } = open;
    const box = (name: string): Locator => page.locator('#flame g.frame', { hasText: name }).last();
    const width = async (name: string): Promise<number> =>
      Number(await box(name).locator('rect').getAttribute('width'));
    const whole = await width('41,026 sockets held');
    expect(await width('bind-failed')).toBeCloseTo((whole * IN_VAIN) / 41_026, 0);
    await box('bound-inactive').click();
    expect(await width('bound-inactive')).toBeCloseTo(whole, 0);
    expect(await page.locator('#flame g.frame', { hasText: 'bind-failed' }).count()).toBe(0);
    await page.locator('#flame-reset').click();
    expect(await width('bind-failed')).toBeCloseTo((whole * IN_VAIN) / 41_026, 0);

    await page.locator('[data-measure=ports]').click();
    expect(await page.locator('#flame g.frame').allTextContents()).toEqual(
      expect.arrayContaining([expect.stringContaining('12,001 ports held'), expect.stringContaining('try_bind')]),
    );
    expect(await page.locator('#flame g.frame', { hasText: 'bind-failed' }).count()).toBe(0);

    await page.locator('[data-measure=failures]').click();
    const sum = IN_VAIN + VICTIM_CALLS + 57 + 4;
    expect(await page.locator('#flame g.frame').first().textContent()).toContain(
      `${sum.toLocaleString('en')} failed calls`,
    );
    expect(await page.locator('[data-measure=failures]').getAttribute('aria-pressed')).toBe('true');

    await page.locator('#runtimes').check();
    expect(await page.locator('#flame g.frame', { hasText: '__libc_start_main' }).count()).toBeGreaterThan(0);
  });

  it('can be used without a mouse', async () => {
    const { page } = open;
    const focused = (): Promise<string> =>
      page.evaluate("[document.activeElement].map((e) => e.id || e.getAttribute('aria-label') || e.textContent)[0]");
    const reached = new Set<string>();
    for (let i = 0; i < 60; i += 1) {
      await page.keyboard.press('Tab');
      reached.add(await focused());
    }
    for (const id of ['theme', 'search', 'kind', 'leaks', 'Window from', 'Window to', 'runtimes', 'search-failures'])
      expect(reached).toContain(id);

    await page.locator('[aria-label="Window to"]').focus();
    for (let i = 0; i < 3; i += 1) await page.keyboard.press('ArrowLeft');
    expect((await chosenWindow(page)).to).toBe(told.timeline.buckets - 4);
    await page.keyboard.press('Escape');
    expect((await chosenWindow(page)).to).toBe(told.timeline.buckets - 1);

    await page.locator('#findings tr[data-row="0"]').focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    expect(await page.locator('#findings tr[aria-expanded=true]').innerText()).toContain('bound-inactive');
    expect(await page.locator('#findings tr.details').innerText()).toContain('try_bind  /src/pool/port.c:52');
    expect(await page.locator('#findings tr[data-row="1"]:focus').count()).toBe(1);
    await page.keyboard.press('End');
    expect(await focused()).toContain('close-wait');
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowLeft');
    expect(await page.locator('#findings tr.details').count()).toBe(0);

    await page.locator('#flame g.frame[tabindex="0"]').focus();
    for (let i = 0; i < 5; i += 1) await page.keyboard.press('ArrowDown');
    expect(await focused()).toMatch(/^bind-failed EADDRINUSE: 29,019 sockets held/);
    await page.keyboard.press('ArrowRight');
    expect(await focused()).toMatch(/^bound-inactive: 12,000 sockets held/);
    await page.keyboard.press('Enter');
    expect(await page.locator('#flame g.frame', { hasText: 'bind-failed' }).count()).toBe(0);
    await page.keyboard.press('Escape');
    expect(await page.locator('#flame g.frame', { hasText: 'bind-failed' }).count()).toBe(1);
  });

  it('is light or dark as the system says, or as the reader does', async () => {
    const { page } = open;
    const brightness = async (): Promise<number> => {
      const colour = await background(page);
      return Math.max(...(colour.match(/\d+/g) ?? []).slice(0, 3).map(Number));
    };
    const plot = (): Promise<string> =>
      page
        .locator('canvas')
        .first()
        .evaluate((canvas) => (canvas as unknown as { toDataURL(): string }).toDataURL());
    const light = await plot();
    expect(await brightness()).toBeGreaterThan(200);
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await brightness()).toBeLessThan(60);
    await expect.poll(plot).not.toBe(light);
    await page.locator('#theme').selectOption('light');
    expect(await brightness()).toBeGreaterThan(200);
    await page.emulateMedia({ colorScheme: 'light' });
    await page.locator('#theme').selectOption('dark');
    expect(await brightness()).toBeLessThan(60);
  });

  it('prints light, without what can only be clicked', async () => {
    const { page } = open;
    await page.locator('#theme').selectOption('dark');
    await page.emulateMedia({ media: 'print' });
    expect(await background(page)).toBe('rgb(255, 255, 255)');
    for (const hidden of ['nav', '#theme', '#search', '#reset', '[data-measure=ports]'])
      expect(await page.locator(hidden).first().isVisible()).toBe(false);
    for (const shown of ['#verdict', '#timeline canvas', '#findings table', '#flame svg', '#accounts table'])
      expect(await page.locator(shown).first().isVisible()).toBe(true);
    const widest = (): Promise<number> =>
      page.evaluate("Math.max(...[...document.querySelectorAll('canvas, #flame svg')].map((one) => one.clientWidth))");
    await expect.poll(widest).toBeLessThan(700);
    const pdf = await page.pdf({ format: 'A4' });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
  });

  it('fits a narrow screen', async () => {
    const { page } = open;
    await page.setViewportSize({ width: 390, height: 800 });
    const overflow = (): Promise<number> => page.evaluate('document.documentElement.scrollWidth - innerWidth');
    await expect.poll(overflow).toBeLessThanOrEqual(0);
  });

  it('closes the accounts, and explains every port', async () => {
    const { page } = open;
    const accounts = await page.locator('#accounts').innerText();
    expect(accounts).toContain('the sums close');
    const sums = (await page.locator('#accounts tbody tr td:first-child').allInnerTexts()).map(number);
    const alloc = sums.pop();
    expect(alloc).toBe(1_815 + SOCKETS);
    expect(sums.reduce((a, b) => a + b, 0)).toBe(alloc);
    const ports = (await column(page, 'ports', 1)).map(number);
    expect(ports.reduce((a, b) => a + b, 0)).toBe(PORTS + 36);
    expect(await page.locator('#observed').innerText()).toMatch(/loss\s+none/);
  });
});

describe('what others chose', () => {
  const ATTACK = '</script><script>window.pwned = 1</script><img src=x onerror="window.pwned = 1"><!--';
  const HIDDEN = 'a\u202egpj.exe\u0007\u001b[31m\u2028\ud800';
  let hostile = '';

  beforeAll(() => {
    const functions: [string, string] = [`${ATTACK}${HIDDEN}`, '__proto__'];
    hostile = tell({ comm: `${ATTACK}${HIDDEN}`, cmdline: [ATTACK, HIDDEN, '__proto__'], functions }).html;
  });

  async function inspect({ page }: OpenPage): Promise<{ pwned: boolean; elements: number; text: string }> {
    // An element that came in by a name would be of one of these.
    const elements = await page
      .locator('img, iframe, body script:not([type]), body style, a[href^="javascript"]')
      .count();
    const pwned = await page.evaluate<boolean>("'pwned' in window");
    for (const row of await page.locator('tr[aria-expanded]').all()) await row.click();
    return { pwned, elements, text: await page.locator('main').innerText() };
  }

  it.for([
    ['with its policy', (html: string) => html],
    // The policy is a second wall: the first has to stand alone.
    ['without its policy', (html: string) => html.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '')],
  ] as const)('stays text, %s', async ([, change], context) => {
    const opened = await chromium(context).open(change(hostile));
    const { pwned, elements, text } = await inspect(opened);
    expect(pwned).toBe(false);
    // The program of the page itself.
    expect(elements).toBe(1);
    expect(text).toContain(ATTACK.slice(0, 40));
    expect(text).toContain('a\\u{202e}gpj.exe\\x07\\x1b[31m');
    expect(text).not.toMatch(/[^\n\t\P{Cc}]|\p{Cf}|\p{Cs}/u);
    expect(opened.complaints).toEqual([]);
    await opened.page.context().close();
  });

  it('has no script or style but its own', async (context) => {
    const { page, complaints } = await chromium(context).open(told.html);
    const violated = await page.evaluate(`new Promise((resolve) => {
      const seen = [];
      document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => {
        seen.push(effectiveDirective);
        if (seen.length === 2) resolve(seen.sort());
      });
      const script = document.createElement('script');
      script.textContent = 'window.pwned = 1';
      const style = document.createElement('style');
      style.textContent = 'body { display: none }';
      document.body.append(script, style);
    })`);
    expect(violated).toEqual(['script-src-elem', 'style-src-elem']);
    expect(await page.evaluate<boolean>("'pwned' in window")).toBe(false);
    expect(complaints).not.toEqual([]);
    await page.context().close();
  });
});

describe('the file', () => {
  it('is of a size to be mailed, and has the licences of what is in it', () => {
    const data = told.html.match(/<script type="application\/json"[^>]*>(.*?)<\/script>/s)?.[1] ?? '';
    expect(Buffer.byteLength(told.html) - Buffer.byteLength(data)).toBeLessThan(250_000);
    for (const words of [
      'uplot 1.6.32 (MIT)',
      'd3-flame-graph 5.0.0 (Apache-2.0)',
      'd3-selection 3.0.0 (ISC)',
      'Leon Sorokin',
    ])
      expect(told.html).toContain(words);
    expect(told.html).not.toMatch(/(?:src|href)="(?!#)/);
  });

  it('reads as text where no script runs', async (context) => {
    const { page } = await chromium(context).open(told.html, { javaScriptEnabled: false });
    expect(await page.locator('noscript').innerText()).toContain('pool-server[1234] holds 29,019 sockets');
    await page.context().close();
  });
});
