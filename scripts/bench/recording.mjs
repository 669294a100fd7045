/** How fast `socktrace report` reads a recording, and in how much memory. The recording is written once, and deleted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { root } from '../lib/run.mjs';
import { recordedService } from './lib/recorded-service.mjs';
import { atLeast, atMost, measured, notRun, row } from './lib/rows.mjs';
import { summarize } from './lib/statistics.mjs';

const effort = { full: { lines: 10_000_000, rounds: 1 }, quick: { lines: 200_000, rounds: 2 } };
const lineBytes = 700;

/** Reports in a process of its own: its time, its CPU time (what it would take on an idle machine), its most resident memory. */
async function report(file) {
  const usedAtExit =
    "process.on('exit', () => { const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage(); console.error('used', maxRSS, userCPUTime + systemCPUTime); })";
  const main = join(root, 'dist/cli/main.js');
  const args = ['--import', `data:text/javascript,${encodeURIComponent(usedAtExit)}`, main, 'report', '--json', file];
  const started = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  const used = /^used (\d+) (\d+)$/m.exec(said);
  if (code !== 0 || used === null) throw new Error(`the report ended with ${code}: ${said}`);
  return {
    seconds: (performance.now() - started) / 1e3,
    cpuSeconds: Number(used[2]) / 1e6,
    peakBytes: 1_024 * Number(used[1]),
  };
}

function rowsOf(lines, runs) {
  const of = (unit, become) => measured(unit, summarize(runs.map(become)));
  const budgeted = effort.full.lines;
  const at = lines < budgeted ? `${budgeted.toLocaleString('en-US')} lines` : null;
  const what = `report of a recording of ${lines.toLocaleString('en-US')} lines`;
  return [
    row(
      `${what}: speed`,
      of('lines/s', ({ seconds }) => lines / seconds),
      {
        budget: atLeast('lines/s', 500_000, at),
        beside: [['a second of CPU', of('lines/s', ({ cpuSeconds }) => lines / cpuSeconds)]],
      },
    ),
    row(
      `${what}: peak of resident memory`,
      of('bytes', ({ peakBytes }) => peakBytes),
      { budget: atMost('bytes', 512e6, at) },
    ),
  ];
}

async function* run({ quick }) {
  const { lines, rounds } = quick ? effort.quick : effort.full;
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-'));
  try {
    const { bavail, bsize } = statfsSync(folder);
    const needed = lines * lineBytes;
    if (bavail * bsize < needed) {
      yield row('report of a recording', notRun(`${tmpdir()} has no room for ${needed / 1e9} GB`));
      return;
    }
    const file = join(folder, 'bench.ndjson');
    await pipeline(recordedService(lines), createWriteStream(file));
    const runs = [];
    while (runs.length < rounds) runs.push(await report(file));
    yield* rowsOf(lines, runs);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const recording = { name: 'recording', says: 'a report of a long recording', needsRoot: false, run };
