/**
 * `npm run bench:growth`: what a trace costs as the number of sockets grows. All sockets are real ones.
 *
 *     table      sockets in the kernel's table that nobody has to hear of (0, 100,000, 1,000,000)
 *     suspects   sockets that are told, held in the ledger and confirmed again and again (0 to 1,000,000)
 *     rate       sockets a second, healthy (bound and closed) and leaking (kept)
 *
 * Every trace's count of opened sockets is compared with the program's own: a figure of a wrong trace is worth nothing.
 * A budget that does not hold is said and is no failure: timing on a shared host decides nothing.
 *
 *     --most N (1,000,000)   --seconds N that the tracer is watched in each case (10)   --json FILE: the same, for programs
 */
import { writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Churn, Cycles, cpuNsOf, residentBytesOf, startTracer, tableBytesOf } from './lib/bench-processes.mjs';
import { renderBudgets, renderColumns } from './lib/bench-report.mjs';
import { isRoot, root, say } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

const options = {
  most: { type: 'string', default: '1000000' },
  seconds: { type: 'string', default: '10' },
  json: { type: 'string' },
};

const sliceMs = 1_000;
/** Past the first looks and the first growth of the heap. */
const settleMs = 5_000;
const minAge = '1s';
const sendingMsPerSuspect = 0.02;
/** Of other traced processes. */
const spareRows = 100_000;
const leakingMost = 200_000;

/** Share of a core that a process takes while `meanwhile` lasts, and what that gives. */
async function coresOf(pid, meanwhile) {
  const [cpu, begun] = [cpuNsOf(pid), performance.now()];
  const result = await meanwhile();
  return { cores: (cpuNsOf(pid) - cpu) / 1e6 / (performance.now() - begun), result };
}

/** Traces processes while `measure` runs. @throws when the report counts other sockets of `churn` than it opened */
async function traced(churn, others, args, measure) {
  const pids = [churn, ...others].map(({ pid }) => pid);
  const tracer = await startTracer(root, pids, ['--json', ...args]);
  let measured;
  try {
    measured = await measure(tracer);
  } finally {
    await tracer.stop();
  }
  const { processes, loss } = JSON.parse(await tracer.said);
  const counted = processes.find(({ pid }) => pid === churn.pid)?.activity.value.opened ?? 0;
  if (counted !== churn.opened)
    throw new Error(`the trace counted ${counted} opened sockets, not ${churn.opened}: ${JSON.stringify(loss)}`);
  return measured;
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
      return await traced(churn, [timed], args, async (tracer) => {
        await churn.hold(held);
        await sleep(settleMs);
        const { cores } = await coresOf(tracer.pid, () => sleep(watchMs));
        const { ns } = await timed.run('openclose', sliceMs);
        return { held, cores, cycleNs: ns, bytesPerRow: perSocket(tableBytesOf(tracer.pid, held + spareRows), held) };
      });
    } finally {
      await timed.stop();
    }
  });
}

/** Told, in the ledger, and their holders looked up every few seconds. */
function suspectsOf(held, watchMs) {
  return withChurn((churn) =>
    traced(churn, [], ['--min-age', minAge, '--max-sockets', String(held + spareRows)], async (tracer) => {
      await sleep(settleMs);
      const before = residentBytesOf(tracer.pid);
      await churn.hold(held);
      await sleep(settleMs + held * sendingMsPerSuspect);
      const { cores } = await coresOf(tracer.pid, () => sleep(watchMs));
      return { held, cores, bytesPerSuspect: perSocket(residentBytesOf(tracer.pid) - before, held) };
    }),
  );
}

function rateOf(perSecond, kind, watchMs) {
  const ms = kind === 'leaking' ? Math.min(watchMs, (leakingMost / perSecond) * 1_000) : watchMs;
  return withChurn((churn) =>
    traced(churn, [], ['--min-age', minAge], async (tracer) => {
      await sleep(settleMs);
      const { cores, result } = await coresOf(tracer.pid, () => churn.pace(perSecond, ms, kind));
      return { kind, asked: perSecond, reached: (1_000 * result.opened) / result.ms, cores };
    }),
  );
}

