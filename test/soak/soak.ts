// `npm run soak`: programs that churn at random under one long session; now and then all stand still, and every count
// and every suspect is held against the kernel's other ways and the programs' own. See scripts/soak.mjs.
import { setTimeout as sleep } from 'node:timers/promises';
import { type SocketKind, WASTEFUL_KINDS } from '../../src/ledger/types.ts';
import { Churner } from './churner.ts';
import { censusAgainstProc, type Differences, ledgerAgainstTruth, type Truth, truthOf } from './compare.ts';
import { Random } from './random.ts';
import { type Memory, type Seen, Watcher } from './watcher.ts';

const CHURNERS = 8;
/** Whose network namespace each is in; its own number: one of its own. */
const NAMESPACES = [0, 1, 2, 3, 4, 0, 0, 1];
/** So much later than the last change, and so many readings, nothing more is to come: a busy tracer reads more rarely. */
const PATIENCE_MS = 60_000;
const READINGS = 3;
/** A tracer that reads no more would be waited for without an end. */
const MOST_PATIENCE_MS = 600_000;
const MOST_SHOWN = 20;
/** Memory is flat when the later half needs hardly more than the earlier one; the first part is not looked at. */
const WARM_UP = 0.2;
const RSS_SPARE = 16 << 20;
/** What fills slowly and no further: references of call paths (13 MiB at most), and processes that ended. */
const LIVE_SPARE = 12 << 20;
/** Programs and libraries are read in over the first minutes. */
const OUTSIDE_SPARE = 8 << 20;
const BPF_SPARE = 1 << 20;

interface Sample extends Memory {
  atMs: number;
}

interface Totals {
  comparisons: number;
  differences: number;
  /** sockets that were compared, by what they should be */
  kinds: Map<SocketKind, number>;
}

/** What a run must have compared, or it has shown nothing. */
const TO_BE_COMPARED: readonly SocketKind[] = [
  ...WASTEFUL_KINDS.filter((kind) => kind !== 'closed-unknown'),
  'released',
  'established',
  'listening',
];

const MEMORY = ['RSS MiB', 'live MiB', 'outside MiB', 'helpers MiB', 'BPF MiB'];

function say(cells: readonly (string | number)[]): void {
  console.log(cells.map((cell, i) => String(cell).padStart(i === 0 ? 8 : 12)).join(''));
}

/** Compares until nothing differs, or nothing more can come that would change that. */
async function compareAll(
  churners: readonly Churner[],
  tracer: Watcher,
  other: Watcher,
): Promise<{ differences: Differences; truth: Truth; seen: Seen }> {
  const truth = await truthOf(churners);
  const namespaces = new Set(churners.map(({ puppet }) => puppet.netns));
  const first = await tracer.ask('look');
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    const census = (await other.ask('census')).filter(({ netns }) => namespaces.has(netns));
    const seen = await tracer.ask('look');
    const differences = [...ledgerAgainstTruth(seen, truth, census), ...(await censusAgainstProc(census, churners))];
    const readings = Math.min(seen.sweeps - first.sweeps, seen.walks - first.walks);
    // What was read before they stood still proves nothing.
    if (differences.length === 0 && readings >= 1) return { differences, truth, seen };
    const now = performance.now();
    if (readings >= READINGS && now > end) return { differences, truth, seen };
    if (now > end + MOST_PATIENCE_MS)
      return { differences: [...differences, `the tracer has read ${readings} times since`], truth, seen };
    await sleep(100);
  }
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** What grew, in words; empty when nothing did. */
function growth(samples: readonly Sample[]): Differences {
  const steady = samples.slice(Math.floor(samples.length * WARM_UP));
  const half = Math.floor(steady.length / 2);
  if (half === 0) return ['memory: too few samples to tell'];
  const [earlier, later] = [steady.slice(0, half), steady.slice(half)];
  const judge = (name: string, of: (sample: Sample) => number, spare: number, share = 0.1): Differences => {
    const [before, after] = [median(earlier.map(of)), median(later.map(of))];
    const slope = `${mib(perMinute(steady, of))} MiB a minute`;
    console.log(`${name}: median ${mib(before)} MiB in the earlier half, ${mib(after)} MiB in the later one, ${slope}`);
    if (before === 0) return [`${name} was not measured`];
    return after > before * (1 + share) + spare ? [`${name} grew from ${mib(before)} to ${mib(after)} MiB`] : [];
  };
  return [
    ...judge('memory of the tracer', ({ rss }) => rss, RSS_SPARE),
    ...judge('of it, objects that live', ({ live }) => live, LIVE_SPARE),
    ...judge('of it, outside of the heap', ({ outside }) => outside, OUTSIDE_SPARE, 0),
    ...judge('memory of its helpers', ({ helpers }) => helpers, RSS_SPARE),
    ...judge('memory of its BPF maps', ({ bpf }) => bpf, BPF_SPARE),
  ];
}

