/**
 * Checks the layout of all C and C++ by clang-format; `--fix` rewrites it instead. The configuration is for version
 * 14: another one's opinion is shown as "not run" rather than as a failure.
 */
import { pathToFileURL } from 'node:url';
import { capture, findProgram, say } from './lib/run.mjs';
import { filesUnder } from './lib/stamp.mjs';

export const wantedMajor = 14;

const isSource = (file) => /\.(c|cc|h)$/.test(file);

export function nativeSources() {
  return ['bpf', 'native', 'test'].flatMap((folder) => filesUnder(folder, isSource));
}

/** The right version under either name, else whichever there is. */
export function findClangFormat() {
  const found = [`clang-format-${wantedMajor}`, 'clang-format'].flatMap((name) => {
    const path = findProgram(name);
    const version = path ? /version (\d+)/.exec(capture(path, ['--version']).stdout) : null;
    return version ? [{ path, major: Number(version[1]) }] : [];
  });
  return found.find(({ major }) => major === wantedMajor) ?? found[0] ?? null;
}

/** `status` is passed, failed or not-run. */
export function checkNativeLayout() {
  const tool = findClangFormat();
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

function fix() {
  const tool = findClangFormat();
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
    const { status, detail } = checkNativeLayout();
    say(`clang-format: ${status}: ${detail}`);
    process.exitCode = status === 'failed' ? 1 : 0;
  }
}
