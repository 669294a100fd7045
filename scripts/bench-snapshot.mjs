/**
 * `npm run bench:snapshot`: a snapshot of 40,000 sockets of 100 processes beside the other ways to look at them, as
 * ratios of times measured in turn, with the memory of each.
 *
 *     triage     socktrace: sums, suspects and ports of all sockets
 *     snapshot   socktrace snapshot: the same, and a list of the first forty with state, port, kind and holders
 *     json       socktrace snapshot --json: every socket with state, port, kind and holders
 *     node       node -e 0: what the first three cannot go below
 *     lsof       lsof -nP -iTCP: bound and connected ones only; closed ones show as "protocol: TCP" in a whole lsof
 *     lsof all   lsof -nP: the one that shows that there are closed ones
 *     ss         ss -tanp: none of them that is closed
 *     proc       readlink of each /proc/PID/fd entry: that they are sockets, and nothing else
 *
 * Every ratio is to snapshot.
 *
 *     --rounds N (5)  --processes N (100)  --sockets N (400 each)
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { findProgram, isRoot, root, say } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

const options = {
  rounds: { type: 'string', default: '5' },
  processes: { type: 'string', default: '100' },
  sockets: { type: 'string', default: '400' },
};

const scan =
  "const fs=require('fs');let n=0;for(const p of fs.readdirSync('/proc'))if(/^\\d+$/.test(p))try{for(const f of " +
  "fs.readdirSync('/proc/'+p+'/fd'))try{if(fs.readlinkSync('/proc/'+p+'/fd/'+f).startsWith('socket:'))n++}catch{}}catch{}";

const socktrace = [process.execPath, join(root, 'dist/cli/main.js')];

const ways = {
  triage: socktrace,
  snapshot: [...socktrace, 'snapshot'],
  json: [...socktrace, 'snapshot', '--json'],
  node: [process.execPath, '-e', '0'],
  lsof: ['lsof', '-nP', '-iTCP'],
  'lsof all': ['lsof', '-nP'],
  ss: ['ss', '-tanp'],
  proc: [process.execPath, '-e', scan],
};

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

/** Wall time in ms and the peak of resident memory in KiB. */
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
  return { ms: performance.now() - started, peak };
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];

async function main() {
  const { values } = parseArgs({ options });
  if (!isRoot) {
    say('the benchmark needs root');
    return 3;
  }
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  const holders = [];
  try {
    for (let i = 0; i < Number(values.processes); i++)
      holders.push(await startHolder(Number(values.sockets), holders[0]));
    const present = Object.entries(ways).filter(([name, [command]]) => {
      const found = command.startsWith('/') || findProgram(command) !== null;
      if (!found) console.log(`${name} NOT RUN: no ${command}`);
      return found;
    });
    const runs = new Map(present.map(([name]) => [name, []]));
    for (let round = 0; round < Number(values.rounds); round++)
      for (const [name, command] of present) runs.get(name).push(await measure(command));
    const base = median(runs.get('snapshot').map(({ ms }) => ms));
    console.log(`${values.processes} processes with ${values.sockets} sockets each, ${values.rounds} rounds, medians`);
    for (const [name, all] of runs) {
      const ms = median(all.map((run) => run.ms));
      const peak = median(all.map((run) => run.peak));
      const ratio = (ms / base).toFixed(2).padStart(7);
      console.log(
        `${name.padEnd(9)} ${ms.toFixed(0).padStart(7)} ms ${ratio} x ${(peak / 1024).toFixed(0).padStart(5)} MiB`,
      );
    }
  } finally {
    for (const holder of holders) holder.stdin.end();
  }
  return 0;
}

process.exitCode = await main();
