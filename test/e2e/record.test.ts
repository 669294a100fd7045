// A trace into a file, and out of it again: the same report, whatever ends the writer.
import { execFile, execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { ReportDiff } from '../../src/report/diff.ts';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { Puppet } from '../host/puppet.ts';
import { FileBrowser, hasChromium } from './browser.ts';
import { Program, until } from './programs.ts';
import { MAIN, Socktrace, socktrace } from './socktrace.ts';

const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];
const SERVICE = resolve(import.meta.dirname, '../../build/leaky-service');
const run = promisify(execFile);

/** The shortest session. */
const SESSION = {
  tool: { name: 'socktrace', version: '0' },
  host: { hostname: 'web7', bootId: 'b', kernel: '6', hooks: { set: 'fentry', refused: [], blindSpots: [] } },
  target: { pids: [], processes: [], follow: true },
  thresholds: { minAgeMs: 1, leakAgeMs: 1, idleLeakAgeMs: 1, leakCount: 1 },
  clock: { monotonicMs: 0, wallMs: 0 },
};

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'socktrace-test-'));
});
afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
});
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
function newPath(suffix = '.ndjson'): string {
  files += 1;
  return join(directory, `${files}${suffix}`);
}

async function recording(pid: number | string, path: string, ...args: string[]): Promise<Socktrace> {
  const running = Socktrace.start(['record', '--pid', String(pid), '-o', path, ...SHORT, ...args]);
  await running.said(/^recording /m);
  return running;
}

function countLines(path: string, type: string): number {
  if (!existsSync(path)) return 0;
  return readFileSync(path, 'utf8').split(`{"type":"${type}"`).length - 1;
}

async function reported(...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await socktrace('report', '--json', ...args);
  expect(code, stderr).toBe(0);
  return JSON.parse(stdout) as Report;
}

