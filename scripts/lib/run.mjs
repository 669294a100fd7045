/** Small helpers to run other programs. Messages go to stderr, so that stdout stays free for data. */
import { spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const isRoot = process.getuid?.() === 0;

/** A failure that is explained to the user without a stack trace. */
export class SetupError extends Error {}

export function say(message) {
  process.stderr.write(`${message}\n`);
}

/** The path of a program, or null. Also looks where root's tools are, which a user's PATH often leaves out. */
export function findProgram(name) {
  const folders = (process.env.PATH ?? '').split(delimiter).concat('/usr/local/sbin', '/usr/sbin', '/sbin');
  for (const folder of folders) {
    const path = join(folder || '.', name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return null;
}

/** Runs a program quietly; `output` is stdout and stderr. */
export function capture(program, args, options = {}) {
  const result = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    ...options,
  });
  return {
    ok: result.status === 0,
    status: result.status,
    stdout: result.stdout ?? '',
    output: `${result.stdout ?? ''}${result.stderr ?? ''}${result.error ? `${result.error.message}\n` : ''}`,
  };
}

/** Runs a long step. Its output is shown only when it fails: a build's chatter would hide the line that matters. */
export function runStep(program, args, options = {}) {
  const log = join(root, '.cache', `step-${process.pid}.log`);
  mkdirSync(dirname(log), { recursive: true });
  const file = openSync(log, 'w');
  try {
    const result = spawnSync(program, args, {
      cwd: root,
      stdio: ['ignore', file, file],
      env: { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()), ...process.env, ...options.env },
    });
    const output = readFileSync(log, 'utf8') + (result.error ? `${result.error.message}\n` : '');
    return { ok: result.status === 0, signal: result.signal, output };
  } finally {
    closeSync(file);
    rmSync(log, { force: true });
  }
}
