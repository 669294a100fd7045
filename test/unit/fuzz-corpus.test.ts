/** What fuzzing has found (test/fuzz/corpus), given again to what reads it: npm run fuzz looks for more. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const PROGRAM = join(ROOT, 'build/fuzz-replay');
const CORPUS = join(ROOT, 'test/fuzz/corpus');
/** test/fuzz/targets.cc */
const TARGETS = ['elf', 'from-helpers', 'go-table', 'lines', 'maps', 'perf-map', 'to-client', 'to-unwinder'];

it('has inputs for each target', () => {
  expect(readdirSync(CORPUS).sort()).toEqual(TARGETS);
});

it.each(TARGETS)('%s takes each of its inputs', (target) => {
  const files = readdirSync(join(CORPUS, target)).map((name) => join(CORPUS, target, name));
  const run = spawnSync(PROGRAM, [target, ...files], { encoding: 'utf8', timeout: 30_000 });
  // The last line is the file that ended it.
  expect({ ...run, stdout: run.stdout.trim().split('\n') }).toMatchObject({ status: 0, signal: null, stdout: files });
});

it('says so when there is no such target', () => {
  expect(spawnSync(PROGRAM, ['nothing', 'file']).status).toBe(2);
});