/** The slope of the straight line that fits best. */
function perMinute(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const mean = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
  const [atMs, bytes] = [mean(samples.map((sample) => sample.atMs)), mean(samples.map(of))];
  const together = samples.reduce((sum, sample) => sum + (sample.atMs - atMs) * (of(sample) - bytes), 0);
  return (60_000 * together) / samples.reduce((sum, sample) => sum + (sample.atMs - atMs) ** 2, 0);
}

/** Kinds that no comparison had. */
function notCompared({ kinds }: Totals): Differences {
  return TO_BE_COMPARED.filter((kind) => !kinds.has(kind)).map((kind) => `no comparison had a socket that is ${kind}`);
}

function mib(bytes: number): string {
  return (bytes / (1 << 20)).toFixed(1);
}

async function soak(minutes: number, seed: number, tracerProgram: string): Promise<Differences> {
  const lifetimeS = minutes * 60 + 600;
  const churners: Churner[] = [];
  const tracer = new Watcher(tracerProgram);
  const other = new Watcher(tracerProgram);
  try {
    for (let i = 0; i < CHURNERS; i++) {
      const beside = NAMESPACES[i] === i ? null : (churners[NAMESPACES[i] ?? 0] ?? null);
      churners.push(await Churner.start(new Random(seed + i), lifetimeS, beside));
    }
    await tracer.ask('open', { pids: churners.map(({ puppet }) => puppet.pid) });
    return await churnAndCompare(minutes, new Random(seed + CHURNERS), churners, tracer, other);
  } finally {
    await Promise.all(churners.map((one) => one.end()));
    await Promise.all([tracer.end(), other.end()]);
  }
}

async function churnAndCompare(
  minutes: number,
  random: Random,
  churners: readonly Churner[],
  tracer: Watcher,
  other: Watcher,
): Promise<Differences> {
  const samples: Sample[] = [];
  const totals: Totals = { comparisons: 0, differences: 0, kinds: new Map() };
  const all: Differences = [];
  const beginMs = performance.now();
  let shownMs = Number.NEGATIVE_INFINITY;
  say(['minute', 'compared', 'different', 'opened', 'accepted', 'at exit', 'suspects', 'held', ...MEMORY]);
  const isOver = (): boolean => performance.now() - beginMs >= minutes * 60_000;
  do {
    const steps = random.from(5, 60);
    await Promise.all(churners.map((one) => one.churn(steps)));
    const { differences, truth, seen } = await compareAll(churners, tracer, other);
    totals.comparisons++;
    totals.differences += differences.length;
    for (const { kind } of truth.sockets.values()) totals.kinds.set(kind, (totals.kinds.get(kind) ?? 0) + 1);
    for (const line of differences.slice(0, MOST_SHOWN)) console.log(`  comparison ${totals.comparisons}: ${line}`);
    all.push(...differences);
    const memory = await tracer.ask('memory');
    const atMs = performance.now() - beginMs;
    samples.push({ atMs, ...memory });
    if (atMs - shownMs < 60_000 && !isOver()) continue;
    shownMs = atMs;
    const minute = (atMs / 60_000).toFixed(1);
    const counts = [totals.comparisons, totals.differences, truth.opened, truth.accepted, truth.heldAtExit];
    say([
      minute,
      ...counts,
      seen.sockets.length,
      seen.held,
      ...[memory.rss, memory.live, memory.outside, memory.helpers, memory.bpf].map(mib),
    ]);
    for (const { code, count } of seen.losses) console.log(`  loss: ${count} ${code}`);
    // A difference that stays would be told again by each comparison.
  } while (!isOver() && all.length === 0);
  console.log(`sockets compared: ${[...totals.kinds].map(([kind, count]) => `${count} ${kind}`).join(', ')}`);
  return all.length > 0 ? all : [...notCompared(totals), ...growth(samples)];
}

const [minutes, seed, tracerProgram] = process.argv.slice(2) as [string, string, string];
const problems = await soak(Number(minutes), Number(seed), tracerProgram);
for (const problem of problems.slice(0, MOST_SHOWN)) console.log(problem);
console.log(
  problems.length === 0 ? 'soak passed' : `soak FAILED: ${problems.length} differences; --seed ${seed} repeats it`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
