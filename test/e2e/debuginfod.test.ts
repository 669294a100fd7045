// Lines from debuginfod servers: Debian's own, and servers and fetchers that lie, hang and send garbage.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CallFrame, LedgerInput } from '../../src/ledger/types.ts';
import type { Report, ReportCallPath } from '../../src/report/types.ts';
import { freePort, Program, until } from './programs.ts';
import { type Finished, Socktrace, socktrace } from './socktrace.ts';

const BUILD = resolve(import.meta.dirname, '../../build');
const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3', '--ndjson'];
const SOCKETS = 5;
/** Functions of the program's that lead there, innermost first. */
const WAY = ['shared_open', 'shared_middle', 'shared_outer', 'first_way'];

let folder: string;
let stripped: string;
let debugFile: Buffer;

/** A program without debugging information, of which there is some elsewhere. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'socktrace-lines-'));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, 'served'));
  stripped = join(folder, 'service');
  copyFileSync(join(BUILD, 'code-paths'), stripped);
  execFileSync('objcopy', ['--only-keep-debug', stripped, join(folder, 'served/service.debug')]);
  execFileSync('strip', [stripped]);
  debugFile = readFileSync(join(folder, 'served/service.debug'));
});

afterAll(() => rmSync(folder, { recursive: true }));

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
});

interface Traced extends Finished {
  report: Report;
  /** of the open that leaks */
  path: ReportCallPath;
}

/** In place of /tmp: a socktrace that is killed cannot remove what it has made there. */
function temporaryFolder(): string {
  const made = mkdtempSync(join(folder, 'tmp-'));
  chmodSync(made, 0o755);
  return made;
}

/** What a trace says of the program. Whatever it makes in its folder for temporary files must be gone at the end. */
async function traced(
  env: NodeJS.ProcessEnv,
  args: string[],
  before: () => Promise<void> = async () => {},
): Promise<Traced> {
  const temporary = temporaryFolder();
  await using program = Program.start(stripped);
  const running = Socktrace.start(['--pid', String(program.pid), ...SHORT, ...args], {
    env: { ...process.env, TMPDIR: temporary, ...env },
  });
  await running.tracing();
  await program.tell(`both ${SOCKETS}`);
  await until('all suspects', () => suspectsOf(running.stdout) === 2 * SOCKETS);
  await before();
  running.child.kill('SIGINT');
  const finished = await running.finished();
  expect(finished.stderr).not.toContain('internal error');
  expect(finished.code).toBe(0);
  const { report } = JSON.parse(finished.stdout.trimEnd().split('\n').at(-1) ?? '') as { report: Report };
  expect(report.findings.reduce((sum, { count }) => sum + count, 0)).toBe(2 * SOCKETS);
  expect(readdirSync(temporary)).toEqual([]);
  return { ...finished, report, path: leaky(report) };
}

/** Sockets that were told of, in whole lines. */
function suspectsOf(stdout: string): number {
  const lines = stdout.split('\n').slice(0, -1);
  const told = lines.map((line) => JSON.parse(line) as LedgerInput);
  return new Set(told.flatMap((input) => (input.type === 'socket' ? [input.facts.id] : []))).size;
}

/** The path that opened the first of the findings, by the address of its functions. */
function leaky(report: Report): ReportCallPath {
  const ref = report.findings[0]?.openPath;
  const paths = report.callPaths.status === 'measured' ? report.callPaths.value : [];
  const path = ref?.status === 'resolved' ? paths.find(({ id }) => id === ref.id) : undefined;
  if (path === undefined) throw new Error(`no call path: ${JSON.stringify(report.findings)}`);
  return path;
}

function ownFrames({ frames }: ReportCallPath): CallFrame[] {
  return frames.filter(({ module }) => module === stripped);
}

