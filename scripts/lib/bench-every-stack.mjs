/** Traces a process as `socktrace --pid` does, but copies every stack whole: what a capture of a call path costs at most. */
import { setTimeout as sleep } from 'node:timers/promises';
import { DEFAULT_THRESHOLDS } from '../../dist/ledger/thresholds.js';
import { checkTarget } from '../../dist/procfs/target.js';
import { Session } from '../../dist/session/session.js';

const target = checkTarget(Number(process.argv[2]));
if (target.is !== 'process') throw new Error(`${process.argv[2]} cannot be traced: ${target.is}`);
let ending = false;
process.on('SIGINT', () => {
  ending = true;
});
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
while (!ending) {
  session.poll();
  await sleep(50);
}
session.close();
