/** A snapshot of 40,000 sockets of 100 processes beside the other ways to look at them, in turn, with the memory of each. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { findProgram, root } from '../lib/run.mjs';
import { ended } from './lib/processes.mjs';
import { atLeast, measured, notRun, row } from './lib/rows.mjs';
import { summarize } from './lib/statistics.mjs';

const processes = 100;
const socketsEach = 400;
const rounds = { full: 5, quick: 2 };

const scan =
  "const fs=require('fs');let n=0;for(const p of fs.readdirSync('/proc'))if(/^\\d+$/.test(p))try{for(const f of " +
  "fs.readdirSync('/proc/'+p+'/fd'))try{if(fs.readlinkSync('/proc/'+p+'/fd/'+f).startsWith('socket:'))n++}catch{}}catch{}";

const socktrace = [process.execPath, join(root, 'dist/cli/main.js')];

const snapshotCommand = 'socktrace snapshot';
/** The one that shows that there are closed sockets; with -iTCP it shows only bound and connected ones. */
const wholeLsof = 'lsof -nP';

const ways = new Map([
  [snapshotCommand, [...socktrace, 'snapshot']],
  ['socktrace', socktrace],
  ['socktrace snapshot --json (every socket)', [...socktrace, 'snapshot', '--json']],
  ['node -e 0 (what these cannot go below)', [process.execPath, '-e', '0']],
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

/** Wall time and the peak of resident memory. */
async function measure([command, ...args]) {
  const started = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'] });
  let peak = 0;
  const watch = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    } catch {
      // It has ended.
    }
  }, 5);
  await once(child, 'exit');
  clearInterval(watch);
  return { ns: 1e6 * (performance.now() - started), peakBytes: 1_024 * peak };
}

/** `{run: name -> command, absent: name -> why not}` */
function waysHere() {
  const absent = new Map();
  const run = new Map();
  for (const [name, [program, ...args]] of ways) {
    const path = findProgram(program);
    if (path === null && !program.startsWith('/')) absent.set(name, `${program} is not installed`);
    else run.set(name, [path ?? program, ...args]);
  }
  return { run, absent };
}

function rowsOf(results, absent) {
  const of = (unit, become) => (name) =>
    absent.has(name) ? notRun(absent.get(name)) : measured(unit, summarize(results.get(name).map(become)));
  const time = of('ns', ({ ns }) => ns);
  const memory = of('bytes', ({ peakBytes }) => peakBytes);
  const others = [...ways.keys()].filter((name) => name !== snapshotCommand);
  const theirs = results.get(wholeLsof);
  const ratio = () =>
    measured('times', summarize(results.get(snapshotCommand).map(({ ns }, round) => theirs[round].ns / ns)));
  const what = `${snapshotCommand} of ${(processes * socketsEach).toLocaleString('en-US')} sockets`;
  return [
    row(`${what}: time`, time(snapshotCommand), { beside: others.map((name) => [name, time(name)]) }),
    row(`${what}: peak of resident memory`, memory(snapshotCommand), {
      beside: others.map((name) => [name, memory(name)]),
    }),
    row(`${what}: how much faster than ${wholeLsof}`, theirs ? ratio() : notRun(absent.get(wholeLsof)), {
      budget: atLeast('times', 10),
    }),
  ];
}

async function* run({ quick }) {
  const { run: present, absent } = waysHere();
  const holders = [];
  try {
    for (let i = 0; i < processes; i++) holders.push(await startHolder(socketsEach, holders[0]));
    const results = new Map([...present.keys()].map((name) => [name, []]));
    for (let round = 0; round < (quick ? rounds.quick : rounds.full); round++)
      for (const [name, command] of present) results.get(name).push(await measure(command));
    yield* rowsOf(results, absent);
  } finally {
    for (const holder of holders) holder.stdin.end();
    await Promise.all(holders.map(ended));
  }
}

export const snapshot = { name: 'snapshot', says: 'a look at 40,000 sockets, beside other ways', needsRoot: true, run };
