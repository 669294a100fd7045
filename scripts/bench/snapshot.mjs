/**
 * A snapshot of 40,000 sockets of 100 processes beside the other ways to look at them, in turn, with CPU and memory of
 * each; and beside what no snapshot can be faster than: Node that starts, and the kernel that walks.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { findProgram, root } from '../lib/run.mjs';
import { ended } from './lib/processes.mjs';
import { atLeast, failed, measured, notRun, row } from './lib/rows.mjs';
import { summarize } from './lib/statistics.mjs';
import { timedRun } from './lib/timed-run.mjs';

const processes = 100;
const socketsEach = 400;
const rounds = { full: 5, quick: 2 };
/** Whoever needs so long (a mount that does not answer, a busy host) is not waited for. */
const limitMs = 60_000;

const scan =
  "const fs=require('fs');let n=0;for(const p of fs.readdirSync('/proc'))if(/^\\d+$/.test(p))try{for(const f of " +
  "fs.readdirSync('/proc/'+p+'/fd'))try{if(fs.readlinkSync('/proc/'+p+'/fd/'+f).startsWith('socket:'))n++}catch{}}catch{}";

const socktrace = [process.execPath, join(root, 'dist/cli/main.js')];

const snapshotCommand = 'socktrace snapshot';
const subject = `${snapshotCommand} of ${(processes * socketsEach).toLocaleString('en-US')} sockets`;
/** The one that shows that there are closed sockets; with -iTCP it shows only bound and connected ones. */
const wholeLsof = 'lsof -nP';
const theLeast = "node and the kernel's walk alone (the least)";

/** What the kernel does for a snapshot, with nothing made of it. */
const walk = (holder) =>
  `import { takeCensus } from ${JSON.stringify(join(root, 'dist/kernel/binding.js'))};` +
  `takeCensus({ maxSockets: 65_536, namespaces: ['/proc/${holder.pid}/ns/net'] });`;

/** @param holder in whose network namespace the sockets are */
const waysTo = (holder) =>
  new Map([
    [snapshotCommand, [...socktrace, 'snapshot']],
    ['socktrace', socktrace],
    ['socktrace snapshot --json (every socket)', [...socktrace, 'snapshot', '--json']],
    [theLeast, [process.execPath, '--input-type=module', '-e', walk(holder)]],
    ['node -e 0', [process.execPath, '-e', '0']],
    [wholeLsof, ['lsof', '-nP']],
    ['lsof -nP -iTCP (no closed ones)', ['lsof', '-nP', '-iTCP']],
    ['ss -tanp (no closed ones)', ['ss', '-tanp']],
    ['readlink of each /proc/PID/fd (that they are sockets)', [process.execPath, '-e', scan]],
  ]);

/** A third of the sockets bound, the others not; in the network namespace of `first`, or in one of its own. */
async function startHolder(sockets, first) {
  const puppet = join(root, 'build/puppet');
  const command = first === undefined ? [puppet] : ['nsenter', `--net=/proc/${first.pid}/ns/net`, puppet];
  const child = spawn(command[0], command.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const bound = Math.floor(sockets / 3);
  const space = first === undefined ? ['unshare-net', 'port-range 1024 65535'] : [];
  const lines = [...space, `open u v4 ${sockets - bound}`, `open b v4 ${bound}`, 'bind b zero'];
  await answers.next();
  for (const line of lines) {
    child.stdin.write(`${line}\n`);
    const { ok, error } = JSON.parse((await answers.next()).value);
    if (!ok) throw new Error(`a process of the benchmark: ${error}`);
  }
  return child;
}

/** Path of the program, or why there is none. */
function programOf(program) {
  const path = program.startsWith('/') ? program : findProgram(program);
  if (path === null) throw new Error(`${program} is not installed`);
  return path;
}

/** `name -> {runs} or {absent: reason} or {failed: reason}`, in turn; who fails once is not run again. */
async function runAll(ways, count) {
  const results = new Map();
  for (const [name, [program]] of ways)
    try {
      programOf(program);
      results.set(name, { runs: [] });
    } catch ({ message }) {
      results.set(name, { absent: message });
    }
  for (let round = 0; round < count; round++)
    for (const [name, [program, ...args]] of ways)
      try {
        const { runs } = results.get(name);
        if (runs !== undefined) runs.push(await timedRun([programOf(program), ...args], limitMs));
      } catch ({ message }) {
        results.set(name, { failed: message });
      }
  return results;
}

function rowsOf(results) {
  const why = ({ absent, failed: reason }) => (absent === undefined ? failed(reason) : notRun(absent));
  const of = (unit, become) => (name) => {
    const result = results.get(name);
    return result.runs === undefined ? why(result) : measured(unit, summarize(result.runs.map(become)));
  };
  const others = [...results.keys()].filter((name) => name !== snapshotCommand);
  const figure = (what, one) =>
    row(`${subject}: ${what}`, one(snapshotCommand), { beside: others.map((name) => [name, one(name)]) });
  /** How much more lsof needs, round by round. */
  const ratio = (name, become) => {
    const [mine, theirs] = [results.get(name), results.get(wholeLsof)];
    for (const result of [mine, theirs]) if (result.runs === undefined) return why(result);
    return measured('times', summarize(mine.runs.map((run, round) => become(theirs.runs[round]) / become(run))));
  };
  const time = ({ ns }) => ns;
  const cpu = ({ cpuNs }) => cpuNs;
  return [
    figure('time', of('ns', time)),
    figure('CPU', of('ns', cpu)),
    figure(
      'peak of resident memory',
      of('bytes', ({ peakBytes }) => peakBytes),
    ),
    row(`${subject}: how much faster than ${wholeLsof}`, ratio(snapshotCommand, time), {
      budget: atLeast('times', 10),
      beside: [
        ['less CPU', ratio(snapshotCommand, cpu)],
        [`${theLeast}: less CPU`, ratio(theLeast, cpu)],
      ],
    }),
  ];
}

async function* run({ quick }) {
  const holders = [];
  try {
    for (let i = 0; i < processes; i++) holders.push(await startHolder(socketsEach, holders[0]));
    yield* rowsOf(await runAll(waysTo(holders[0]), quick ? rounds.quick : rounds.full));
  } finally {
    for (const holder of holders) holder.stdin.end();
    await Promise.all(holders.map(ended));
  }
}

export const snapshot = { name: 'snapshot', says: 'a look at 40,000 sockets, beside other ways', needsRoot: true, run };
