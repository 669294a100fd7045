// Everything that a traced process can name, named to harm who reads of it: no output obeys, hides or breaks.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Profile } from 'pprof-format';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { FileBrowser, hasChromium } from './browser.ts';
import { Program, until, works } from './programs.ts';
import { MAIN, Socktrace, socktrace } from './socktrace.ts';

/** Colours, a title, a cursor, the end of a script, an image that runs one, bidirectional and line controls, no UTF-8. */
const EVIL = Buffer.concat([
  Buffer.from('\x1b[66m\x1b]0;pwned\x07\b\r\u009b66mE\u202e\u2066\u2028\u200f\x7f'),
  Buffer.from('\n<img src=x onerror=alert(1)>"\'&;`$(id)\\%s'),
  Buffer.from([0xff, 0xc0, 0xaf, 0xed, 0xa0, 0x80]),
  Buffer.from('</script><script>alert(2)</script>.'),
]);
/** A comm has 15 bytes. */
const COMM = Buffer.from('\x1b[66m\n</script>');
/** Of a file in a folder "<": the path has "</script>". */
const FILE_NAME = Buffer.from(EVIL.toString('latin1').replaceAll('/', '').replace(/^/, 'script>'), 'latin1');
const CGROUP = Buffer.from(`${process.pid}${FILE_NAME.toString('latin1').replaceAll('\n', '')}`, 'latin1');
const LONG = 4000;
const LEAKED = 12;
const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];

const folder = mkdtempSync(join(tmpdir(), 'socktrace-hostile-'));
const cgroups = join(folder, 'cgroups');
const inCgroups = Buffer.concat([Buffer.from(`${cgroups}/`), CGROUP]);
const octal = (bytes: Buffer): string => `"$(printf '${[...bytes].map((b) => `\\${b.toString(8)}`).join('')}')"`;

/** What was said, as bytes: a decoder would hide what is no UTF-8. */
interface Outputs {
  text: string;
  news: string;
  ndjson: string;
  screen: Buffer;
  recording: string;
}

let program: Program | undefined;
let traced = 0;
let outputs: Outputs | undefined;
let why: string | null = null;

/** Replaces a placeholder of the same length everywhere in the compiled file. */
function put(file: Buffer, placeholder: string, name: Buffer): Buffer {
  expect(placeholder).toHaveLength(name.length);
  expect(file.includes(placeholder)).toBe(true);
  for (let at = file.indexOf(placeholder); at >= 0; at = file.indexOf(placeholder)) name.copy(file, at);
  return file;
}

function compile(): Buffer {
  const symbol = 'S'.repeat(EVIL.length);
  const source = `/${'F'.repeat(EVIL.length - 1)}`;
  const long = 'L'.repeat(LONG);
  const defines = [`-DSYMBOL=${symbol}`, `-DLONG_SYMBOL=${long}`, `-DSOURCE="${source}"`];
  const output = join(folder, 'plain');
  execFileSync('gcc', ['-O2', '-g', ...defines, '-o', output, join(import.meta.dirname, 'hostile.c')]);
  const longName = Buffer.alloc(LONG, EVIL);
  const file = put(put(put(readFileSync(output), long, longName), symbol, EVIL), source, EVIL);
  const place = Buffer.concat([Buffer.from(`${folder}/<`), Buffer.from('/'), FILE_NAME]);
  mkdirSync(join(folder, '<'));
  writeFileSync(place, file);
  chmodSync(place, 0o755);
  return place;
}

async function start(): Promise<Program> {
  const path = compile();
  mkdirSync(cgroups);
  execFileSync('mount', ['-t', 'cgroup2', 'none', cgroups]);
  mkdirSync(inCgroups);
  const script = [
    `echo $$ > ${octal(inCgroups)}/cgroup.procs`,
    `cd ${octal(Buffer.from(`${folder}/<`))}`,
    `exec ${octal(path)} ${octal(Buffer.concat([COMM, EVIL]))} ${octal(Buffer.alloc(LONG, EVIL))}`,
  ].join('\n');
  return Program.start('sh', '-c', script);
}

