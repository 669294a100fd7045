/** Debian's Chromium, without a head, in a profile of its own; talks to nobody. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import settings from './chromium.json' with { type: 'json' };

export function hasChromium(): boolean {
  return existsSync(settings.executablePath);
}

/** One page, and everything that it complained about or asked for. */
export interface OpenPage {
  page: Page;
  /** errors and warnings, exceptions, and requests other than for the file itself */
  complaints: string[];
}

/** Opens documents as files. */
export class FileBrowser {
  readonly #browser: Browser;
  readonly #folder = mkdtempSync(join(tmpdir(), 'socktrace-html-'));
  #files = 0;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async launch(): Promise<FileBrowser> {
    return new FileBrowser(await chromium.launch(settings));
  }

  async open(html: string, options: BrowserContextOptions = {}): Promise<OpenPage> {
    this.#files += 1;
    const file = join(this.#folder, `${this.#files}.html`);
    writeFileSync(file, html);
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    const page = await context.newPage();
    const complaints: string[] = [];
    const url = pathToFileURL(file).href;
    page.on('console', (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on('pageerror', (error) => complaints.push(`exception: ${error.message}`));
    page.on('request', (request) => {
      if (request.url() !== url) complaints.push(`request: ${request.url()}`);
    });
    page.on('dialog', (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    await page.goto(url);
    return { page, complaints };
  }

  async close(): Promise<void> {
    await this.#browser.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