describe('a service that leaks', () => {
  let path: string;
  let packed: string;
  let live: string;

  beforeAll(async () => {
    path = newPath();
    packed = newPath('.ndjson.gz');
    // It leaks from then on: what it had before would be of unknown origin, and more of it the later the traces begin.
    await using service = Program.start(SERVICE, 'incident', '--rate', '40', '--lifetime', '60', '--start-paused');
    const pid = await service.said(/^ready pid=(\d+)/m);
    const compressed = Socktrace.start(['record', '--pid', pid, '-o', packed, ...SHORT, '--json']);
    await compressed.said(/^recording /m);
    const running = await recording(pid, path, '--json');
    process.kill(Number(pid), 'SIGUSR2');
    // Holders are told by walks, a second of the host by a sample.
    await until(
      'two walks and some suspects in the file',
      () => countLines(path, 'holders') >= 2 && countLines(path, 'socket') > 40,
    );
    running.child.kill('SIGINT');
    compressed.child.kill('SIGINT');
    const { stdout, stderr, code } = await running.finished();
    expect(code).toBe(0);
    expect(stderr).toMatch(/recorded [\d,]+ lines, [\d.]+ kB, to .*\n\nNEXT\n {2}node \S*dist\/cli\/main\.js report /);
    live = stdout;
    const other = await compressed.finished();
    expect(await socktrace('report', '--json', packed)).toMatchObject({ stdout: other.stdout, stderr: '' });
  });

  it('is replayed to the report that the live session printed, byte for byte', async () => {
    const { stdout, stderr, code } = await socktrace('report', path, '--json');
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expect(stdout).toBe(live);
    const report = JSON.parse(live) as Report;
    expect(report.verdict.is).toBe('leak');
    expect(report.callPaths.status).toBe('measured');
  });

  it('is recorded for its owner only, in whole members when compressed', () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(packed).mode & 0o777).toBe(0o600);
    const text = gunzipSync(readFileSync(packed)).toString('utf8');
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/^\{"type":"end"/);
  });

  it('is told in every format', async () => {
    const text = await socktrace('report', path);
    expect(text.stdout).toMatch(
      /^LEAK {2}leaky-service\[\d+\] holds [\d,]+ sockets (left open after bind\(\) failed|bound and never used)/,
    );
    const folded = await socktrace('report', path, '--format', 'folded');
    expect(folded.stdout).toMatch(/^leaky-service;.*;main;.*;open_report_session;reserve_data_port;\S+ \d+$/m);
    const speedscope = newPath('.json');
    expect(await socktrace('report', path, '--format', 'speedscope', '-o', speedscope)).toMatchObject({
      code: 0,
      stdout: '',
    });
    expect(JSON.parse(readFileSync(speedscope, 'utf8'))).toMatchObject({ profiles: [{ name: 'sockets' }, {}, {}] });
    const pprof = newPath('.pb.gz');
    expect(await socktrace('report', path, '--format', 'pprof', '-o', pprof)).toMatchObject({ code: 0, stdout: '' });
    expect(gunzipSync(readFileSync(pprof)).includes('reserve_data_port')).toBe(true);
  });

  it.each([
    ['.html', /^<!doctype html>/i],
    ['.json', /^\{\s*"schemaVersion"/],
    ['.speedscope.json', /"\$schema": *"https:\/\/www\.speedscope\.app/],
    ['.folded', /^leaky-service;/m],
    ['.txt', /^LEAK {2}leaky-service/],
  ])('is told in the format that the ending %s is of', async (ending, expected) => {
    const file = newPath(ending);
    expect(await socktrace('report', path, '-o', file)).toMatchObject({ code: 0, stdout: '' });
    expect(readFileSync(file, 'utf8')).toMatch(expected);
  });

  it('is told in the format that was asked for, whatever the file is called', async () => {
    const file = newPath('.html');
    await socktrace('report', path, '--format', 'text', '-o', file);
    expect(readFileSync(file, 'utf8')).toMatch(/^LEAK {2}leaky-service/);
    const profile = newPath('.pb.gz');
    await socktrace('report', path, '-o', profile);
    expect(gunzipSync(readFileSync(profile)).includes('reserve_data_port')).toBe(true);
  });

  it('is shown by a browser', async (context) => {
    if (!hasChromium()) notRun(context, 'chromium is not installed');
    const file = newPath('.html');
    expect(await socktrace('report', path, '--format', 'html', '-o', file)).toMatchObject({ code: 0, stdout: '' });
    const browser = await FileBrowser.launch();
    try {
      const { page, complaints } = await browser.open(readFileSync(file, 'utf8'));
      expect(await page.locator('#verdict h1').innerText()).toMatch(
        /^LEAK leaky-service\[\d+\] holds [\d,]+ leaked sockets/,
      );
      expect(await page.locator('#verdict').innerText()).toContain('reserve_data_port');
      const { findings } = JSON.parse(live) as Report;
      const counts = await page.locator('#findings tr[data-row] td:nth-child(2)').allInnerTexts();
      expect(counts.map((text) => Number(text.replaceAll(',', '')))).toEqual(findings.map(({ count }) => count));
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });

  it('is reported without root and without the addon', async () => {
    const open = newPath();
    copyFileSync(path, open);
    chmodSync(open, 0o644);
    chmodSync(directory, 0o755);
    const build = resolve(import.meta.dirname, '../../build');
    const hidden = ['unshare', '--mount', 'sh', '-c', `mount -t tmpfs none '${build}' && exec "$@"`, 'sh'];
    const plain = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { stdout, code } = await Socktrace.startUnder([...hidden, ...plain], ['report', '--json', open]).finished();
    expect(code).toBe(0);
    expect(stdout).toBe(live);
  });

  it('in two recordings is one report that names them, and no difference', async () => {
    const report = await reported(path, packed);
    expect(new Set(report.findings.map(({ source }) => source))).toEqual(
      new Set([path, packed].map((file) => file.replace(/^.*\//, ''))),
    );
    const { stderr } = await socktrace('report', path, packed);
    expect(stderr).toContain('counted twice');
    const copy = newPath();
    copyFileSync(path, copy);
    const { stdout } = await socktrace('report', '--diff', '--json', path, copy);
    const diff = JSON.parse(stdout) as ReportDiff;
    expect(new Set(diff.findings.map(({ change }) => change))).toEqual(new Set(['unchanged']));
    expect(diff.notes).toEqual([]);
    expect(await socktrace('report', '--fail-on-leak', path)).toMatchObject({ code: 10 });
    expect(await socktrace('report', '--fail-on-leak', path, packed)).toMatchObject({ code: 10 });
    expect(await socktrace('report', '--fail-on-leak', '--diff', path, copy)).toMatchObject({ code: 0, stderr: '' });
  });

  it('is reported in part', async () => {
    const whole = JSON.parse(live) as Report;
    const end = await reported(path, '--since', '1s');
    expect(end.window.durationMs).toBeLessThan(whole.window.durationMs);
    expect(end.window.endedAt).toBe(whole.window.endedAt);
    const start = await reported(path, '--until', whole.window.startedAt.replace('Z', '+00:00'));
    expect(start.window.durationMs).toBeLessThan(whole.window.durationMs);
    const lateMs = Math.floor(Date.parse(whole.window.endedAt) / 1_000) * 1_000;
    const inTokyo = new Date(lateMs + 9 * 3_600_000).toISOString().slice(11, 19);
    const args = ['report', path, '--json', '--until', inTokyo];
    const asOf = await Socktrace.start(args, { env: { ...process.env, TZ: 'Asia/Tokyo' } }).finished();
    expect(asOf).toEqual(await socktrace('report', path, '--json', '--until', new Date(lateMs).toISOString()));
    expect(asOf.code).toBe(0);
    const hence = new Date(lateMs + 6 * 3_600_000).toISOString().slice(11, 16);
    expect(await socktrace('report', path, '--since', `${hence}Z`)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`--since ${hence}Z: ${path} has no such time between ${whole.window.startedAt}`),
    });
    expect(await socktrace('report', path, '--since', 'yesterday')).toMatchObject({ code: 2 });
    expect(await socktrace('report', path, '--until', '2020-01-01T00:00:00Z')).toMatchObject({ code: 2 });
  });
});

it('kill -9: what was recorded until then is reported, and that it was not closed', async () => {
  await using puppet = await Puppet.start({ netns: true });
  const path = newPath();
  const running = await recording(puppet.pid, path);
  await puppet.command('open g v4 12');
  await until('the sockets in the file', () => countLines(path, 'socket') === 12);
  // The ticks after them make them old enough.
  const ticks = countLines(path, 'tick');
  await until('half a second more in the file', () => countLines(path, 'tick') > ticks + 10);
  running.child.kill('SIGKILL');
  await running.finished();
  const { stdout, stderr, code } = await socktrace('report', '--json', path);
  expect(code).toBe(0);
  expect(stderr).toContain('was not closed');
  const report = JSON.parse(stdout) as Report;
  expect(report.findings).toMatchObject([{ kind: 'unused', count: 12, leak: true }]);
});

it('kill -9 as soon as it says that it records: there is a recording', async () => {
  await using puppet = await Puppet.start({ netns: true });
  const path = newPath();
  const running = await recording(puppet.pid, path);
  running.child.kill('SIGKILL');
  await running.finished();
  expect(await socktrace('report', path)).toMatchObject({ code: 0, stderr: expect.stringContaining('was not closed') });
});

it.each([['SIGHUP'], ['SIGTERM'], ['SIGHUP', 'SIGHUP', 'SIGHUP']] as const)(
  '%s %s %s: closed as by Ctrl-C',
  async (...signals) => {
    await using puppet = await Puppet.start({ netns: true });
    const path = newPath();
    const running = await recording(puppet.pid, path);
    for (const signal of signals) if (signal !== undefined) running.child.kill(signal);
    const { code, stderr } = await running.finished();
    expect(stderr).toContain('(asked to stop)');
    expect(code).toBe(0);
    expect(await socktrace('report', path)).toMatchObject({ code: 0, stderr: '' });
  },
);

it('a terminal that goes: closed all the same', async () => {
  await using puppet = await Puppet.start({ netns: true });
  const path = newPath();
  const command = [process.execPath, MAIN, 'record', '--pid', puppet.pid, '-o', path].join(' ');
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: 'ignore' });
  await until('the first lines', () => countLines(path, 'tick') > 0);
  terminal.kill('SIGKILL');
  await until('the last line', () => countLines(path, 'end') === 1);
  expect(await socktrace('report', path)).toMatchObject({ code: 0, stderr: '' });
});

