/**
 * Checks the layout of all C and C++ by clang-format, and what is not BPF by clang-tidy; `--fix` rewrites the layout
 * instead. The configurations are for version 14: another one's opinion is shown as "not run" rather than as a failure.
 */
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { capture, findProgram, root, say } from './lib/run.mjs';
import { filesUnder, hashOf, stampIsCurrent, writeStamp } from './lib/stamp.mjs';

export const wantedMajor = 14;

const isSource = (file) => /\.(c|cc|h)$/.test(file);

export function nativeSources() {
  return ['bpf', 'native', 'test'].flatMap((folder) => filesUnder(folder, isSource));
}

/** The right version of clang-format or clang-tidy under either name, else whichever there is. */
export function findClangTool(tool) {
  const found = [`${tool}-${wantedMajor}`, tool].flatMap((name) => {
    const path = findProgram(name);
    const version = path ? /version (\d+)/.exec(capture(path, ['--version']).stdout) : null;
    return version ? [{ path, major: Number(version[1]) }] : [];
  });
  return found.find(({ major }) => major === wantedMajor) ?? found[0] ?? null;
}

/** `status` is passed, failed or not-run. */
export function checkNativeLayout() {
  const tool = findClangTool('clang-format');
  if (tool === null) return { status: 'not-run', detail: `clang-format ${wantedMajor} is not installed` };
  const files = nativeSources();
  const { ok, output } = capture(tool.path, ['--style=file', '--dry-run', '-Werror', ...files]);
  if (ok) return { status: 'passed', detail: `${files.length} files` };
  if (tool.major !== wantedMajor) {
    const detail = `clang-format ${tool.major} lays code out differently from ${wantedMajor}, which is not installed`;
    return { status: 'not-run', detail };
  }
  return { status: 'failed', detail: `${output}Repair it with: npm run format` };
}

const tidyStamp = '.cache/clang-tidy.json';

/** What the build compiles, BPF apart: clang-tidy wants the flags. Headers are seen by way of those that include them. */
function compiledSources() {
  const commands = JSON.parse(readFileSync(join(root, 'build/compile_commands.json'), 'utf8'));
  return [...new Set(commands.map(({ file }) => file))].filter((file) => !file.includes('node_modules'));
}

/** `status` is passed, failed or not-run. What has passed before is not looked at again. */
export function checkNativeTidy() {
  const tool = findClangTool('clang-tidy');
  if (tool?.major !== wantedMajor) return { status: 'not-run', detail: `clang-tidy ${wantedMajor} is not installed` };
  if (!existsSync(join(root, 'build/compile_commands.json')))
    return { status: 'not-run', detail: 'there is no build/compile_commands.json: npm run setup' };
  const inputs = hashOf(['.clang-tidy', 'CMakeLists.txt', ...nativeSources()]);
  const files = compiledSources();
  if (stampIsCurrent(tidyStamp, inputs)) return { status: 'passed', detail: `${files.length} files, as before` };
  const args = ['-P', String(availableParallelism()), '-n', '1', tool.path, '-p', 'build', '--quiet'];
  const { ok, output, stdout } = capture('xargs', args, { input: files.join('\n') });
  if (!ok) return { status: 'failed', detail: stdout || output };
  writeStamp(tidyStamp, inputs, ['.clang-tidy']);
  return { status: 'passed', detail: `${files.length} files` };
}

function fix() {
  const tool = findClangTool('clang-format');
  if (tool?.major !== wantedMajor) {
    say(`clang-format ${wantedMajor} is not installed: nothing was rewritten`);
    return 1;
  }
  const { ok, output } = capture(tool.path, ['--style=file', '-i', ...nativeSources()]);
  if (!ok) say(output);
  return ok ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  if (process.argv.includes('--fix')) {
    process.exitCode = fix();
  } else {
    const results = Object.entries({ 'clang-format': checkNativeLayout(), 'clang-tidy': checkNativeTidy() });
    for (const [name, { status, detail }] of results) say(`${name}: ${status}: ${detail}`);
    process.exitCode = results.some(([, { status }]) => status === 'failed') ? 1 : 0;
  }
}
