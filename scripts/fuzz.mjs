/**
 * `npm run fuzz -- TARGET [--seconds N]`: builds libFuzzer's program with clang and gives TARGET (or `all`, one after the
 * other) inputs for so long, 60 s when it is not said. Starts from the seeds and regressions in test/fuzz/corpus; what it
 * finds on the way stays in .cache/fuzz-corpus. Ends with 1 when an input crashed, hung or took too much memory, and says
 * where that input is.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { argumentsOf } from './lib/arguments.mjs';
import { findProgram, root, runStep, say } from './lib/run.mjs';
import { clangNames } from './lib/toolchain.mjs';

const build = join(root, '.cache/fuzz');
const corpus = join(root, 'test/fuzz/corpus');
// libdw keeps the units of a file, libFuzzer what it has learnt.
const limits = ['-timeout=10', '-rss_limit_mb=2048', '-malloc_limit_mb=512', '-max_len=16384', '-use_value_profile=1'];

function buildFuzzer() {
  const clang = clangNames.find((name) => findProgram(name));
  if (clang === undefined) {
    say(`fuzz: there is no clang: none of ${clangNames.join(', ')}`);
    return false;
  }
  const settings = [
    `-DCMAKE_C_COMPILER=${clang}`,
    `-DCMAKE_CXX_COMPILER=${clang.replace('clang', 'clang++')}`,
    '-DCMAKE_BUILD_TYPE=RelWithDebInfo',
    '-DSOCKTRACE_FUZZ=ON',
  ];
  const steps = [
    ['-S', root, '-B', build, ...settings],
    ['--build', build, '--target', 'socktrace-fuzz'],
  ];
  return steps.every((args) => {
    const { ok, output } = runStep('cmake', args);
    if (!ok) say(`${output}fuzz: the build failed; libFuzzer is in libclang-rt-*-dev on Debian`);
    return ok;
  });
}

function fuzz(target, seconds) {
  const learnt = join(root, '.cache/fuzz-corpus', target);
  const findings = join(root, '.cache/fuzz-findings');
  for (const folder of [learnt, findings]) mkdirSync(folder, { recursive: true });
  say(`fuzz: ${target} for ${seconds} s`);
  const args = [learnt, join(corpus, target), ...limits, `-max_total_time=${seconds}`, '-print_final_stats=1'];
  const { status } = spawnSync(join(build, 'socktrace-fuzz'), [...args, `-artifact_prefix=${findings}/${target}-`], {
    cwd: root,
    stdio: 'inherit',
    env: { PATH: process.env.PATH, SOCKTRACE_FUZZ_TARGET: target },
  });
  if (status === 0) return true;
  say(`fuzz: ${target} failed; keep its input, once it is mended, as test/fuzz/corpus/${target}/regression-WHAT`);
  return false;
}

function main() {
  const known = readdirSync(corpus);
  const usage = `npm run fuzz -- TARGET... [--seconds N], where TARGET is all, ${known.join(', ')}\n`;
  const config = { options: { seconds: { type: 'string', default: '60' } }, allowPositionals: true };
  const { values, positionals } = argumentsOf(usage, config, (asked) => {
    const unknown = asked.positionals.find((target) => target !== 'all' && !known.includes(target));
    if (unknown !== undefined) throw new Error(`there is no target ${unknown}`);
    if (asked.positionals.length === 0) throw new Error('no target is named');
    if (!(Number(asked.values.seconds) >= 1)) throw new Error('--seconds is a number from 1 up');
  });
  const targets = positionals.includes('all') ? known : positionals;
  const seconds = Number(values.seconds);
  if (!buildFuzzer()) return 1;
  return targets.map((target) => fuzz(target, seconds)).every((ok) => ok) ? 0 : 1;
}

process.exitCode = main();