/** On a terminal of its own, with all bytes that it gets. */
async function live(pid: number, until_: () => Promise<void>): Promise<Buffer> {
  const command = `stty cols 200 rows 50; exec '${process.execPath}' '${MAIN}' --pid ${pid} ${SHORT.join(' ')}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  const exited = once(child, 'exit');
  try {
    await until('the live view traces', () => Buffer.concat(parts).includes('hooks '));
    await until_();
    await until('the live view shows a leak', () => Buffer.concat(parts).includes('LEAK'));
    child.stdin.write('\r');
    await until('the live view shows its call path', () => Buffer.concat(parts).includes('opened at'));
    child.stdin.write('q');
    await exited;
  } finally {
    child.kill('SIGKILL');
  }
  return Buffer.concat(parts);
}

beforeAll(async () => {
  if (process.arch !== 'x64') why = 'the program makes code for x86_64';
  else if (!works('gcc', ['--version']) || !works('script', ['--version'])) why = 'there is no gcc, or no script';
  if (why !== null) return;
  program = await start();
  const pid = Number(await program.said(/ready pid=(\d+)/));
  traced = pid;
  const recording = join(folder, 'recording.ndjson');
  const sessions = [
    Socktrace.start(['--pid', `${pid}`, ...SHORT]),
    Socktrace.start(['--pid', `${pid}`, '--ndjson', ...SHORT]),
    Socktrace.start(['record', '--pid', `${pid}`, '-o', recording, ...SHORT]),
  ] as const;
  for (const session of sessions) await session.said(/^(tracing|recording) /m);
  const leaking = program;
  const screen = await live(pid, async () => void (await leaking.tell('go')));
  const [told, lines, recorded] = sessions;
  await told.said(/LEAK/);
  const knowsAll = (text: string): boolean => text.split('"type":"socket"').length > LEAKED;
  await until('all sockets in the lines', () => knowsAll(lines.stdout));
  await until('all sockets in the recording', () => knowsAll(readFileSync(recording, 'latin1')));
  for (const session of sessions) session.child.kill('SIGINT');
  const [text, ndjson] = await Promise.all([told.finished(), lines.finished(), recorded.finished()]);
  outputs = { text: text.stdout, news: text.stderr, ndjson: ndjson.stdout, screen, recording };
}, 180_000);

afterAll(async () => {
  Socktrace.killAll();
  await Program.killAll();
  if (existsSync(inCgroups)) {
    await until('the cgroup is empty', () => {
      try {
        rmdirSync(inCgroups);
        return true;
      } catch {
        return false;
      }
    });
    execFileSync('umount', [cgroups]);
  }
  rmSync(folder, { recursive: true, force: true });
});

function said(context: TestContext): Outputs {
  if (why !== null) notRun(context, why);
  if (outputs === undefined) throw new Error('nothing was traced');
  return outputs;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: the very characters in question
const OBEYED = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u;

/** @throws where bytes are no UTF-8 */
const decoded = (bytes: Buffer): string => new TextDecoder('utf-8', { fatal: true }).decode(bytes);

function expectHarmless(text: string): void {
  const match = OBEYED.exec(text);
  expect(match && JSON.stringify(text.slice(Math.max(0, match.index - 80), match.index + 20))).toBeNull();
}

async function report(context: TestContext, format: string): Promise<Buffer> {
  const file = join(folder, `report.${format}`);
  const { code, stderr } = await socktrace('report', said(context).recording, '--format', format, '-o', file, '-f');
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return readFileSync(file);
}

describe('a process of which every name is hostile', () => {
  it('is what it says it is', async (context) => {
    const found = JSON.parse(decoded(await report(context, 'json'))) as Report;
    if (found.callPaths.status === 'unavailable') throw new Error(found.callPaths.reason);
    const frames = found.callPaths.value.flatMap((path) => path.frames);
    const names = frames.map((frame) => frame.function);
    const files = frames.map((frame) => frame.file);
    // Each got where it was to get: else nothing was tried.
    expect(names.some((name) => name?.startsWith('\x1b[66m\x1b]0;'))).toBe(true);
    expect(files.some((name) => name?.includes('\x1b]0;pwned'))).toBe(true);
    expect(names.some((name) => (name?.length ?? 0) > 400)).toBe(true);
    const owner = found.processes.find(({ pid }) => pid === traced);
    expect(owner?.comm).toContain('\x1b[66m');
    expect(JSON.stringify(owner?.exe)).toContain('script>');
    expect(JSON.stringify(owner?.cmdline)).toContain('pwned');
    expect(found.findings.some(({ leak, count }) => leak && count === LEAKED)).toBe(true);
  });

  it('is text', (context) => {
    const { text } = said(context);
    expectHarmless(text);
    expect(text).toContain('\\x1b[66m\\x1b]0;pwned\\x07');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThan(3 * LONG);
  });

  it('is news on standard error', (context) => {
    const { news } = said(context);
    expectHarmless(news);
    expect(news).toContain('\\x1b[66m');
  });

  it('is text of a recording', async (context) => expectHarmless(decoded(await report(context, 'text'))));

  it('is a look at what exists', async (context) => {
    said(context);
    for (const args of [['snapshot'], [], ['sockstat']]) expectHarmless((await socktrace(...args)).stdout);
    expectHarmless((await socktrace('snapshot', '--json')).stdout);
  });

  it('is JSON', async (context) => {
    const document = decoded(await report(context, 'json'));
    expectHarmless(document);
    expect(document).toContain('\\u001b[66m');
  });

  it('is JSON by lines', (context) => {
    const { ndjson } = said(context);
    expectHarmless(ndjson);
    for (const line of ndjson.trimEnd().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
  });

  it('is folded stacks, one a line', async (context) => {
    const folded = decoded(await report(context, 'folded'));
    expectHarmless(folded);
    for (const line of folded.trimEnd().split('\n')) expect(line).toMatch(/^[^;]+(;[^;]+)* \d+$/);
    expect(folded).toContain('\\x1b[66m');
  });

  it('is a profile', async (context) => {
    const profile = Profile.decode(gunzipSync(await report(context, 'pprof')));
    const strings = profile.stringTable.strings;
    expect(strings.some((name) => name.includes('pwned'))).toBe(true);
    for (const text of strings) expectHarmless(text);
  });

  it('is a speedscope document', async (context) => {
    const text = decoded(await report(context, 'speedscope'));
    expectHarmless(text);
    expect(() => JSON.parse(text)).not.toThrow();
  });

  it('is a frame of the live view, whose only controls are its own', (context) => {
    const screen = decoded(said(context).screen);
    expect(screen).toContain('\\x1b[66m');
    expect(screen).not.toMatch(/\[66m(?<!\\x1b\[66m)/);
    // Its own are sequences of CSI, and carriage returns; titles, C1 and bidirectional controls are not among them.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the very characters in question
    expectHarmless(screen.replace(/\x1b\[[0-9;?]*[A-Za-z]|\r/g, ''));
  });

  it('is a page that runs no script but its own', async (context) => {
    const html = decoded(await report(context, 'html'));
    expectHarmless(html.replace(/<script[^>]*>.*?<\/script>/gs, ''));
    if (!hasChromium()) notRun(context, 'chromium is not installed');
    const browser = await FileBrowser.launch();
    try {
      const { page, complaints } = await browser.open(html);
      await expect.poll(() => page.locator('#findings tr[data-row]').count()).toBeGreaterThan(0);
      expect(await page.locator('body').innerText()).toContain('\\x1b[66m');
      expect(await page.locator('img').count()).toBe(0);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
