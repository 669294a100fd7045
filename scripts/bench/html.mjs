/**
 * How long a reader of the HTML report waits, with all 41,019 sockets of incident A, opened by 450 call paths of which each
 * makes two findings; beside it the same of one call path, as it was. Times are those of Chromium's own clock, of the
 * page's scripts and of the layout that follows, each round in a page of its own.
 */
import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { findProgram } from '../lib/run.mjs';
import { measured, notRun, once, row } from './lib/rows.mjs';
import { summarize } from './lib/statistics.mjs';

const manyPaths = 450;
const rounds = { full: 7, quick: 2 };

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

async function timesOf(browser, file, count) {
  const all = [];
  for (let i = 0; i < count; i += 1) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(pathToFileURL(file).href, { waitUntil: 'load' });
    await page.locator('#flame g.frame').first().waitFor();
    all.push(await page.evaluate(measure));
    await page.close();
  }
  return all;
}

/** `{bytes, times}` of the report with so many call paths. */
async function measureReport(incident, browser, paths, count) {
  return await incident.withFolder(async (folder) => {
    const { file } = await incident.renderIncident(folder, { paths });
    return { bytes: statSync(file).size, times: await timesOf(browser, file, count) };
  });
}

function rowsOf(many, one) {
  const time = ({ times }, step) => measured('ns', summarize(times.map((round) => 1e6 * round[step])));
  const beside = (its) => ({ beside: [['one call path', its]] });
  return [
    row('HTML report: size', once('bytes', many.bytes), beside(once('bytes', one.bytes))),
    ...Object.keys(many.times[0]).map((step) => row(`HTML report: ${step}`, time(many, step), beside(time(one, step)))),
  ];
}

async function* run({ quick }) {
  if (findProgram('chromium') === null) {
    yield row('HTML report', notRun('chromium is not installed'));
    return;
  }
  // They need node_modules, which the set-up brings.
  const incident = await import('../lib/incident-page.mjs');
  const browser = await incident.launchBrowser();
  const count = quick ? rounds.quick : rounds.full;
  try {
    const one = await measureReport(incident, browser, 1, count);
    yield* rowsOf(await measureReport(incident, browser, manyPaths, count), one);
  } finally {
    await browser.close();
  }
}

export const html = { name: 'html', says: 'how long a reader of the HTML report waits', needsRoot: false, run };
