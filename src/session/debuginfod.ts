/**
 * Fetches debugging information from debuginfod servers. What comes from a network is parsed by a program of its own, as a
 * user without privileges, which can write into one folder; who reads the file is not decided here.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { accessSync, chmodSync, chownSync, constants, lstatSync, mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

const TOOL = 'debuginfod-find';
const NOBODY = 65_534;
const AT_A_TIME = 3;
const PATIENCE_MS = 30_000;
const MOST_FETCHES = 200;
const MOST_FILE_BYTES = 1 << 30;
/** of all files together, as far as they are known when another one is asked for */
const MOST_BYTES = 4 * MOST_FILE_BYTES;
const MOST_SAID = 8_192;
/** What has been killed may be in the middle of making a file. */
const CLEAN_TRIES = 3;

/** Why this host can fetch nothing. */
export type FetchRefusal = 'no-servers' | 'no-tool';

/** A file inside of `folder`, where there may be anything; or why there is none, in words. */
export type Fetched = { ok: true; folder: string; path: string } | { ok: false; reason: string };

/** Null when it can. */
export function fetchRefusal(): FetchRefusal | null {
  if ((process.env['DEBUGINFOD_URLS'] ?? '').trim() === '') return 'no-servers';
  return hasFetcher() ? null : 'no-tool';
}

export function hasFetcher(): boolean {
  return isInstalled(TOOL);
}

function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export class Debuginfod {
  /** made when it is first needed */
  #folder: string | null = null;
  readonly #running = new Set<ChildProcess>();
  readonly #queue: (() => void)[] = [];
  #fetches = 0;
  #bytes = 0;
  #closed = false;
  /** An end by a second Ctrl-C leaves nothing behind either. */
  readonly #onExit = (): void => this.close();

  /** @param buildId hexadecimal */
  async fetch(buildId: string): Promise<Fetched> {
    if (!/^(?:[0-9a-f]{2}){4,32}$/.test(buildId)) return { ok: false, reason: 'its build-id is none' };
    if (this.#fetches >= MOST_FETCHES) return { ok: false, reason: `${MOST_FETCHES} were asked for already` };
    this.#fetches += 1;
    if (this.#running.size >= AT_A_TIME) await new Promise<void>((go) => this.#queue.push(go));
    try {
      if (this.#closed) return { ok: false, reason: 'the trace has ended' };
      if (this.#bytes >= MOST_BYTES) return { ok: false, reason: 'those fetched before take enough space' };
      return await this.#run(buildId);
    } finally {
      this.#queue.shift()?.();
    }
  }

  /** Ends what is under way, and removes the files. May be called again. */
  close(): void {
    this.#closed = true;
    for (const child of this.#running) child.kill('SIGKILL');
    for (const go of this.#queue.splice(0)) go();
    process.off('exit', this.#onExit);
    if (this.#folder === null) return;
    // By the same user: whatever it has put there, links too, leads no further than it may go itself.
    const cache = join(this.#folder, 'cache');
    for (let tries = 0; tries < CLEAN_TRIES && !removed(cache); tries++)
      spawnSync('find', [cache, '-mindepth', '1', '-delete'], { cwd: '/', stdio: 'ignore', ...nobody() });
    removed(this.#folder);
    this.#folder = null;
  }

  #cache(): string {
    if (this.#folder === null) {
      this.#folder = mkdtempSync(join(tmpdir(), 'socktrace-debuginfod-'));
      process.once('exit', this.#onExit);
      chmodSync(this.#folder, 0o711);
      const cache = join(this.#folder, 'cache');
      mkdirSync(cache, { mode: 0o700 });
      const { uid, gid } = nobody();
      if (uid !== undefined && gid !== undefined) chownSync(cache, uid, gid);
    }
    return join(this.#folder, 'cache');
  }

  async #run(buildId: string): Promise<Fetched> {
    const folder = this.#cache();
    const child = start(buildId, folder);
    this.#running.add(child);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, PATIENCE_MS);
    try {
      const { failure, stdout, stderr } = await outcome(child);
      if (isLate) return { ok: false, reason: `no answer within ${PATIENCE_MS / 1000} s` };
      if (failure !== null) return { ok: false, reason: lastLine(stderr) || failure };
      return this.#found(folder, stdout.trimEnd());
    } finally {
      clearTimeout(timer);
      this.#running.delete(child);
    }
  }

  #found(folder: string, file: string): Fetched {
    if (!file.startsWith(`${folder}/`)) return { ok: false, reason: `${TOOL} names no file of its folder` };
    this.#bytes += lstatSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return { ok: true, folder, path: file.slice(folder.length + 1) };
  }
}

function nobody(): { uid?: number; gid?: number } {
  // With a user, the supplementary groups go too.
  return process.geteuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
}

/** Without capabilities, of which the tracer may have been given some, and not for longer than the tracer lives. */
function start(buildId: string, cache: string): ChildProcess {
  const without = ['--no-new-privs', '--inh-caps=-all', '--ambient-caps=-all', '--pdeathsig=KILL'];
  const limits = ['prlimit', `--fsize=${MOST_FILE_BYTES}`, '--core=0'];
  return spawn('setpriv', [...without, ...limits, TOOL, 'debuginfo', buildId], {
    cwd: '/',
    env: {
      PATH: process.env['PATH'],
      DEBUGINFOD_URLS: process.env['DEBUGINFOD_URLS'],
      DEBUGINFOD_CACHE_PATH: cache,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...nobody(),
  });
}

interface Outcome {
  /** null: it went well */
  failure: string | null;
  stdout: string;
  stderr: string;
}

function outcome(child: ChildProcess): Promise<Outcome> {
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      said[stream] = (said[stream] + text).slice(0, MOST_SAID);
    });
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ ...said, failure: error.message }));
    child.once('close', (code, signal) => {
      resolve({ ...said, failure: code === 0 ? null : `${TOOL} ended with ${signal ?? `status ${code}`}` });
    });
  });
}

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

function removed(folder: string): boolean {
  try {
    rmdirSync(folder);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}
