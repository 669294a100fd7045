// `npm run soak`: programs that churn at random under one long session; now and then all stand still, and every count
// and every suspect is held against the kernel's other ways and the programs' own. See scripts/soak.mjs.
import { setTimeout as sleep } from 'node:timers/promises';
import { Churner } from './churner.ts';
import { censusAgainstProc, type Differences, ledgerAgainstTruth, type Truth, truthOf } from './compare.ts';
import { Random } from './random.ts';
import { type Seen, Watcher } from './watcher.ts';

const CHURNERS = 8;
/** Whose network namespace each is in; its own number: one of its own. */
const NAMESPACES = [0, 1, 2, 3, 4, 0, 0, 1];
/** So much later than the last change, and so many readings, nothing more is to come: a busy tracer reads more rarely. */
const PATIENCE_MS = 60_000;
const READINGS = 3;
const MOST_SHOWN = 20;
/** Memory is flat when the later half needs hardly more than the earlier one; the first part is not looked at. */
const WARM_UP = 0.2;
const RSS_SPARE = 16 << 20;
const BPF_SPARE = 1 << 20;

interface Sample {
  atMs: number;
  rss: number;
  bpf: number;
}

interface Totals {
  comparisons: number;
  differences: number;
}

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
    const isOver = readings >= READINGS && performance.now() > end;
    if (differences.length === 0 || isOver) return { differences, truth, seen };
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
  const judge = (name: string, of: (sample: Sample) => number, spare: number): Differences => {
    const [before, after] = [median(earlier.map(of)), median(later.map(of))];
    console.log(`${name}: median ${mib(before)} MiB in the earlier half, ${mib(after)} MiB in the later one`);
    return after > before * 1.1 + spare ? [`${name} grew from ${mib(before)} to ${mib(after)} MiB`] : [];
  };
  return [
    ...judge('memory of the tracer', ({ rss }) => rss, RSS_SPARE),
    ...judge('memory of its BPF maps', ({ bpf }) => bpf, BPF_SPARE),
  ];
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
  const totals: Totals = { comparisons: 0, differences: 0 };
  const all: Differences = [];
  const beginMs = performance.now();
  let shownMs = Number.NEGATIVE_INFINITY;
  say(['minute', 'compared', 'different', 'opened', 'accepted', 'at exit', 'suspects', 'held', 'RSS MiB', 'BPF MiB']);
  const isOver = (): boolean => performance.now() - beginMs >= minutes * 60_000;
  do {
    const steps = random.from(5, 60);
    await Promise.all(churners.map((one) => one.churn(steps)));
    const { differences, truth, seen } = await compareAll(churners, tracer, other);
    totals.comparisons++;
    totals.differences += differences.length;
    for (const line of differences.slice(0, MOST_SHOWN)) console.log(`  comparison ${totals.comparisons}: ${line}`);
    all.push(...differences);
    const memory = await tracer.ask('memory');
    const atMs = performance.now() - beginMs;
    samples.push({ atMs, ...memory });
    if (atMs - shownMs < 60_000 && !isOver()) continue;
    shownMs = atMs;
    const minute = (atMs / 60_000).toFixed(1);
    const counts = [totals.comparisons, totals.differences, truth.opened, truth.accepted, truth.heldAtExit];
    say([minute, ...counts, seen.sockets.length, seen.held, mib(memory.rss), mib(memory.bpf)]);
    for (const { code, count } of seen.losses) console.log(`  loss: ${count} ${code}`);
    // A difference that stays would be told again by each comparison.
  } while (!isOver() && all.length === 0);
  return all.length > 0 ? all : growth(samples);
}

const [minutes, seed, tracerProgram] = process.argv.slice(2) as [string, string, string];
const problems = await soak(Number(minutes), Number(seed), tracerProgram);
for (const problem of problems.slice(0, MOST_SHOWN)) console.log(problem);
console.log(
  problems.length === 0 ? 'soak passed' : `soak FAILED: ${problems.length} differences; --seed ${seed} repeats it`,
);
process.exitCode = problems.length === 0 ? 0 : 1;
