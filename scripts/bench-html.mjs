/**
 * `npm run bench:html`: how long a reader of the HTML report waits, with all 41,019 sockets of incident A: as it was, and
 * with its sockets opened by as many call paths as `--paths N` says (450), of which each makes two findings. Times are those of Chromium's own clock, of
 * the page's scripts and of the layout that follows; each is the median of several rounds in pages of their own.
 */
import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { summarize } from './lib/bench-report.mjs';
import { launchBrowser, renderIncident, withFolder } from './lib/incident-page.mjs';

const ROUNDS = 7;

const { values } = parseArgs({ options: { paths: { type: 'string', default: '450' } } });

/** In the page. */
async function measure() {
  const cost = (work) => {
    const begin = performance.now();
    work();
    document.body.getBoundingClientRect();
    return performance.now() - begin;
  };
  const find = (selector) => document.querySelector(selector);
  const input = (selector, value) => {
    find(selector).value = value;
    find(selector).dispatchEvent(new Event('input'));
  };
  const navigation = performance.getEntriesByType('navigation')[0];
  const last = Number(find('[aria-label="Window to"]').max);
  return {
    'opened: scripts done': performance.getEntriesByName('socktrace-ready')[0].startTime,
    'opened: laid out': navigation.loadEventEnd,
    'another window': cost(() => input('[aria-label="Window to"]', String(Math.round(last / 2)))),
    'findings sorted': cost(() => find('#findings th:nth-child(2) button').click()),
    'findings searched, first letter': cost(() => input('#search', 'h')),
    'findings searched, word': cost(() => input('#search', 'handler_77')),
    'flame graph of ports': cost(() => find('[data-measure=ports]').click()),
    'flame graph with runtimes': cost(() => find('#runtimes').click()),
  };
}

async function rounds(browser, file) {
  const all = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
    await page.locator('#flame g.frame').first().waitFor();
    all.push(await page.evaluate(measure));
    await page.close();
  }
  return all;
}

const browser = await launchBrowser();
try {
  for (const paths of [1, Number(values.paths)]) {
    await withFolder(async (folder) => {
      const { file, report } = await renderIncident(folder, { paths });
      const kib = Math.round(statSync(file).size / 1024);
      console.log(`\n${report.findings.length} findings, ${paths} call path(s), a file of ${kib} KiB`);
      const all = await rounds(browser, file);
      for (const name of Object.keys(all[0])) {
        const { min, median, max } = summarize(all.map((round) => round[name]));
        console.log(`  ${name.padEnd(34)} ${median.toFixed(0).padStart(6)} ms (${min.toFixed(0)}..${max.toFixed(0)})`);
      }
    });
  }
} finally {
  await browser.close();
}
