/**
 * `node scripts/screenshot-report.mjs FOLDER [FILE.html]`: pictures of an HTML report (without FILE: of incident A), light,
 * dark, narrow, on paper, and of a chosen window.
 */
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { launchBrowser, renderIncident, withFolder } from './lib/incident-page.mjs';

const WIDE = { width: 1280, height: 900 };

const pictures = [
  { name: 'light', context: { viewport: WIDE }, fullPage: true },
  { name: 'dark', context: { viewport: WIDE, colorScheme: 'dark' }, fullPage: true },
  { name: 'first-screen', context: { viewport: WIDE, deviceScaleFactor: 2 }, fullPage: false },
  { name: 'narrow', context: { viewport: { width: 390, height: 800 } }, fullPage: true },
  { name: 'print', context: { viewport: { width: 718, height: 1_000 } }, media: 'print', fullPage: true },
  { name: 'window', context: { viewport: WIDE }, fullPage: true, prepare: chooseWindow },
];

async function chooseWindow(page) {
  const box = await page.locator('.u-over').first().boundingBox();
  await page.mouse.move(box.x + box.width * 0.1, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.4, box.y + 40, { steps: 4 });
  await page.mouse.up();
}

async function take(browser, file, folder) {
  for (const { name, context, media, fullPage, prepare } of pictures) {
    const page = await browser.newPage(context);
    await page.goto(pathToFileURL(file).href);
    if (media !== undefined) await page.emulateMedia({ media });
    await page.locator('#flame g.frame').first().waitFor();
    await prepare?.(page);
    const path = join(folder, `${name}.png`);
    await page.screenshot({ path, fullPage });
    console.log(path);
    await page.close();
  }
}

const [folder, given] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/screenshot-report.mjs FOLDER [FILE.html]');
  process.exitCode = 2;
} else {
  mkdirSync(folder, { recursive: true });
  const browser = await launchBrowser();
  try {
    if (given !== undefined) await take(browser, resolve(given), folder);
    else await withFolder(async (work) => take(browser, (await renderIncident(work)).file, folder));
  } finally {
    await browser.close();
  }
}
