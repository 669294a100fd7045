/** What `scripts/build-page.mjs` made: the page's program and its looks. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { packageFile } from '../../package-files.ts';

export interface Asset {
  text: string;
  /** for a Content-Security-Policy: `'sha256-...'` */
  hash: string;
}

let assets: { script: Asset; style: Asset } | null = null;

/** Read once. @throws Error when the page was not built */
export function pageAssets(): { script: Asset; style: Asset } {
  assets ??= { script: readAsset('main.js'), style: readAsset('main.css') };
  return assets;
}

function readAsset(name: string): Asset {
  const text = readFileSync(packageFile(`dist/render/html/page/${name}`), 'utf8');
  // Either would end the element that it is put into.
  if (/<\/(?:script|style)|<!--/i.test(text)) throw new Error(`${name} cannot stand in a page`);
  return { text, hash: `'sha256-${createHash('sha256').update(text).digest('base64')}'` };
}
