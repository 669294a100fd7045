/**
 * What tracing adds to each socket call. In every round each condition is set up, timed on each workload for a moment, and
 * taken down, so that what else happens on the host falls on all of them alike. A slice during which another tracer was
 * attached, or the CPU never had only this to do, does not count, and ratios are made within a round.
 *
 *     bare        nothing is attached
 *     floor       the hooks of socktrace, empty but for one hash update at open and one delete at destroy
 *     no paths    socktrace traces the process that is timed, with --no-paths
 *     traced      the same with call paths: the cache knows them
 *     no cache    the same, each stack copied whole and unwound; paced only, for what finds the ring full is not copied
 *     elsewhere   socktrace traces another process, which is idle
 *     others      each peer of lib/peers.mjs that attaches here, in the first rounds: some stop the process at each call
 *
 * For who changes the hot path:
 *
 *     --floor-without NAMES   one more condition: the floor without these programs of test/bench/floor.bpf.c (comma)
 *     --compare CHECKOUT      one more condition: `traced` by another built checkout of socktrace
 */
import { basename } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../lib/run.mjs';
import { peers, tryPeer } from './lib/peers.mjs';
import { Cycles, linksOf, startEveryStack, startFloor, startTracer } from './lib/processes.mjs';
import { atLeast, atMost, measured, notRun, row } from './lib/rows.mjs';
import { summarize } from './lib/statistics.mjs';

const openclose = { name: 'socket()+close()', cycle: 'openclose', cyclesPerSecond: 0 };
const bind = { name: 'socket()+bind()+close()', cycle: 'bind', cyclesPerSecond: 0 };
const connect = { name: 'connect+accept+close on loopback', cycle: 'connect', cyclesPerSecond: 0 };
/** Paced, all stacks of a slice fit into the ring: they are unwound between slices. */
const paced = { name: 'socket()+bind()+close()', cycle: 'bind', cyclesPerSecond: 2_000 };
const workloads = [openclose, bind, connect, paced];

const noCache = 'no cache';
const tracedBy = 'traced by ';
const peerNames = new Set(peers.map(({ name }) => name));
const stops = new Set(peers.filter((peer) => peer.stops).map(({ name }) => name));

function isTimed(condition, workload) {
  if (workload === paced) return condition === noCache || condition === 'bare' || condition === 'traced';
  return condition !== noCache;
}

const sliceMs = 150;
const pacedSliceMs = 300;
const sliceTries = 4;
// A tracer's start keeps another CPU busy, which on some hosts is the other half of the same core.
const settleMs = 250;
const quietPatienceMs = 20_000;
const effort = {
  full: { rounds: 12, peerRounds: 4, limitMs: 270_000 },
  quick: { rounds: 2, peerRounds: 1, limitMs: 45_000 },
};

/** `{conditions: name -> start, absent: name -> why not}` */
async function conditionsOf({ compare, floorWithout }, timed, idle, attachNs) {
  const traced = async (checkout, pid) => {
    const tracer = await startTracer(checkout, pid);
    if (checkout === root) attachNs.push(tracer.attachMs * 1e6);
    return tracer;
  };
  const conditions = new Map([
    ['bare', async () => null],
    ['floor', () => startFloor()],
    ['no paths', () => startTracer(root, timed.pid, ['--no-paths'])],
    ['traced', () => traced(root, timed.pid)],
    [noCache, () => startEveryStack(timed.pid)],
    ['elsewhere', () => traced(root, idle.pid)],
    ...floorWithout.map((names) => [`floor -${names}`, () => startFloor(names.split(','))]),
    ...compare.map((checkout) => [`${tracedBy}${basename(checkout)}`, () => traced(checkout, timed.pid)]),
  ]);
  const absent = new Map();
  for (const peer of peers) {
    const { start, reason } = await tryPeer(peer, timed.pid);
    if (start) conditions.set(peer.name, start);
    else absent.set(peer.name, reason);
  }
  return { conditions, absent };
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
  async quiet(deadline) {
    const end = Math.min(deadline, performance.now() + quietPatienceMs);
    while ((await this.disturb(null)) && performance.now() < end) await sleep(200);
  }
}

/** One condition: a map from workload to ns, without what was disturbed or did not do all that it should. */
async function measure(condition, start, timed, neighbours) {
  const attached = await start();
  const costs = new Map();
  let captures = null;
  let disturbed = true;
  try {
    await sleep(settleMs);
    const before = await neighbours.disturb(attached);
    for (const workload of workloads.filter((each) => isTimed(condition, each))) {
      const ns = await timeCycle(timed, workload, attached, stops.has(condition));
      if (ns !== null) costs.set(workload, ns);
    }
    disturbed = before || (await neighbours.disturb(attached));
  } finally {
    captures = (await attached?.stop()) ?? null;
  }
  const isIncomplete = condition === noCache && !(captures?.captured > 0 && captures.lost === 0);
  return disturbed || isIncomplete ? new Map() : costs;
}

/** Every round begins with another condition, so that none always follows the same one's aftermath. */
function rotated(entries, by) {
  const first = by % entries.length;
  return [...entries.slice(first), ...entries.slice(0, first)];
}

