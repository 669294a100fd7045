/**
 * What a trace costs as the number of sockets grows. All sockets are real ones.
 *
 *     table      sockets in the kernel's table that nobody has to hear of
 *     suspects   sockets that are told, held in the ledger and confirmed again and again
 *     rate       sockets a second, healthy (bound and closed) and leaking (kept)
 *
 * Every trace's count of opened sockets is compared with the program's own: a figure of a wrong trace is worth nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../lib/run.mjs';
import {
  Churn,
  Cycles,
  cpuNsOf,
  neededBytesOf,
  residentBytesOf,
  startTracer,
  tableBytesOf,
  telling,
} from './lib/processes.mjs';
import { atMost, measured, notRun, once, row } from './lib/rows.mjs';
import { share } from './lib/statistics.mjs';

const effort = {
  full: {
    watchMs: 9_000,
    table: [0, 100_000, 1_000_000],
    suspects: [1_000, 10_000, 100_000, 1_000_000],
    rate: [1_000, 10_000, 100_000],
  },
  quick: { watchMs: 3_000, table: [0, 100_000], suspects: [1_000, 100_000], rate: [100_000] },
};

/** What the budgets are for. */
const budgeted = { held: 1_000_000, perSecond: 100_000 };
/** A rate that is nearly reached is reached: the last of a program's ticks is cut off. */
const reachedShare = 0.95;
const watches = 3;

const sliceMs = 1_000;
/** Code is compiled and the first walks and looks are made in the first seconds: until two such times cost alike. */
const warmingMs = 3_000;
const mostWarmings = 20;
/** A trace looks at all sockets after 6, 12, 24, ... seconds: what it takes for good is seen once these are rare. */
const pastLooksMs = 30_000;
const alike = { by: 0.2, orBelow: 0.005 };
/** Of a core: who takes more has not told yet all that it found. */
const busyShare = 0.5;
const minAge = '1s';
/** More than one program opens a second, beside a tracer. */
const mostOfOne = 50_000;
/** Of other traced processes. */
const spareRows = 100_000;
const leakingMost = 200_000;
/** Of fewer, their memory is not told from what the heap grows anyway. */
const tellingSuspects = 100_000;

/** The share of a core that a process takes during several times of `meanwhile`, and what each gives. */
async function coresOf(pid, meanwhile) {
  const parts = [];
  const results = [];
  while (parts.length < watches) {
    const [cpu, begun] = [cpuNsOf(pid), performance.now()];
    results.push(await meanwhile());
    parts.push({ amount: (cpuNsOf(pid) - cpu) / 1e6, over: performance.now() - begun });
  }
  return { cores: measured('share', share(parts)), results };
}

/** Does `meanwhile` until what a process takes does not fall any more, and at least for a time. */
async function warm(pid, meanwhile, leastMs = 0) {
  const end = performance.now() + leastMs;
  let before = Number.POSITIVE_INFINITY;
  for (let i = 0; i < mostWarmings; i++) {
    const [cpu, begun] = [cpuNsOf(pid), performance.now()];
    await meanwhile();
    const cores = (cpuNsOf(pid) - cpu) / 1e6 / (performance.now() - begun);
    const isAlike = Math.max(cores, before) <= alike.orBelow || Math.abs(cores - before) <= alike.by * before;
    if (isAlike && cores < busyShare && performance.now() >= end) return;
    before = cores;
  }
}

/** Traces processes while `measure` runs. @throws when the report counts other sockets of a churn than it opened meanwhile */
async function traced(churns, others, args, measure) {
  const pids = [...churns, ...others].map(({ pid }) => pid);
  const before = churns.map(({ opened }) => opened);
  const tracer = await startTracer(root, pids, ['--json', ...args], telling);
  let result;
  try {
    result = await measure(tracer);
  } finally {
    await tracer.stop();
  }
  const { processes, loss } = JSON.parse(await tracer.said);
  for (const [i, churn] of churns.entries()) {
    const counted = processes.find(({ pid }) => pid === churn.pid)?.activity.value.opened ?? 0;
    const opened = churn.opened - before[i];
    if (counted !== opened)
      throw new Error(`the trace counted ${counted} opened sockets, not ${opened}: ${JSON.stringify(loss)}`);
  }
  return result;
}

async function withChurn(use) {
  const churn = await Churn.start();
  try {
    return await use(churn);
  } finally {
    await churn.stop();
  }
}