describe('under strace', () => {
  const injected = (path: string, ...inject: string[]): Socktrace =>
    Socktrace.startUnder(
      ['strace', '-f', '-qq', '-P', path, ...inject],
      ['record', '--pid', String(process.pid), '-o', path, '--duration', '2s', ...SHORT],
    );
  const needsStrace = (context: TestContext): void => {
    try {
      execFileSync('strace', ['--version'], { stdio: 'ignore' });
    } catch {
      notRun(context, 'strace is not installed');
    }
  };

  it('everything that is written is synchronized, and so is the name', async (context) => {
    needsStrace(context);
    const [path, log] = [newPath('.ndjson.gz'), newPath('.strace')];
    const { code } = await injected(path, '-P', directory, '-e', 'write,fdatasync,fsync,close', '-o', log).finished();
    expect(code).toBe(0);
    const calls = readFileSync(log, 'utf8').match(/(?<= )(?:write|fdatasync|fsync|close)(?=\()/g) ?? [];
    // Of the directory, first.
    expect(calls.slice(0, 2)).toEqual(['fsync', 'close']);
    expect(calls.filter((call) => call === 'fdatasync').length).toBeGreaterThan(2);
    expect(calls.slice(-2)).toEqual(['fdatasync', 'close']);
    calls.forEach((call, i) => {
      if (call === 'write') expect(calls.slice(i + 1).find((next) => next !== 'write')).toBe('fdatasync');
    });
  });

  it.for(['write', 'fdatasync', 'close'])(
    '%s() that fails: said, exit 1, and the report comes',
    async (call, context) => {
      needsStrace(context);
      const path = newPath();
      const { code, stderr, stdout } = await injected(
        path,
        '-o',
        '/dev/null',
        '-e',
        `inject=${call}:error=EIO`,
      ).finished();
      expect(stderr).toMatch(/the recording broke off: .*EIO/);
      expect(stdout).toContain('ACCOUNTS');
      expect(code).toBe(1);
    },
  );
});

it('a full disk: said, exit 1, the report comes all the same, and what was written is read', async () => {
  await using puppet = await Puppet.start({ netns: true });
  const small = mkdtempSync(join(tmpdir(), 'socktrace-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'none', small]);
  try {
    const path = join(small, 'leak.ndjson');
    const running = await recording(puppet.pid, path);
    await puppet.command('open g v4 4000');
    const { code, stdout, stderr } = await running.finished();
    expect(code).toBe(1);
    expect(stderr).toMatch(/the recording broke off: .*ENOSPC.* can be read/);
    expect(stdout).toContain('ACCOUNTS');
    expect(stdout).toMatch(/4,000 sockets never used/);
    const replayed = await socktrace('report', path);
    expect(replayed.code).toBe(0);
    expect(replayed.stderr).toContain('was not closed');
    expect(replayed.stdout).toMatch(/[1-9][\d,]* sockets? never used|NOT KNOWN/);
  } finally {
    execFileSync('umount', [small]);
    rmSync(small, { recursive: true });
  }
});

it('an output that cannot be written: said, exit 1', async () => {
  const path = newPath();
  const lines = [
    { type: 'recording', version: 1, tool: { name: 'socktrace', version: '0' } },
    { type: 'session', session: SESSION },
  ];
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const full = openSync('/dev/full', 'w');
  const running = Socktrace.start(['report', path], { stdio: ['ignore', full, 'pipe'] });
  const { code, stderr } = await running.finished();
  closeSync(full);
  expect(stderr).toContain('ENOSPC');
  expect(code).toBe(1);
});

it('--max-size: stops by itself, says so, exit 0', async () => {
  await using puppet = await Puppet.start({ netns: true });
  const path = newPath();
  const running = await recording(puppet.pid, path, '--max-size', '200k');
  await puppet.command('open g v4 1000');
  const { code, stderr } = await running.finished();
  expect(code).toBe(0);
  expect(stderr).toContain('(the file has reached --max-size 200 kB)');
  const { findings } = await reported(path);
  expect(findings.reduce((sum, { count }) => sum + count, 0)).toBe(1_000);
});

describe('the file', () => {
  it('that exists is not overwritten, unless by -f', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const path = newPath();
    writeFileSync(path, 'mine');
    const refused = await socktrace('record', '--pid', String(puppet.pid), '-o', path);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('exists: -f replaces it');
    expect(readFileSync(path, 'utf8')).toBe('mine');
    const forced = await socktrace('record', '--pid', String(puppet.pid), '-o', path, '-f', '--duration', '300ms');
    expect(forced.code).toBe(0);
    const whole = readFileSync(path, 'utf8');
    const own = await socktrace('report', path, '-o', path, '-f');
    expect(own).toMatchObject({ code: 2, stdout: '' });
    expect(own.stderr).toContain('is the recording itself');
    expect(readFileSync(path, 'utf8')).toBe(whole);
    expect((await reported(path)).target.pids).toEqual([puppet.pid]);
  });

  it('is not replaced by a trace that cannot begin', async () => {
    const path = newPath();
    writeFileSync(path, 'mine');
    expect(await socktrace('record', '--pid', '4194303', '-o', path, '-f')).toMatchObject({ code: 2 });
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });

  it.each([{ force: [] }, { force: ['-f'] }])('is no symbolic link, whatever $force', async ({ force }) => {
    await using puppet = await Puppet.start({ netns: true });
    const [path, link] = [newPath(), newPath()];
    writeFileSync(path, 'mine');
    symlinkSync(path, link);
    const { code, stderr } = await socktrace('record', '--pid', String(puppet.pid), '-o', link, ...force);
    expect(code).toBe(2);
    expect(stderr).toContain('is a symbolic link');
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });
});

describe('bad input', () => {
  it.each([
    { args: ['record', '-o', 'x'], says: /no process given/ },
    { args: ['record', '--pid', '1'], says: /no file given/ },
    { args: ['record', '--pid', '1', '-o', '/tmp', '-f'], says: /exists and is no file/ },
    { args: ['record', '--pid', '1', '-o', 'x', '--max-size', 'much'], says: /a size is a number/ },
    { args: ['report'], says: /missing required argument/ },
    { args: ['report', '/nonexistent'], says: /there is no file \/nonexistent/ },
    { args: ['report', '/etc/hostname'], says: /is no recording/ },
    { args: ['report', '/tmp'], says: /\/tmp is no file/ },
    { args: ['report', '--diff', '/etc/hostname'], says: /--diff compares two/ },
    { args: ['report', '/etc/hostname', '--format', 'magic'], says: /Allowed choices are text/ },
  ])('$args: exit 2, in words', async ({ args, says }) => {
    const { code, stderr, stdout } = await socktrace(...args);
    expect(stderr).toMatch(says);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

describe('a recording that is made to break its reader', () => {
  const head = [
    JSON.stringify({ type: 'recording', version: 1, tool: SESSION.tool }),
    JSON.stringify({ type: 'session', session: SESSION }),
  ];

  it('by what it unfolds to: refused before the memory is used up', { timeout: 180_000 }, async () => {
    const path = newPath('.ndjson.gz');
    const unknown = { status: 'unavailable', reason: 'x' };
    const members = Array.from({ length: 60 }, (_, i) => {
      const facts = {
        ...{ id: `b:${i}:1`, pid: i, parentPid: null, comm: 'x'.repeat(20 << 20), exe: unknown, cmdline: unknown },
        ...{ namespacePids: unknown, startTime: unknown, unit: unknown, container: unknown, netns: unknown },
        exitedMs: null,
      };
      return gzipSync(`${JSON.stringify({ type: 'process', facts, activity: unknown })}\n`);
    });
    writeFileSync(path, Buffer.concat([gzipSync(`${head.join('\n')}\n`), ...members]));
    expect(statSync(path).size).toBeLessThan(2_000_000);
    const env = { ...process.env, NODE_OPTIONS: '--max-old-space-size=400' };
    const { code, stdout, stderr } = await Socktrace.start(['report', path], { env }).finished();
    expect(stderr).toMatch(/holds more than fits into [\d.]+ MB of memory: NODE_OPTIONS=/);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it.each(['json', 'html'])('by objects within objects, as %s: refused in words', async (format) => {
    const path = newPath();
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
    writeFileSync(path, `${head.join('\n').replace('"hostname"', `"deep":${deep},"hostname"`)}\n`);
    const { code, stdout, stderr } = await socktrace('report', path, '--format', format);
    expect(stderr).toContain('too much in it');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
});

it('on a terminal: a long reading shows how far it is, on stderr', async () => {
  const path = newPath();
  const ticks = Array.from({ length: 2_000_000 }, (_, i) => `{"type":"tick","atMs":${i}}`);
  const head = [
    { type: 'recording', version: 1, tool: SESSION.tool },
    { type: 'session', session: SESSION },
  ];
  writeFileSync(path, [...head.map((line) => JSON.stringify(line)), ...ticks, ''].join('\n'));
  const out = newPath('.txt');
  const { stdout } = await run('script', ['-qec', `${process.execPath} ${MAIN} report ${path} > ${out}`, '/dev/null']);
  expect(stdout).toMatch(/reading \[#+\.+\] \d+%/);
  expect(readFileSync(out, 'utf8')).toContain('web7');
});
