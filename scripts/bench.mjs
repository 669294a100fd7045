/**
 * `npm run bench`: what tracing costs, as ratios measured side by side. In every round each condition is set up, timed
 * on each workload for a moment, and taken down, so that what else happens on the host falls on all of them alike. A
 * slice during which another tracer was attached, or the CPU never had only this to do, does not count.
 *
 *     bare     nothing is attached
 *     floor    the hooks of socktrace, empty but for one hash update at open and one delete at destroy
 *     no paths    socktrace traces the process that is timed, with --no-paths
 *     traced      the same with call paths: the cache knows them
 *     no cache    the same, each stack copied whole and unwound; paced only, for what finds the ring full is not copied
 *     strace -k   strace -f -k -e trace=%net
 *     beside   socktrace traces another process, which is idle
 *
 * A budget that does not hold is said and is no failure: timing on a shared host decides nothing.
 *
 *     --rounds N              (20)  --json FILE: the same, for programs
 *     --floor-without NAMES   one more condition: the floor without these programs of test/bench/floor.bpf.c (comma)
 *     --compare CHECKOUT      one more condition: `traced` by another built checkout of socktrace
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import {
  Cycles,
  cpuNsOf,
  linksOf,
  pinning,
  startEveryStack,
  startFloor,
  startStrace,
  startTracer,
} from './lib/bench-processes.mjs';
import { compare, judge, renderBudgets, renderTable, summarize } from './lib/bench-report.mjs';
import { findProgram, isRoot, root, say } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

/** Paced, all stacks of a slice fit into the ring: they are unwound between slices. */
const workloads = [
  { name: 'openclose', cycle: 'openclose', cyclesPerSecond: 0 },
  { name: 'bind', cycle: 'bind', cyclesPerSecond: 0 },
  { name: 'connect', cycle: 'connect', cyclesPerSecond: 0 },
  { name: 'bind, paced', cycle: 'bind', cyclesPerSecond: 2_000 },
];
const noCache = 'no cache';
const workloadsOf = (condition) => workloads.filter((each) => condition !== noCache || each.cyclesPerSecond > 0);
const sliceMs = 150;
const pacedSliceMs = 300;
const sliceTries = 4;
// A tracer's start keeps another CPU busy, which on some hosts is the other half of the same core.
const settleMs = 250;
const steadyMs = 5_000;
const timeLimitMs = 200_000;
const quietPatienceMs = 20_000;

const options = {
  rounds: { type: 'string', default: '20' },
  json: { type: 'string' },
  'floor-without': { type: 'string', multiple: true, default: [] },
  compare: { type: 'string', multiple: true, default: [] },
};

function conditionsOf(values, timed, idle, attachMs) {
  const traced = async (checkout, pid) => {
    const tracer = await startTracer(checkout, pid);
    if (checkout === root) attachMs.push(tracer.attachMs);
    return tracer;
  };
  return new Map([
    ['bare', async () => null],
    ['floor', () => startFloor()],
    ['no paths', () => startTracer(root, timed.pid, ['--no-paths'])],
    ['traced', () => traced(root, timed.pid)],
    [noCache, () => startEveryStack(timed.pid)],
    ...(findProgram('strace') ? [['strace -k', () => startStrace(timed.pid)]] : []),
    ['beside', () => traced(root, idle.pid)],
    ...values['floor-without'].map((names) => [`floor -${names}`, () => startFloor(names.split(','))]),
    ...values.compare.map((checkout) => [`traced by ${basename(checkout)}`, () => traced(checkout, timed.pid)]),
  ]);
}

/** The time of one cycle in ns, or null. Asks again when the CPU had other work, be it that of another guest. */
async function timeCycle(timed, { cycle, cyclesPerSecond }, attached, isCoarse) {
  for (let tries = 1; ; tries++) {
    await attached?.drain?.();
    const { ns, quiet } = await timed.run(cycle, cyclesPerSecond > 0 ? pacedSliceMs : sliceMs, cyclesPerSecond);
    // Of something that stops at each call, no batch is undisturbed.
    if (quiet > 0 || isCoarse) return ns;
    if (tries === sliceTries) return null;
  }
}

/** Whether a tracer that is not ours is attached: then no number means what it says. */
class Neighbours {
  #timed;
  #usual = Number.POSITIVE_INFINITY;

  constructor(timed) {
    this.#timed = timed;
  }

  async disturb(ours) {
    const all = await this.#timed.links();
    if (all < 0) return false;
    const foreign = all - (ours === null ? 0 : linksOf(ours.pid));
    this.#usual = Math.min(this.#usual, foreign);
    return foreign > this.#usual;
  }

  /** Waits, not for ever, until nobody else traces. */
  async quiet() {
    const end = performance.now() + quietPatienceMs;
    while ((await this.disturb(null)) && performance.now() < end) await sleep(200);
  }
}

