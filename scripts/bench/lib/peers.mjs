/** Other tools that see sockets made and closed, attached to a process as their users would. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findProgram } from '../../lib/run.mjs';
import { ended, patienceMs, spawnOn } from './processes.mjs';

const lookMs = 50;

/**
 * Ways to run one, the best first; bcc's tools exist without a compiler (libbpf-tools) and with one. `attached` is what
 * it writes then; `stops` the process at each call, so that nothing of it is undisturbed.
 */
export const peers = [
  { name: 'strace -f', ways: ['strace -f -o /dev/null -p PID'], attached: / attached/, stops: true },
  {
    name: 'strace -f -k -e trace=%net',
    ways: ['strace -f -k -e trace=%net -o /dev/null -p PID'],
    attached: / attached/,
    stops: true,
  },
  { name: 'bpftrace leaks.bt', ways: ['bpftrace test/bench/leaks.bt PID'], attached: /^ready/m },
  { name: 'bcc tcpstates (changes of state)', ways: ['tcpstates', 'tcpstates-bpfcc'], attached: /^SKADDR/m },
  { name: 'bcc tcplife (connections)', ways: ['tcplife -p PID', 'tcplife-bpfcc -p PID'], attached: /^PID/m },
  {
    name: 'bcc bindsnoop (binds)',
    ways: ['bindsnoop -p PID', 'bindsnoop-bpfcc -p PID'],
    attached: /^(Tracing|PID|TIME)/m,
  },
  {
    name: 'bcc tcptracer (connections)',
    ways: ['tcptracer -p PID', 'tcptracer-bpfcc -p PID'],
    attached: /^(Tracing|T )/m,
  },
  {
    name: 'bcc stackcount of socket()',
    ways: ['stackcount-bpfcc -U -p PID t:syscalls:sys_enter_socket'],
    attached: /^Tracing/m,
  },
].map((peer) => ({ stops: false, ...peer }));

/** What says why a program did not start, the most telling first. */
const reasons = [/Unable to find kernel headers/i, /No such file|not permitted|invalid|failed|Exception/i, /./];

function reasonIn(said) {
  const lines = said.split('\n').map((line) => line.trim());
  const line = reasons.flatMap((reason) => lines.find((each) => reason.test(each)) ?? [])[0] ?? 'it said nothing';
  return line.replace(/\. .*/, '').slice(0, 120);
}

/** What it writes goes to a file: reading it here would take the CPU that is timed. @throws why it does not attach */
async function startWay(way, attached, pid) {
  const [name, ...args] = way.replace('PID', String(pid)).split(' ');
  const program = findProgram(name);
  if (program === null) throw new Error('not installed');
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-bench-'));
  const file = join(folder, 'said');
  const log = openSync(file, 'w');
  const said = () => readFileSync(file, 'utf8');
  // As on a terminal: what says that it is attached must not wait for a full buffer.
  const unbuffered = findProgram('stdbuf') === null ? [program] : ['stdbuf', '-oL', program];
  const env = { ...process.env, PYTHONUNBUFFERED: '1' };
  const child = spawnOn(0, unbuffered[0], [...unbuffered.slice(1), ...args], ['ignore', log, log], env);
  closeSync(log);
  const stop = async () => {
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs);
    child.kill('SIGINT');
    await ended(child);
    clearTimeout(timer);
    rmSync(folder, { recursive: true });
  };
  try {
    const end = performance.now() + patienceMs;
    while (!attached.test(said())) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(reasonIn(said()));
      if (performance.now() > end) throw new Error(`not attached after ${patienceMs / 1_000} s`);
      await sleep(lookMs);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { pid: child.pid, stop };
}

/** The first way that attaches, tried: `{start}`, or `{reason}` why none does. */
export async function tryPeer({ ways, attached }, pid) {
  const refusals = [];
  for (const way of ways) {
    const start = () => startWay(way, attached, pid);
    try {
      await (await start()).stop();
      return { start };
    } catch (error) {
      refusals.push(`${way.split(' ')[0]}: ${error.message}`);
    }
  }
  return { reason: refusals.join('; ') };
}
