/**
 * Bundles the command line, with the packages that it uses, into dist/cli/main.js, in place of what tsc made of
 * that file alone: to find, read and check each of some 200 modules took Node longer than to run them.
 */
import { build } from 'esbuild';
import { root } from './lib/run.mjs';

await build({
  absWorkingDir: root,
  entryPoints: ['src/cli/main.ts'],
  outfile: 'dist/cli/main.js',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20.11',
  charset: 'utf8',
  // Packages of the older kind ask for Node's modules so.
  banner: {
    js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
  },
  logLevel: 'warning',
});