/** One condition: `{workload: ns}`, with null for what was disturbed or did not do all that it should; and what it captured. */
async function measure(condition, start, timed, neighbours) {
  await neighbours.quiet();
  const attached = await start();
  const costs = {};
  let captures = null;
  let disturbed = true;
  try {
    await sleep(settleMs);
    const before = await neighbours.disturb(attached);
    for (const workload of workloadsOf(condition))
      costs[workload.name] = await timeCycle(timed, workload, attached, condition === 'strace -k');
    disturbed = before || (await neighbours.disturb(attached));
  } finally {
    captures = (await attached?.stop()) ?? null;
  }
  const isIncomplete = condition === noCache && !(captures?.captured > 0 && captures.lost === 0);
  if (disturbed || isIncomplete) for (const name of Object.keys(costs)) costs[name] = null;
  return { costs, captures };
}

/** Every round begins with another condition, so that none always follows the same one's aftermath. */
function rotated(entries, by) {
  const first = by % entries.length;
  return [...entries.slice(first), ...entries.slice(0, first)];
}

const isComplete = (round) => !Object.values(round).some((costs) => Object.values(costs).includes(null));

/** Goes on until so many rounds were undisturbed, or time is up: what a disturbed round has is used too. */
async function measureRounds(wanted, conditions, timed) {
  const neighbours = new Neighbours(timed);
  const end = performance.now() + timeLimitMs;
  const rounds = [];
  const captures = { captured: 0, lost: 0 };
  while (rounds.filter(isComplete).length < wanted && performance.now() < end) {
    const round = {};
    for (const [name, start] of rotated([...conditions], rounds.length)) {
      const measured = await measure(name, start, timed, neighbours);
      round[name] = measured.costs;
      if (name !== noCache) continue;
      captures.captured += measured.captures?.captured ?? 0;
      captures.lost += measured.captures?.lost ?? 0;
    }
    rounds.push(round);
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kround ${rounds.length} of ${wanted}`);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return { rounds, captures };
}

/** The tracer's own CPU time while the traced process opens and closes sockets as fast as it can. */
async function measureSteady(timed) {
  const tracer = await startTracer(root, timed.pid);
  try {
    await timed.run('openclose', 1_000); // the tracer's start is over then
    const [cpu, begun] = [cpuNsOf(tracer.pid), performance.now()];
    const { cyclesPerSecond } = await timed.run('openclose', steadyMs);
    const ms = performance.now() - begun;
    return { ms, socketsPerSecond: cyclesPerSecond, tracerCores: (cpuNsOf(tracer.pid) - cpu) / 1e6 / ms };
  } finally {
    await tracer.stop();
  }
}

async function bench(values) {
  const timed = await Cycles.start();
  const idle = await Cycles.start(0);
  try {
    const attachMs = [];
    const conditions = conditionsOf(values, timed, idle, attachMs);
    const { rounds, captures } = await measureRounds(Number(values.rounds), conditions, timed);
    const results = Object.fromEntries(
      workloads.map((workload) => {
        const names = [...conditions.keys()].filter((condition) => workloadsOf(condition).includes(workload));
        return [workload.name, compare(rounds, workload.name, names)];
      }),
    );
    const steady = await measureSteady(timed);
    const summary = { results, attachMs: summarize(attachMs), steady };
    return {
      host: { kernel: release(), cpu: cpus()[0]?.model ?? 'unknown', cpus: availableParallelism(), pinning },
      rounds: { measured: rounds.length, undisturbed: rounds.filter(isComplete).length },
      captures,
      ...summary,
      budgets: judge(summary),
    };
  } finally {
    await Promise.all([timed.stop(), idle.stop()]);
  }
}

function print({ host, rounds, captures, results, attachMs, steady, budgets }) {
  console.log(`Linux ${host.kernel}, ${host.cpus} x ${host.cpu}; ${host.pinning}`);
  console.log(
    `${rounds.measured} rounds, ${rounds.undisturbed} of them undisturbed; median (min..max) of the rounds\n`,
  );
  console.log(renderTable(results));
  const paced = workloadsOf(noCache).map(({ cycle, cyclesPerSecond }) => `${cyclesPerSecond} cycles/s of ${cycle}`);
  const validity = captures.lost > 0 ? 'rounds that lost any do not count' : 'every one was copied';
  console.log(
    `\n${noCache}: ${captures.captured} stacks copied at ${paced.join()}, ${captures.lost} lost to a full ring (${validity})`,
  );
  const { min, median, max } = attachMs;
  console.log(
    `\nstart to attached: ${median.toFixed(0)} ms (${min.toFixed(0)}..${max.toFixed(0)}), node's start included`,
  );
  console.log(
    `tracer: ${(100 * steady.tracerCores).toFixed(2)}% of a core for ${(steady.ms / 1000).toFixed(1)} s of ${steady.socketsPerSecond.toFixed(0)} sockets/s\n`,
  );
  console.log(renderBudgets(budgets));
}

async function main() {
  const { values } = parseArgs({ options });
  if (!(Number(values.rounds) >= 1)) throw new TypeError('--rounds wants a number of at least 1');
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  if (!isRoot) {
    say('the benchmark attaches to the kernel, which needs root. Run: sudo npm run bench');
    return 3;
  }
  const result = await bench(values);
  print(result);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  return 0;
}

process.exitCode = await main();
