/**
 * Traces a process as `socktrace --pid` does, but copies every stack whole: what a capture of a call path costs at most.
 * It works when it is told to, by a line on standard input, until no stack waits any more, and answers with a line;
 * unwinding meanwhile would take its share of the core that is timed. At the end of its input it prints
 * `{captured, lost}`: a stack that finds the ring full is not copied, and costs next to nothing.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_THRESHOLDS } from '../../../dist/ledger/thresholds.js';
import { checkTarget } from '../../../dist/procfs/target.js';
import { Session } from '../../../dist/session/session.js';

const target = checkTarget(Number(process.argv[2]));
if (target.is !== 'process') throw new Error(`${process.argv[2]} cannot be traced: ${target.is}`);
const session = Session.open({
  targets: [target],
  follow: true,
  thresholds: DEFAULT_THRESHOLDS,
  hooks: 'auto',
  victims: true,
  callPaths: true,
  everyStack: true,
  hideArguments: false,
  maxSockets: 262_144,
  maxProcesses: 65_536,
  sweepMs: 250,
  confirmMs: 2_000,
  eventRingBytes: null,
});
process.stderr.write(`tracing ${process.argv[2]}\n`);
for await (const _ of createInterface({ input: process.stdin })) {
  session.poll();
  await session.settle(sleep);
  process.stdout.write('drained\n');
}
const { sampled } = session.callPathStats();
const full = session.finish().loss.reasons.find(({ code }) => code === 'stack-ring-full');
process.stdout.write(`${JSON.stringify({ captured: sampled, lost: full?.count ?? 0 })}\n`);
session.close();
