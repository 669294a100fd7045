/**
 * `npm run bench`: what socktrace costs, in one table: beside the floor and other tools, measured side by side, and held
 * against the budgets of its design. A budget that does not hold is said and is no failure: timing on a shared host
 * decides nothing. What cannot be run here is named, with the reason. It takes a quarter of an hour.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus as allCpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { cycles } from './bench/cycles.mjs';
import { growth } from './bench/growth.mjs';
import { html } from './bench/html.mjs';
import { pinning } from './bench/lib/processes.mjs';
import { renderMarkdown, renderText } from './bench/lib/render.mjs';
import { failed, notRun, row } from './bench/lib/rows.mjs';
import { ensureBenchTools } from './bench/lib/tools.mjs';
import { live } from './bench/live.mjs';
import { recording } from './bench/recording.mjs';
import { snapshot } from './bench/snapshot.mjs';
import { stall } from './bench/stall.mjs';
import { start } from './bench/start.mjs';
import { argumentsOf } from './lib/arguments.mjs';
import { capture, isRoot, root, say } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

const benches = [start, cycles, growth, live, stall, snapshot, recording, html];

const options = {
  only: { type: 'string', multiple: true, default: [] },
  quick: { type: 'boolean', default: false },
  markdown: { type: 'boolean', default: false },
  json: { type: 'string' },
  compare: { type: 'string', multiple: true, default: [] },
  'floor-without': { type: 'string', multiple: true, default: [] },
};

const names = benches.map(({ name }) => name);

const usage = `npm run bench -- [options]
  --only NAME       these alone (may be repeated): ${names.join(', ')}
  --quick           few rounds, and less of everything: to see that it works, in three minutes
  --markdown        the table as GitHub's markdown
  --json FILE       the same, for programs: see scripts/bench/lib/rows.mjs
For who changes the hot path, of cycles (see scripts/bench/cycles.mjs):
  --compare CHECKOUT, --floor-without NAMES
`;

function mustBeKnown({ values }) {
  const unknown = values.only.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`there is no benchmark ${unknown}`);
}

/** The hook set that socktrace uses here, or null where it cannot trace. */
function hookSet() {
  const args = ['--pid', String(process.pid), '--duration', '100ms', '--json'];
  const { ok, stdout } = capture(process.execPath, [join(root, 'dist/cli/main.js'), ...args]);
  return ok ? JSON.parse(stdout).host.hooks.set : null;
}

function describeHost() {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [load] = loadavg();
  const cpus = allCpus();
  const machine = { kernel: release(), cpu: cpus[0]?.model ?? 'unknown', cpus: cpus.length, pinning, load };
  return { version, hooks: isRoot ? hookSet() : null, ...machine };
}

/** The rows of one, each with its name; what fails is a row, and keeps the others. */
async function rowsOf(bench, values) {
  const rows = [];
  const take = (one) => rows.push({ bench: bench.name, ...one });
  if (bench.needsRoot && !isRoot) take(row(bench.says, notRun('it needs root: sudo npm run bench')));
  else
    try {
      for await (const one of bench.run(values)) take(one);
    } catch (error) {
      say(error.stack);
      take(row(bench.says, failed(error.message.split('\n')[0])));
    }
  return rows;
}

async function bench(values) {
  const begun = performance.now();
  const host = describeHost();
  const startedAt = new Date().toISOString();
  const rows = [];
  for (const one of benches) {
    if (values.only.length > 0 && !values.only.includes(one.name)) continue;
    say(`bench: ${one.name}, ${one.says}`);
    rows.push(...(await rowsOf(one, values)));
  }
  return { schemaVersion: 1, host, startedAt, quick: values.quick, seconds: (performance.now() - begun) / 1e3, rows };
}

async function main(values) {
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  ensureBenchTools();
  const result = await bench({ ...values, floorWithout: values['floor-without'] });
  console.log(values.markdown ? renderMarkdown(result) : renderText(result));
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`);
  const has = (status) => result.rows.some(({ measured }) => measured.status === status);
  return has('failed') ? 1 : has('measured') ? 0 : 3;
}

process.exitCode = await main(argumentsOf(usage, { options }, mustBeKnown).values);
