/**
 * Bundles what runs in the reader's browser (src/render/html/page) to dist/render/html/page/main.js and main.css, with
 * the licence of every package that went into it: the report is handed on, and they ask for that.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { root } from './lib/run.mjs';

const options = {
  absWorkingDir: root,
  entryPoints: ['src/render/html/page/main.ts'],
  outdir: 'dist/render/html/page',
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  charset: 'utf8',
  legalComments: 'none',
  logLevel: 'warning',
  tsconfig: 'tsconfig.page.json',
};

/** Names of the packages that have a part in the bundle. */
function packagesIn({ inputs }) {
  const names = Object.keys(inputs).flatMap((path) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? []);
  return [...new Set(names)].sort();
}

function licenceOf(name) {
  const folder = join(root, 'node_modules', name);
  const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`${name} has no licence file to put into the report`);
  return { name: `${name} ${version} (${license})`, text: readFileSync(join(folder, file), 'utf8').trim() };
}

/** Packages under the same words share them. */
function notices(names) {
  const byText = new Map();
  for (const { name, text } of names.map(licenceOf)) byText.set(text, [...(byText.get(text) ?? []), name]);
  const comment = [...byText].map(([text, all]) => `${all.join(', ')}\n\n${text}`).join('\n\n----\n\n');
  // It stands in a comment in a script in a page.
  if (/\*\/|<\/|<!--/.test(comment)) throw new Error('a licence would end the comment that it is put into');
  return `/*!\nsocktrace's report has in it:\n\n${comment}\n*/`;
}

const { metafile } = await build({ ...options, metafile: true, write: false });
await build({ ...options, banner: { js: notices(packagesIn(metafile)) } });
for (const file of ['main.js', 'main.css']) {
  if (!existsSync(join(root, options.outdir, file))) throw new Error(`esbuild made no ${file}`);
}
