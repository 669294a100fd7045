/**
 * `npm run sanitize`: the native code under AddressSanitizer, UndefinedBehaviorSanitizer and LeakSanitizer. Builds a copy of
 * the checkout in .cache/sanitize, where build/ is the sanitized build; replays the fuzz corpora and the row protocol, and
 * runs the tests of the unwinder and, as root, of the addon inside of node. Ends with 1 when a sanitizer reported anything.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { capture, findProgram, isRoot, root, runStep, say } from './lib/run.mjs';
import { canaryIn, findingsOf } from './lib/sanitizer-reports.mjs';
import { setUpOrExplain } from './setup.mjs';

const copy = join(root, '.cache/sanitize');
const reports = join(copy, 'build/reports');
const built = (name) => join(copy, 'build', name);
const copied = ['bpf', 'native', 'scripts', 'src', 'test'];
const copiedFiles = ['CMakeLists.txt', 'package.json', 'tsconfig.json', 'vitest.config.ts'];

const inNode = ['kinds', 'call-paths', 'holders'].map((name) => `test/host/${name}.test.ts`);

function copyCheckout() {
  mkdirSync(copy, { recursive: true });
  for (const path of [...copied, ...copiedFiles]) {
    rmSync(join(copy, path), { recursive: true, force: true });
    // With their times: make builds what has changed.
    cpSync(join(root, path), join(copy, path), { recursive: true, preserveTimestamps: true });
  }
  if (!existsSync(join(copy, 'node_modules'))) symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
}

function build() {
  const settings = ['--config', 'RelWithDebInfo', '--CDSOCKTRACE_SANITIZE=ON', '--CDnapi_build_version=9'];
  const where = ['--directory', copy, '--out', join(copy, 'build')];
  const { ok, output } = runStep(join(root, 'node_modules/.bin/cmake-js'), ['compile', ...where, ...settings]);
  if (!ok) say(output);
  return ok;
}

function run(program, args, env = {}) {
  const { status, error } = spawnSync(program, args, { cwd: copy, stdio: 'inherit', env: { ...process.env, ...env } });
  if (error) say(error.message);
  return status === 0;
}

function replayCorpora() {
  const corpus = join(copy, 'test/fuzz/corpus');
  return readdirSync(corpus).every((target) => {
    const files = readdirSync(join(corpus, target)).map((name) => join(corpus, target, name));
    const { ok, output } = capture(built('fuzz-replay'), [target, ...files]);
    if (!ok) say(`sanitize: ${target} failed:\n${output.slice(-4000)}`);
    return ok;
  });
}

const vitest = (args, env) => run(join(root, 'node_modules/.bin/vitest'), ['run', ...args], env);

/** The runtimes must come before all other libraries of node. */
function runInNode() {
  const gcc = findProgram('gcc');
  const library = (name) => capture(gcc, [`-print-file-name=${name}`]).stdout.trim();
  const options = `log_path=${join(reports, 'node')}:print_stacktrace=1`;
  return vitest(['--config', 'test/sanitize/vitest.config.ts', ...inNode], {
    LD_PRELOAD: `${library('libasan.so')}:${library('libubsan.so')}`,
    ASAN_OPTIONS: `${options}:detect_leaks=1`,
    UBSAN_OPTIONS: options,
    // Node's own are many; findingsOf() tells whose a leak is.
    LSAN_OPTIONS: 'exitcode=0:use_unaligned=1',
  });
}

const steps = [
  { name: 'the fuzz corpora', run: replayCorpora },
  { name: 'the row protocol', run: () => run(built('protocol-interleave'), ['--runs', '50000']) },
  { name: 'the unwinder', needsRoot: true, run: () => vitest(['--project', 'host', 'test/host/unwinder']) },
  { name: 'the addon in node', needsRoot: true, run: runInNode },
];

function readReports() {
  const texts = readdirSync(reports).map((name) => readFileSync(join(reports, name), 'utf8'));
  for (const text of texts) for (const finding of findingsOf(text)) say(finding);
  return { findings: texts.flatMap(findingsOf).length, canaries: texts.filter(canaryIn).length };
}

async function main() {
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  copyCheckout();
  say('sanitize: building');
  if (!build()) return 1;
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports);
  // The unwinder writes there as nobody.
  chmodSync(reports, 0o1777);
  const results = steps.map(({ name, needsRoot, run: step }) => {
    if (needsRoot && !isRoot) return { name, word: 'NOT RUN (not root)' };
    return { name, word: step() ? 'passed' : 'FAILED' };
  });
  for (const { name, word } of results) say(`sanitize: ${name}: ${word}`);
  const { findings, canaries } = readReports();
  const looked = !isRoot || canaries > 0;
  if (!looked) say('sanitize: leaks of the addon were not looked for');
  say(`sanitize: ${findings} findings`);
  return findings === 0 && looked && results.every(({ word }) => word !== 'FAILED') ? 0 : 1;
}

process.exitCode = await main();
