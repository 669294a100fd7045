/** Incident A as an HTML report, and a browser to look at it: for the benchmark of the page and for its pictures. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { root } from './run.mjs';

const built = (path) => import(pathToFileURL(join(root, 'dist', path)).href);

/** The same inputs as the tests have; TypeScript, so bundled first. */
async function loadIncident(folder) {
  const outfile = join(folder, 'incident-a.mjs');
  await build({
    entryPoints: [join(root, 'test/unit/incident-a.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
  });
  return await import(pathToFileURL(outfile).href);
}

/** `options`: see test/unit/incident-a.ts. */
export async function renderIncident(folder, options = {}) {
  const { incidentA } = await loadIncident(folder);
  const { Ledger } = await built('ledger/ledger.js');
  const { TimelineBuilder } = await built('report/timeline-builder.js');
  const { buildReport } = await built('report/report.js');
  const { renderHtml } = await built('render/html.js');
  const ledger = new Ledger();
  const builder = new TimelineBuilder(ledger);
  for (const input of incidentA(options)) {
    ledger.apply(input);
    builder.take(input);
  }
  const report = buildReport(ledger);
  const file = join(folder, 'report.html');
  writeFileSync(file, renderHtml(report, builder.finish(report)));
  return { file, report };
}

export async function launchBrowser() {
  return await chromium.launch(JSON.parse(readFileSync(join(root, 'test/e2e/chromium.json'), 'utf8')));
}

/** Runs `work` with a folder that is gone afterwards. */
export async function withFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-page-'));
  try {
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
