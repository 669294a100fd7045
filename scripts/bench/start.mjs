/**
 * From the start of a trace to its word that the hooks are on, in turn with bare Node, and with bpftrace attaching as many
 * programs that do nothing: the time, and the CPU of its threads until then. Nothing is pinned, as for who types it.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { findProgram, root } from '../lib/run.mjs';
import { cpuNsOf, ended, linksOf, nextLine } from './lib/processes.mjs';
import { atMost, measured, notRun, row } from './lib/rows.mjs';
import { summarize } from './lib/statistics.mjs';

const rounds = { full: 15, quick: 3 };
const word = /^tracing/;

const node = { command: [process.execPath, '-e', 'console.error("tracing"); setTimeout(() => {}, 60_000)'] };

const trace = (pid) => ({ command: [process.execPath, join(root, 'dist/cli/main.js'), '--pid', `${pid}`, '--json'] });

/** They count page faults, and never see as many as they wait for: programs that attach anywhere. */
function bpftrace(programs) {
  const numbers = Array.from({ length: programs }, (_, i) => 1_000_000_000 + i);
  const probes = numbers.map((number) => `software:faults:${number} { @[${number}] = count(); }`);
  const script = `${probes.join(' ')} interval:ms:1 /!@said/ { @said = 1; printf("tracing\\n"); }`;
  // As on a terminal: the word must not wait for a full buffer.
  return { command: ['stdbuf', '-oL', 'bpftrace', '-e', script], output: 'stdout' };
}

/** `{ns, cpuNs, links}`, as of its word. */
async function startOf({ command: [program, ...args], output = 'stderr' }) {
  const begun = performance.now();
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  try {
    await nextLine(child, child[output], (line) => word.test(line));
    return { ns: 1e6 * (performance.now() - begun), cpuNs: cpuNsOf(child.pid), links: linksOf(child.pid) };
  } finally {
    child.stdout.resume();
    child.stderr.resume();
    child.kill('SIGKILL'); // what it has attached goes with it
    await ended(child);
  }
}

async function* run({ quick }) {
  const target = spawn('sleep', ['600'], { stdio: 'ignore' });
  try {
    const { links } = await startOf(trace(target.pid));
    const missing = ['bpftrace', 'stdbuf'].find((name) => findProgram(name) === null);
    const ways = { socktrace: trace(target.pid), node, ...(missing ? {} : { bpftrace: bpftrace(links) }) };
    const starts = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
    for (let round = 0; round < (quick ? rounds.quick : rounds.full); round++)
      for (const [name, way] of Object.entries(ways)) starts[name].push(await startOf(way));
    const of = (name, part) =>
      name === 'bpftrace' && missing
        ? notRun(`${missing} is not installed`)
        : measured('ns', summarize(starts[name].map((start) => start[part])));
    const beside = (part) => [
      ['node -e 0 (what it cannot go below)', of('node', part)],
      [`bpftrace, ${links} empty programs`, of('bpftrace', part)],
    ];
    yield row(`start of a trace, until ${links} programs are attached and on: time`, of('socktrace', 'ns'), {
      budget: atMost('ns', 0.5e9),
      beside: beside('ns'),
    });
    yield row('start of a trace: CPU', of('socktrace', 'cpuNs'), { beside: beside('cpuNs') });
  } finally {
    target.kill();
    await ended(target);
  }
}

export const start = {
  name: 'start',
  says: 'how soon a trace is on, beside bare Node and bpftrace',
  needsRoot: true,
  run,
};
