/**
 * `npm run bench:recording`: how fast `socktrace report` reads a recording, and in how much memory.
 *
 * A service that is watched for a long time, made up line by line: sockets come, wait unused for a while and are closed,
 * some stay; connects fail; processes work; every twentieth of a second has its tick. Everything is as `record` writes
 * it. The file is written once, and reported in a process of its own.
 *
 *     --lines N (10,000,000)   --keep FILE (else in a temporary directory, and deleted)   --gz
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { parseArgs } from 'node:util';
import { createGzip } from 'node:zlib';
import { root, say } from './lib/run.mjs';

const options = {
  lines: { type: 'string', default: '10000000' },
  keep: { type: 'string' },
  gz: { type: 'boolean', default: false },
};

const BOOT = '0f5a7e0a-3c1f-4d2e-9a55-0123456789ab';
const OWNER = `${BOOT}:1234:5000`;
const known = (value) => ({ status: 'measured', value });
/** Sockets that stay. */
const LEAKED = 20_000;

const header = [
  { type: 'recording', version: 1, tool: { name: 'socktrace', version: '0.1.0' } },
  {
    type: 'session',
    session: {
      tool: { name: 'socktrace', version: '0.1.0' },
      host: {
        hostname: 'web7',
        bootId: BOOT,
        kernel: '6.18.44',
        hooks: { set: 'fentry', refused: [], blindSpots: [] },
      },
      target: { pids: [1234], processes: [OWNER], follow: true },
      thresholds: { minAgeMs: 5_000, leakAgeMs: 30_000, idleLeakAgeMs: 60_000, leakCount: 10 },
      clock: { monotonicMs: 0, wallMs: Date.UTC(2026, 10, 23, 3) },
      callPaths: known(true),
    },
  },
  {
    type: 'process',
    facts: {
      id: OWNER,
      pid: 1234,
      parentPid: 1,
      comm: 'leakyd',
      exe: known('/usr/sbin/leakyd'),
      cmdline: known(['/usr/sbin/leakyd', '--serve']),
      namespacePids: known([1234]),
      startTime: known('2026-11-22T20:00:00.000Z'),
      unit: known('leakyd.service'),
      container: known(null),
      netns: known(4026531840),
      exitedMs: null,
    },
    activity: known({ opened: 0, accepted: 0, bound: 0, connected: 0, listened: 0, destroyed: 0 }),
  },
];

function facts(n, atMs, changes) {
  const ns = `${Math.round(atMs * 1e6)}`;
  return {
    id: `${(0xffff888000000000n + BigInt(n % 60_000) * 0x40n).toString(16)}:${ns}`,
    origin: 'traced',
    accepted: known(false),
    owner: known(OWNER),
    openedMs: known(atMs),
    changedMs: atMs,
    version: ns,
    family: 4,
    state: 'CLOSE',
    port: 32_768 + (n % 28_000),
    ever: known({ bound: true, connecting: false, established: false, listening: false }),
    bindErrno: null,
    connectErrno: null,
    socketErrno: null,
    local: { address: '0.0.0.0', port: 32_768 + (n % 28_000) },
    peer: null,
    released: false,
    releaseState: null,
    heldAtExit: false,
    netns: 4026531840,
    uid: 33,
    openPath: { status: 'resolved', id: `p${n % 7}` },
    bindPath: { status: 'resolved', id: `b${n % 7}` },
    ...changes,
  };
}

/** Of ten lines: three sockets, three ends, a failure, an activity, two ticks; now and then what a second brings. */
function* linesOf(count) {
  yield* header;
  const counts = { opened: 0, accepted: 0, bound: 0, connected: 0, listened: 0, destroyed: 0 };
  const live = [];
  let n = 0;
  for (let made = header.length; made < count; ) {
    const atMs = 1_000 + n * 10;
    counts.opened += 1;
    const socket = facts(n, atMs);
    yield { type: 'socket', facts: socket };
    made += 1;
    n += 1;
    // Those that leak get addresses of their own, and stay.
    if (n % 50 === 0 && n / 50 < LEAKED) {
      yield { type: 'socket', facts: { ...facts(n, atMs), id: `${(0xffff999000000000n + BigInt(n)).toString(16)}:1` } };
      made += 1;
    }
    live.push(socket);
    if (live.length > 500) {
      for (const ended of live.splice(0, 400)) {
        counts.destroyed += 1;
        yield { type: 'closed', id: ended.id, atMs };
        made += 1;
      }
    }
    if (n % 3 === 0) {
      const failure = { process: OWNER, pid: 1234, comm: 'leakyd', operation: 'bind', errno: 'EADDRINUSE' };
      const total = { detail: 'port-zero', cause: 'no-free-port', count: n, firstMs: 1_000, lastMs: atMs };
      yield { type: 'failure', facts: { ...failure, ...total, netns: 4026531840, path: null } };
      yield { type: 'activity', process: OWNER, activity: known({ ...counts }) };
      made += 2;
    }
    yield { type: 'tick', atMs };
    made += 1;
  }
}

function* text(count) {
  let part = '';
  for (const line of linesOf(count)) {
    part += `${JSON.stringify(line)}\n`;
    if (part.length < 1 << 20) continue;
    yield part;
    part = '';
  }
  yield part;
}

/** Runs the report, with the greatest resident memory in KiB. */
async function report(file) {
  const peakAtExit = "process.on('exit', () => console.error('peak', process.resourceUsage().maxRSS))";
  const main = join(root, 'dist/cli/main.js');
  const args = ['--import', `data:text/javascript,${encodeURIComponent(peakAtExit)}`, main, 'report', '--json', file];
  const started = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  const peak = /^peak (\d+)$/m.exec(said)?.[1];
  if (code !== 0 || peak === undefined) throw new Error(`the report ended with ${code}: ${said}`);
  return { ms: performance.now() - started, peakKib: Number(peak) };
}

const { values } = parseArgs({ options });
const count = Number(values.lines);
const directory = values.keep === undefined ? mkdtempSync(join(tmpdir(), 'socktrace-')) : null;
const file = values.keep ?? join(directory, values.gz ? 'bench.ndjson.gz' : 'bench.ndjson');
try {
  await pipeline([text(count), ...(values.gz ? [createGzip({ level: 1 })] : []), createWriteStream(file)]);
  const { size } = statSync(file);
  const { ms, peakKib } = await report(file);
  say(
    `${count} lines of ${(size / count).toFixed(0)} bytes: ${(ms / 1_000).toFixed(1)} s, ` +
      `${Math.round(count / ms)}k lines/s, ${Math.round(size / ms / 1_000)} MB/s, ${Math.round(peakKib / 1_024)} MiB`,
  );
} finally {
  if (directory !== null) rmSync(directory, { recursive: true });
}