/** The lines that the debugging information has for it, by another reader of it. */
function linesOf({ frames }: ReportCallPath): string[] {
  const calls = ownFrames({ frames } as ReportCallPath).map(({ offset }) => `0x${(BigInt(offset) - 1n).toString(16)}`);
  const args = ['-e', join(folder, 'served/service.debug'), ...calls];
  return execFileSync('addr2line', args, { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.replace(/ \(discriminator \d+\)/, ''));
}

const noteOf = ({ notes }: ReportCallPath): string | undefined => notes.find((note) => note.includes(' service'));

/** Debian's server, with the file that is to be found. */
async function debuginfod(): Promise<{ url: string; requests: () => Promise<number> }> {
  const port = await freePort();
  Program.start(
    'env',
    '-u',
    'DEBUGINFOD_URLS',
    'debuginfod',
    '-F',
    '-p',
    String(port),
    '-d',
    ':memory:',
    join(folder, 'served'),
  );
  const url = `http://127.0.0.1:${port}`;
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${name} `))
        ?.slice(name.length) ?? 0,
    );
  };
  await until('the server has read its files', () =>
    metric('found_debuginfo_total{source="files"}').then(
      (found) => found > 0,
      () => false,
    ),
  );
  return { url, requests: () => metric('http_requests_total{type="debuginfo"}') };
}

function unwinderOf({ child: { pid } }: Socktrace): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
  const unwinder = children.find((id) => readFileSync(`/proc/${id}/cmdline`, 'utf8').startsWith('socktrace-unwinder'));
  if (unwinder === undefined) throw new Error('socktrace has no unwinder');
  return unwinder;
}

/** A server of this process that does this with each request. */
class Liar {
  readonly #server: Server;
  requests = 0;
  closed = 0;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async that(answers: (response: ServerResponse) => void): Promise<Liar> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const liar = new Liar(server);
    server.on('request', (_, response) => {
      liar.requests += 1;
      response.once('close', () => (liar.closed += 1));
      answers(response);
    });
    return liar;
  }

  get env(): NodeJS.ProcessEnv {
    return { DEBUGINFOD_URLS: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((done) => this.#server.close(done));
  }
}

const giving = (bytes: Buffer) => Liar.that((response) => response.end(bytes));

/** A `debuginfod-find` that is this script. */
function fetcher(script: string): NodeJS.ProcessEnv {
  const bin = mkdtempSync(join(folder, 'bin-'));
  chmodSync(bin, 0o755);
  writeFileSync(join(bin, 'debuginfod-find'), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return { PATH: `${bin}:${process.env['PATH']}`, DEBUGINFOD_URLS: 'http://127.0.0.1:1' };
}

describe('debugging information from a server', () => {
  it('is not asked for without --debuginfod, also where servers are named', async () => {
    const server = await debuginfod();
    const { path } = await traced({ DEBUGINFOD_URLS: server.url }, []);
    const own = ownFrames(path);
    expect(own.length).toBeGreaterThan(WAY.length);
    expect(own.filter(({ line, function: name }) => line !== null || name !== null)).toEqual([]);
    expect(path.notes).toEqual([]);
    expect(await server.requests()).toBe(0);
  });

  it('gives functions, files and lines with it, those that addr2line finds', async () => {
    const server = await debuginfod();
    const { path } = await traced({ DEBUGINFOD_URLS: server.url }, ['--debuginfod']);
    const own = ownFrames(path);
    expect(own.map(({ function: name }) => name).slice(0, 3)).toEqual(WAY.slice(0, 3));
    const outer = own.slice(0, WAY.length + 1);
    expect(outer.map(({ file, line }) => `${file}:${line}`)).toEqual(linesOf(path).slice(0, WAY.length + 1));
    expect(outer.every(({ file }) => file?.endsWith('/code_paths.c'))).toBe(true);
    expect(noteOf(path)).toBeUndefined();
    expect(await server.requests()).toBeGreaterThan(0);
  });

  it('comes while the trace goes on', async () => {
    const server = await debuginfod();
    await using program = Program.start(stripped);
    const env = { ...process.env, TMPDIR: temporaryFolder(), DEBUGINFOD_URLS: server.url };
    const args = ['--pid', String(program.pid), '--min-age', '200ms', '--ndjson', '--debuginfod'];
    const running = Socktrace.start(args, { env });
    await running.tracing();
    await program.tell('both 1');
    await running.printed(/"function":"shared_open"[^}]*"line":\d+/);
    expect(running.child.exitCode).toBeNull();
  });

  it('is told to the next unwinder when one dies', async () => {
    const server = await debuginfod();
    await using program = Program.start(stripped);
    const env = { ...process.env, TMPDIR: temporaryFolder(), DEBUGINFOD_URLS: server.url };
    const args = ['--pid', String(program.pid), '--min-age', '200ms', '--ndjson', '--debuginfod'];
    const running = Socktrace.start(args, { env });
    await running.tracing();
    await program.tell('both 1');
    await running.printed(/"function":"shared_open"[^}]*"line":\d+/);
    const before = await server.requests();
    process.kill(unwinderOf(running), 'SIGKILL');
    await program.tell('bind 1');
    await running.printed(/"function":"open_and_bind"[^}]*"line":\d+/);
    expect(await server.requests()).toBe(before);
  });

  it('that no server has is said, and why', async () => {
    await using server = await Liar.that((response) => response.writeHead(404).end());
    const { path } = await traced(server.env, ['--debuginfod']);
    expect(noteOf(path)).toMatch(
      /^debuginfod: no lines of .*service.* \(Server query failed: No such file or directory\)$/,
    );
    expect(server.requests).toBeGreaterThan(0);
  });

  it('of another build is refused', async () => {
    const other = join(folder, 'other.debug');
    execFileSync('objcopy', ['--only-keep-debug', join(BUILD, 'puppet'), other]);
    await using server = await giving(readFileSync(other));
    const { path, report } = await traced(server.env, ['--debuginfod']);
    expect(noteOf(path)).toContain('no debugging information of this build: refused');
    expect(ownFrames(path).filter(({ line }) => line !== null)).toEqual([]);
    expect(report.loss.reasons.filter(({ code }) => code === 'unwinder-died')).toEqual([]);
  });

  it.each([
    ['no ELF file', () => Buffer.from('<html>sign in to the network</html>')],
    ['an ELF header, and noise', () => Buffer.concat([debugFile.subarray(0, 64), Buffer.alloc(64 << 10, 0xa5)])],
    ['half of the file', () => debugFile.subarray(0, debugFile.length / 2)],
    ['nothing', () => Buffer.alloc(0)],
  ])('that is garbage costs the lines, and no more: %s', async (_, bytes) => {
    await using server = await giving(bytes());
    const { path } = await traced(server.env, ['--debuginfod']);
    expect(noteOf(path)).toMatch(/^debuginfod: no lines of .*service/);
    expect(ownFrames(path).filter(({ line }) => line !== null)).toEqual([]);
  });

  it('of the right build with mangled DWARF leaves the trace and its counts whole', async () => {
    const mangled = Buffer.from(debugFile);
    // All but the headers of file and sections, and the build-id, which is in the first page.
    const sections = Number(mangled.readBigUInt64LE(40));
    for (let at = 4096 - 1; at > 1024; at -= 3) mangled.writeUInt8(mangled.readUInt8(at) ^ 0x5a, at);
    for (let at = 4096; at < sections - 1024; at += 7) mangled.writeUInt8(mangled.readUInt8(at) ^ 0xff, at);
    await using server = await giving(mangled);
    const { path } = await traced(server.env, ['--debuginfod']);
    expect(noteOf(path) ?? '').not.toContain('refused');
    expect(server.requests).toBeGreaterThan(0);
  });

  it('that does not come is not waited for at the end, and the fetcher goes', async () => {
    await using server = await Liar.that((response) => response.writeHead(200).write('never more than this'));
    const { path } = await traced(server.env, ['--debuginfod'], async () => {
      await until('a request', () => server.requests > 0);
    });
    expect(noteOf(path)).toContain('(no answer before the trace ended)');
    await until('the fetchers have gone', () => server.closed === server.requests);
  });
});

describe('the fetcher', () => {
  it('goes with all that it has made when a second Ctrl-C ends the trace at once', async () => {
    const temporary = temporaryFolder();
    await using server = await Liar.that((response) => response.writeHead(200).write('never more than this'));
    await using program = Program.start(stripped);
    const env = { ...process.env, ...server.env, TMPDIR: temporary };
    const running = Socktrace.start(['--pid', String(program.pid), ...SHORT, '--debuginfod'], { env });
    await running.tracing();
    await program.tell('both 1');
    await until('a request', () => server.requests > 0);
    expect(readdirSync(temporary)).toHaveLength(1);
    const tries = setInterval(() => running.child.kill('SIGINT'), 50);
    const { code } = await running.finished();
    clearInterval(tries);
    expect(code).toBe(130);
    expect(readdirSync(temporary)).toEqual([]);
    await until('the fetchers have gone', () => server.closed === server.requests);
  });

  it('is nobody, without capabilities, and knows little', async () => {
    const script = `
      status() { grep "^$1:" /proc/self/status | tr -d '\\n' | tr '\\t' ' '; }
      env=$(env | grep -v ^PWD= | sed 's/=.*//' | sort | tr '\\n' ' ')
      echo "$* | $(id -u) $(id -g) $(id -G) | $(status CapEff) | $(status CapInh) | $(status NoNewPrivs) | $env|" >&2
      exit 1`;
    const { path } = await traced({ ...fetcher(script), SECRET: 'no' }, ['--debuginfod']);
    const buildId = ownFrames(path)[0]?.buildId;
    const none = '0000000000000000';
    expect(path.notes.join('\n')).toContain(
      `debuginfo ${buildId} | 65534 65534 65534 | CapEff: ${none} | CapInh: ${none} | NoNewPrivs: 1 | DEBUGINFOD_CACHE_PATH DEBUGINFOD_URLS PATH |`,
    );
  });

  it.each([
    ['a symbolic link', 'ln -sf /etc/shadow "$DEBUGINFOD_CACHE_PATH/x"; echo "$DEBUGINFOD_CACHE_PATH/x"', 'ELOOP'],
    ['a pipe', 'mkfifo "$DEBUGINFOD_CACHE_PATH/x"; echo "$DEBUGINFOD_CACHE_PATH/x"', 'not a regular file'],
    ['a way out', 'echo "$DEBUGINFOD_CACHE_PATH/../../../../../../etc/shadow"', 'EXDEV'],
    ['a file elsewhere', 'echo /etc/shadow', 'names no file of its folder'],
    ['nothing', ':', 'names no file of its folder'],
  ])('that names %s is not followed', async (_, script, says) => {
    const { path } = await traced(fetcher(script), ['--debuginfod']);
    expect(noteOf(path)).toContain(says);
  });
});

describe('--debuginfod', () => {
  const pid = ['--pid', String(process.pid)];

  it('without servers says what to set', async () => {
    const running = Socktrace.start([...pid, '--debuginfod'], { env: { PATH: process.env['PATH'] } });
    expect(await running.finished()).toMatchObject({ code: 2, stderr: expect.stringContaining('set DEBUGINFOD_URLS') });
  });

  it('without the program that fetches says what to install', async () => {
    const env = { PATH: '/nowhere', DEBUGINFOD_URLS: 'http://127.0.0.1:1' };
    const running = Socktrace.start(['record', ...pid, '-o', join(folder, 'x.ndjson'), '--debuginfod'], { env });
    expect(await running.finished()).toMatchObject({ code: 2, stderr: expect.stringContaining('package debuginfod') });
  });

  it('makes no sense without call paths, or without a trace', async () => {
    expect((await socktrace(...pid, '--debuginfod', '--no-paths')).code).toBe(2);
    expect((await socktrace('--debuginfod')).code).toBe(2);
  });
});
