/** A program that is run to its end: how long that took, and what it cost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

/** What /proc counts CPU in (USER_HZ). */
const tickNs = 1e7;
const lookMs = 5;

/** CPU of all children that have ended, and of theirs, in ticks: cutime and cstime of proc_pid_stat(5). */
function ticksOfChildren() {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return Number(fields[13]) + Number(fields[14]);
}

/**
 * Wall time, CPU (to 10 ms) and the peak of resident memory; no other child may end meanwhile.
 * @throws Error when it has not ended by then, or did not end well: its figures would be those of something else
 */
export async function timedRun([command, ...args], limitMs) {
  const ticks = ticksOfChildren();
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
  }, lookMs);
  let late = false;
  const limit = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, limitMs);
  const [code, signal] = await once(child, 'exit').finally(() => {
    clearInterval(watch);
    clearTimeout(limit);
  });
  const ns = 1e6 * (performance.now() - started);
  if (late) throw new Error(`not at its end after ${limitMs / 1e3} s`);
  // lsof ends with 1 when a file that it was asked for is not there, or it may not look at something.
  if (signal !== null || code > 1) throw new Error(`it ended with ${signal ?? code}`);
  return { ns, cpuNs: tickNs * (ticksOfChildren() - ticks), peakBytes: 1_024 * peak };
}
