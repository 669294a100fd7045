/**
 * `npm test`: sets up, checks layout, lint and types, then runs all tests. Arguments go to vitest:
 * `npm test -- test/unit/ledger`. The last line is "N passed, N failed[, N skipped]": the tests, and
 * each check that failed or was not run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture, root } from './lib/run.mjs';
import { ensureTestTools } from './lib/test-tools.mjs';
import { readVitestResult } from './lib/vitest-result.mjs';
import { checkNativeLayout, checkNativeTidy } from './lint-native.mjs';
import { setUpOrExplain } from './setup.mjs';

const bin = (name) => join(root, 'node_modules/.bin', name);
const suites = ['unit', 'host', 'e2e'];

function checkByProgram(program, args) {
  const { ok, output } = capture(bin(program), args);
  return ok ? { status: 'passed', detail: '' } : { status: 'failed', detail: output };
}

const checks = [
  { name: 'layout and lint of TypeScript and JavaScript (biome)', run: () => checkByProgram('biome', ['check', '.']) },
  { name: 'layout of C and C++ (clang-format)', run: checkNativeLayout },
  { name: 'lint of C and C++ (clang-tidy)', run: checkNativeTidy },
  { name: 'types (tsc)', run: () => checkByProgram('tsc', ['--noEmit']) },
  { name: 'types of the HTML page (tsc)', run: () => checkByProgram('tsc', ['-p', 'tsconfig.page.json']) },
];

const words = { passed: 'passed', failed: 'FAILED', 'not-run': 'NOT RUN' };

function show(name, { status, detail }) {
  console.log(`check ${words[status]}: ${name}${detail && status !== 'passed' ? `\n${detail}` : ''}`);
  return { name, status };
}

function runVitest(args) {
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-test-'));
  const file = join(folder, 'result.json');
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const { status } = spawnSync(bin('vitest'), ['run', ...reporters, ...args], { cwd: root, stdio: 'inherit' });
    return readVitestResult(file, status ?? 1);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A whole run in which a suite has no test at all says nothing about that suite, so it must not look like success. */
function checkSuites(ran) {
  return suites.flatMap((suite) => {
    if (ran.has(suite)) return [];
    const needsRoot = suite !== 'unit' && process.getuid() !== 0;
    const result = needsRoot
      ? { status: 'not-run', detail: 'not root' }
      : { status: 'failed', detail: `no test of test/${suite} was run` };
    return [show(`${suite} tests`, result)];
  });
}

function finish(tests, results) {
  const count = (status) => results.filter((result) => result.status === status).length;
  if (tests.problem) console.log(`tests FAILED: ${tests.problem}`);
  for (const { name, status } of results) if (status !== 'passed') console.log(`check ${words[status]}: ${name}`);
  const failed = tests.failed + count('failed');
  const skipped = tests.skipped + count('not-run');
  console.log(`${tests.passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return failed === 0 ? 0 : 1;
}

async function main(args) {
  const { code } = await setUpOrExplain();
  if (code !== 0) {
    console.log('tests NOT RUN: the set-up failed\n0 passed, 1 failed');
    return code;
  }
  const missing = ensureTestTools();
  for (const name of missing) console.log(`${name} is not installed: tests that need it are skipped`);
  const results = checks.map(({ name, run }) => show(name, run()));
  const tests = runVitest(args);
  if (args.length === 0) results.push(...checkSuites(tests.suites));
  return finish(tests, results);
}

process.exitCode = await main(process.argv.slice(2));
