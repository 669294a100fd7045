/**
 * What is lost when the tracer stands still: stopped for a while, as a busy host may do to it, while a traced process opens
 * and closes sockets as fast as it can and another one leaks. What its report counts is compared with what they did.
 */
import { root } from '../lib/run.mjs';
import { Churn, Cycles, startTracer } from './lib/processes.mjs';
import { atMost, once, row } from './lib/rows.mjs';

const budgetedMs = 10_000;
const quickMs = 3_000;
const leaksPerSecond = 1_000;

async function stalled(timed, churn, ms) {
  const tracer = await startTracer(root, [timed.pid, churn.pid], ['--json']);
  const [{ cycles }] = await (async () => {
    try {
      process.kill(tracer.pid, 'SIGSTOP');
      return await Promise.all([timed.run('bind', ms), churn.pace(leaksPerSecond, ms, 'leaking')]);
    } finally {
      process.kill(tracer.pid, 'SIGCONT');
      await tracer.stop();
    }
  })();
  const { sockets, loss } = JSON.parse(await tracer.said);
  return { cycles, sockets, losses: loss.reasons.reduce((sum, { count }) => sum + count, 0) };
}

async function* run({ quick }) {
  const ms = quick ? quickMs : budgetedMs;
  const timed = await Cycles.start();
  const churn = await Churn.start();
  try {
    const { cycles, sockets, losses } = await stalled(timed, churn, ms);
    const wrong =
      Math.abs(sockets.opened - cycles - churn.opened) +
      Math.abs(sockets.destroyed - cycles) +
      Math.abs(sockets.held - sockets.preexisting - churn.opened);
    const what = `tracer stopped for ${ms / 1_000} s at full speed: sockets counted wrong, of those opened, destroyed and held`;
    yield row(what, once('count', wrong), {
      budget: atMost('count', 0, ms < budgetedMs ? `${budgetedMs / 1_000} s` : null),
      beside: [
        ['opened and closed', once('count', cycles)],
        ['leaked', once('count', churn.opened)],
        ['losses that the report tells', once('count', losses)],
      ],
    });
  } finally {
    await Promise.all([timed.stop(), churn.stop()]);
  }
}

export const stall = { name: 'stall', says: 'what is lost when the tracer stands still', needsRoot: true, run };