const perSocket = (bytes, held) => (held === 0 || bytes === null ? null : bytes / held);
const upTo = (most, sizes) => sizes.filter((size) => size <= most);

async function bench({ most, watchMs }) {
  const results = { table: [], suspects: [], rate: [] };
  for (const held of upTo(most, [0, 100_000, 1_000_000])) results.table.push(await tableOf(held, watchMs));
  for (const held of upTo(most, [0, 10_000, 100_000, 1_000_000]))
    results.suspects.push(await suspectsOf(held, watchMs));
  for (const kind of ['healthy', 'leaking'])
    for (const perSecond of [1_000, 10_000, 100_000]) results.rate.push(await rateOf(perSecond, kind, watchMs));
  return { host: { kernel: release(), cpu: cpus()[0]?.model ?? 'unknown', cpus: availableParallelism() }, ...results };
}

function judge({ table, suspects, rate }) {
  const [rows, told] = [table.at(-1), suspects.at(-1)];
  const fast = rate.find(({ kind, asked }) => kind === 'healthy' && asked === 100_000);
  const budgets = [
    { what: `bytes of a row in the kernel, of ${rows.held}`, limit: 256, measured: rows.bytesPerRow },
    { what: `CPU of the tracer, in cores, with ${rows.held} rows`, limit: 0.01, measured: rows.cores },
    { what: `resident bytes of a suspect in the tracer, of ${told.held}`, limit: 250, measured: told.bytesPerSuspect },
    {
      what: `CPU of the tracer, in cores, at ${Math.round(fast.reached)} healthy sockets/s`,
      limit: 0.02,
      measured: fast.cores,
    },
  ];
  return budgets.map((budget) => ({
    ...budget,
    holds: budget.measured === null ? null : budget.measured <= budget.limit,
  }));
}

const percent = (cores) => `${(100 * cores).toFixed(2)}%`;
const whole = (value) => (value === null ? '-' : value.toFixed(0));

function print({ host, table, suspects, rate, budgets }) {
  console.log(`Linux ${host.kernel}, ${host.cpus} x ${host.cpu}`);
  console.log('\nrows in the table, told to nobody; every cycle is one of another traced process');
  console.log(
    renderColumns(
      ['rows', 'tracer', 'ns of socket()+close()', 'bytes a row'],
      table.map(({ held, cores, cycleNs, bytesPerRow }) => [
        String(held),
        percent(cores),
        whole(cycleNs),
        whole(bytesPerRow),
      ]),
    ),
  );
  console.log('\nsuspects');
  console.log(
    renderColumns(
      ['suspects', 'tracer', 'resident bytes each'],
      suspects.map(({ held, cores, bytesPerSuspect }) => [String(held), percent(cores), whole(bytesPerSuspect)]),
    ),
  );
  console.log('\nsockets a second');
  console.log(
    renderColumns(
      ['kind', 'asked', 'reached', 'tracer'],
      rate.map(({ kind, asked, reached, cores }) => [kind, String(asked), whole(reached), percent(cores)]),
    ),
  );
  console.log(`\n${renderBudgets(budgets)}`);
}

async function main() {
  const { values } = parseArgs({ options });
  const [most, seconds] = [Number(values.most), Number(values.seconds)];
  if (!(most >= 0) || !(seconds > 0)) throw new TypeError('--most and --seconds want numbers');
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  if (!isRoot) {
    say('the benchmark attaches to the kernel, which needs root. Run: sudo npm run bench:growth');
    return 3;
  }
  const results = await bench({ most, watchMs: seconds * 1_000 });
  const result = { ...results, budgets: judge(results) };
  print(result);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  return 0;
}

process.exitCode = await main();