/** Whether nothing is missing of what every round should have. */
function isComplete(round, conditions) {
  const own = [...conditions.keys()].filter((name) => !peerNames.has(name));
  return own.every((name) => workloads.every((each) => !isTimed(name, each) || round.get(name).has(each)));
}

/** Goes on until so many rounds were undisturbed, or time is up: what a disturbed round has is used too. */
async function measureRounds({ rounds: wanted, peerRounds, limitMs }, { conditions, absent }, timed) {
  const neighbours = new Neighbours(timed);
  const end = performance.now() + limitMs;
  const rounds = [];
  let complete = 0;
  while (complete < wanted && performance.now() < end) {
    const round = new Map();
    const due = rotated([...conditions], rounds.length).filter(
      ([name]) => !peerNames.has(name) || rounds.length < peerRounds,
    );
    rounds.push(round);
    for (const [name, start] of due) {
      await neighbours.quiet(end);
      if (performance.now() >= end) return rounds;
      try {
        round.set(name, await measure(name, start, timed, neighbours));
      } catch (error) {
        if (!peerNames.has(name)) throw error;
        // Another tool that does not attach again takes nothing from the others.
        conditions.delete(name);
        absent.set(name, error.message);
      }
    }
    if (isComplete(round, conditions)) complete++;
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[Kround ${rounds.length} of ${wanted}`);
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  return rounds;
}

/** Of rounds, what becomes of the costs of these conditions within each that has them all. */
function within(rounds, workload, conditions, become) {
  const costs = rounds.map((round) => conditions.map((name) => round.get(name)?.get(workload)));
  return summarize(costs.filter((each) => !each.includes(undefined)).map((each) => become(...each)));
}

function rowsOf(rounds, { conditions, absent }, attachNs) {
  const of = (unit, workload, names, become) => {
    const why = names.flatMap((name) => absent.get(name) ?? [])[0];
    return why ? notRun(why) : measured(unit, within(rounds, workload, names, become));
  };
  const added = (workload, name) => of('ns', workload, [name, 'bare'], (cost, bare) => cost - bare);
  const bare = (workload) => ['(the cycle itself, untraced)', of('ns', workload, ['bare'], (cost) => cost)];
  const own = new Set(['bare', 'no paths', 'traced', noCache, 'elsewhere']);
  const others = [...conditions.keys()].filter((name) => !own.has(name));
  const missing = [...absent].map(([name, reason]) => [name, notRun(reason)]);
  const beside = (workload) => [
    bare(workload),
    ...others.map((name) => [name, added(workload, name)]),
    ...(workload === openclose ? missing : []),
  ];

  const compared = [...conditions.keys()].filter((name) => name.startsWith(tracedBy));
  const addedRows = [openclose, bind, connect].flatMap((workload) => [
    row(`${workload.name}: added by socktrace`, added(workload, 'traced'), { beside: beside(workload) }),
    row(`${workload.name}: added with --no-paths`, added(workload, 'no paths')),
    ...compared.map((other) =>
      row(
        `${workload.name}: added by socktrace, to what is added when ${other}`,
        of('times', workload, ['traced', other, 'bare'], (ours, theirs, none) => (ours - none) / (theirs - none)),
      ),
    ),
  ]);
  const strace = 'strace -f -k -e trace=%net';
  return [
    ...addedRows,
    row(`${paced.name}: added when both stacks are new, and copied whole`, added(paced, noCache), {
      beside: [['both known to the cache, at the same pace', added(paced, 'traced')]],
    }),
    row(`${connect.name}: added to a process that is not traced`, added(connect, 'elsewhere')),
    row(
      `${openclose.name}: added with --no-paths, to what the floor adds`,
      of('times', openclose, ['no paths', 'bare', 'floor'], (cost, none, floor) => (cost - none) / (floor - none)),
      { budget: atMost('times', 1.5) },
    ),
    row(
      `${bind.name}: added by each of two call paths that the cache knows`,
      of('ns', bind, ['traced', 'no paths'], (paths, none) => (paths - none) / 2),
      { budget: atMost('ns', 1_000) },
    ),
    row(
      `${bind.name}: what ${strace} adds, to what socktrace adds`,
      of('times', bind, [strace, 'traced', 'bare'], (theirs, ours, none) => (theirs - none) / (ours - none)),
      { budget: atLeast('times', 30) },
    ),
    row(
      `${connect.name}: how much slower when another process is traced`,
      of('share', connect, ['elsewhere', 'bare'], (cost, none) => cost / none - 1),
      { budget: atMost('share', 0.03) },
    ),
    row('start of socktrace to attached, that of node included', measured('ns', summarize(attachNs)), {
      budget: atMost('ns', 0.5e9),
    }),
  ];
}

async function* run({ quick, compare, floorWithout }) {
  const timed = await Cycles.start();
  const idle = await Cycles.start(0);
  try {
    const attachNs = [];
    const all = await conditionsOf({ compare, floorWithout }, timed, idle, attachNs);
    const rounds = await measureRounds(quick ? effort.quick : effort.full, all, timed);
    yield* rowsOf(rounds, all, attachNs);
  } finally {
    await Promise.all([timed.stop(), idle.stop()]);
  }
}

export const cycles = { name: 'cycles', says: 'what tracing adds to each socket call', needsRoot: true, run };