/** Young for an hour: the table's rows are swept, and none is told. */
function tableOf(held, watchMs) {
  return withChurn(async (churn) => {
    const timed = await Cycles.start();
    const args = ['--min-age', '1h', '--max-sockets', String(held + spareRows), '--no-paths'];
    try {
      return await traced([churn], [timed], args, async (tracer) => {
        await churn.hold(held);
        await warm(tracer.pid, () => sleep(warmingMs), held === budgeted.held ? pastLooksMs : 0);
        const { cores } = await coresOf(tracer.pid, () => sleep(watchMs / watches));
        const { ns } = await timed.run('openclose', sliceMs);
        const bytes = tableBytesOf(tracer.pid, held + spareRows);
        const named = `${count(held)} rows in the table`;
        const budget = (unit, limit) =>
          atMost(unit, limit, held < budgeted.held ? `${count(budgeted.held)} rows` : null);
        return [
          row(`${named}: CPU of the tracer`, cores, { budget: budget('share', 0.01) }),
          row(`${named}: socket()+close() of another traced process`, once('ns', ns)),
          ...(held > 0
            ? [row(`${named}: kernel memory of each`, perSocket(bytes, held), { budget: budget('bytes', 256) })]
            : []),
        ];
      });
    } finally {
      await timed.stop();
    }
  });
}

/**
 * Told, in the ledger, and their holders looked up every few seconds. They are there when the trace begins: the first walk
 * of descriptors sees all of them, and later ones of so many are minutes apart.
 */
async function suspectsOf(held, watchMs) {
  const args = ['--min-age', minAge, '--max-sockets', String(held + spareRows)];
  const needed = (churn) =>
    traced([churn], [], args, async (tracer) => {
      await warm(tracer.pid, () => sleep(warmingMs));
      const { cores } = await coresOf(tracer.pid, () => sleep(watchMs / watches));
      const resident = residentBytesOf(tracer.pid);
      return { cores, resident, needed: await neededBytesOf(tracer) };
    });
  return withChurn(async (churn) => {
    const without = await needed(churn);
    await churn.hold(held);
    const all = await needed(churn);
    const named = `${count(held)} suspects`;
    const budget = atMost('bytes', 250, held < budgeted.held ? `${count(budgeted.held)} suspects` : null);
    const ofEach = (name) => perSocket(all[name] - without[name], held);
    const memory = [
      row(`${named}: what the ledger and the last walk of descriptors keep of each`, ofEach('needed'), { budget }),
      row(`${named}: resident memory of the tracer for each, garbage too`, ofEach('resident')),
    ];
    return [row(`${named}: CPU of the tracer`, all.cores), ...(held < tellingSuspects ? [] : memory)];
  });
}

async function rateOf(perSecond, kind, watchMs) {
  const ms = (kind === 'leaking' ? Math.min(watchMs, (leakingMost / perSecond) * 1_000) : watchMs) / watches;
  const programs = Math.ceil(perSecond / mostOfOne);
  const churns = await Promise.all(Array.from({ length: programs }, (_, i) => Churn.start(i)));
  const paced = async (forMs) => {
    const all = await Promise.all(churns.map((churn) => churn.pace(perSecond / programs, forMs, kind)));
    return all.reduce((sum, { opened, ms: over }) => sum + (1_000 * opened) / over, 0);
  };
  try {
    return await traced(churns, [], ['--min-age', minAge], async (tracer) => {
      const isBudgeted = kind === 'healthy' && perSecond === budgeted.perSecond;
      const warming = () => (kind === 'leaking' ? sleep(warmingMs) : paced(warmingMs));
      await warm(tracer.pid, warming, isBudgeted ? pastLooksMs : 0);
      const { cores, results } = await coresOf(tracer.pid, () => paced(ms));
      const reached = results.reduce((sum, rate) => sum + rate, 0) / results.length;
      const isReached = reached >= reachedShare * perSecond;
      const but = isReached ? '' : ` (only ${count(Math.round(reached))} reached)`;
      const budget = isBudgeted ? atMost('share', 0.02, isReached ? null : `${count(perSecond)} sockets/s`) : null;
      return [row(`${count(perSecond)} ${kind} sockets/s${but}: CPU of the tracer`, cores, { budget })];
    });
  } finally {
    await Promise.all(churns.map((churn) => churn.stop()));
  }
}

const count = (number) => number.toLocaleString('en-US');

function perSocket(bytes, held) {
  return bytes === null ? notRun('this kernel does not say (before 6.4)') : once('bytes', bytes / held);
}

async function* run({ quick }) {
  const { watchMs, table, suspects, rate } = quick ? effort.quick : effort.full;
  for (const held of table) yield* await tableOf(held, watchMs);
  for (const held of suspects) yield* await suspectsOf(held, watchMs);
  for (const kind of ['healthy', 'leaking'])
    for (const perSecond of rate) yield* await rateOf(perSecond, kind, watchMs);
}

export const growth = { name: 'growth', says: 'what a trace costs as sockets grow', needsRoot: true, run };
