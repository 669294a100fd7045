/** Runs the guests of a choice of kernels, and tells what came out of each. */
import { join } from 'node:path';
import { runGuest } from './lab-guest.mjs';
import { writeBaseImage } from './lab-image.mjs';
import { fetchKernel, labKernels } from './lab-kernels.mjs';
import { labBoots, planOf, readResults, warningsOf } from './lab-plan.mjs';
import { findProgram, root, say } from './run.mjs';

const bootTimeoutMs = 30 * 60_000;

/** The boots to make, after a choice of {kernels, hooks, files, pattern}; what is not chosen is as planned. */
export function chosenBoots({ hooks, files, pattern }) {
  return labBoots
    .map((boot) => ({
      ...boot,
      runs: boot.runs
        .filter((run) => hooks === undefined || hooks.includes(run.hooks))
        .map((run) => ({ ...run, files: files ?? run.files, pattern: pattern ?? run.pattern })),
    }))
    .filter(({ runs }) => runs.length > 0);
}

/**
 * @returns for each kernel {kernel, required, notRun: reason or null, version, boots: [{boot, ended: null when not booted, said: the end of its console, tests, missing,
 * warnings, notRunSets}]}; `missing`: hook sets that left no result; `notRunSets`: {hooks, reason}
 */
export async function runLab(choice = {}) {
  const kernels = labKernels.filter(({ name, required }) => choice.kernels?.includes(name) ?? required === true);
  for (const program of ['qemu-system-x86_64', 'busybox'])
    if (findProgram(program) === null) return kernels.map((kernel) => notRun(kernel, `${program} is not installed`));
  const base = join(root, '.cache', 'lab', 'base.cpio');
  writeBaseImage(base);
  // Two side by side: each guest keeps one CPU busy.
  return inPairs(kernels, (kernel) => runKernel(kernel, base, chosenBoots(choice)));
}

async function inPairs(items, work) {
  const results = [];
  const waiting = items.map((item, i) => ({ item, i }));
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
      results[next.i] = await work(next.item);
  };
  await Promise.all([worker(), worker()]);
  return results;
}

function notRun({ name, required = false }, reason) {
  return { kernel: name, required, notRun: reason, version: null, boots: [] };
}

async function runKernel(kernel, base, boots) {
  const fetched = fetchKernel(kernel);
  if (!fetched.ok) return notRun(kernel, fetched.reason);
  const results = [];
  const lacks = kernel.lacks ?? {};
  for (const { boot, append, runs: planned } of boots) {
    const lack = (hooks) => lacks[boot] ?? lacks[hooks];
    const runs = planned.filter(({ hooks }) => lack(hooks) === undefined);
    const notRunSets = planned
      .filter(({ hooks }) => lack(hooks) !== undefined)
      .map(({ hooks }) => ({ hooks, reason: lack(hooks) }));
    if (runs.length === 0) {
      results.push({ boot, ended: null, said: '', tests: [], missing: [], warnings: [], notRunSets });
      continue;
    }
    say(`kernel lab: ${fetched.version}, ${boot}: hook sets ${runs.map(({ hooks }) => hooks).join(', ')}`);
    const guest = await runGuest({
      name: `${kernel.name}-${boot.replaceAll('=', '-')}`,
      image: fetched.image,
      modules: fetched.modules,
      base,
      plan: planOf(runs),
      append,
      timeoutMs: bootTimeoutMs,
    });
    const tests = readResults(guest.results);
    const missing = runs.map(({ hooks }) => hooks).filter((hooks) => !tests.some((test) => test.hooks === hooks));
    // A kernel that died has no dmesg to give.
    const warnings = warningsOf(`${guest.dmesg}\n${guest.dmesg === '' ? guest.console : ''}`);
    results.push({
      boot,
      ended: guest.ended,
      said: lastLines(guest.console, 30),
      tests,
      missing,
      warnings,
      notRunSets,
    });
  }
  return {
    kernel: kernel.name,
    required: kernel.required ?? false,
    notRun: null,
    version: fetched.version,
    boots: results,
  };
}

function lastLines(text, count) {
  return text.trimEnd().split('\n').slice(-count).join('\n');
}

/** Opens a shell in a guest; ends with it. */
export async function openShell(kernelName) {
  const kernel = labKernels.find(({ name }) => name === kernelName);
  const fetched = kernel === undefined ? { ok: false, reason: 'no such kernel' } : fetchKernel(kernel);
  if (!fetched.ok) throw new Error(`kernel ${kernelName}: ${fetched.reason}`);
  const base = join(root, '.cache', 'lab', 'base.cpio');
  writeBaseImage(base);
  const plan = 'echo "socktrace: node dist/cli/main.js; exit to leave"; setsid cttyhack sh\n';
  const { image, modules } = fetched;
  await runGuest({ name: 'shell', image, modules, base, plan, timeoutMs: 24 * 3_600_000, interactive: true });
}

/** kernel x hook set x file, as lines of a table. */
export function tableOf(kernels) {
  const rows = kernels.flatMap(({ kernel, version, notRun: reason, boots }) =>
    reason === null
      ? boots.flatMap((boot) => rowsOf(`${kernel} (${version})`, boot))
      : [[kernel, '-', '-', '-', `NOT RUN: ${reason}`]],
  );
  const table = [['KERNEL', 'BOOT', 'HOOKS', 'TESTS', 'RESULT'], ...rows];
  const widths = table[0].map((_, i) => Math.max(...table.map((row) => row[i].length)));
  return table.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]))
      .join('  ')
      .trimEnd(),
  );
}

function rowsOf(kernel, { boot, tests, missing, notRunSets }) {
  const groups = new Map();
  for (const test of tests) {
    const key = `${test.hooks}|${test.file}`;
    groups.set(key, [...(groups.get(key) ?? []), test]);
  }
  const rows = [...groups].map(([key, group]) => {
    const [hooks, file] = key.split('|');
    const failed = group.filter(({ failure }) => failure !== null).length;
    const ran = group.filter(({ notRun }) => notRun === null).length;
    const reasons = new Set(group.flatMap(({ notRun }) => notRun ?? []));
    const left = ran === group.length ? '' : `, ${group.length - ran} NOT RUN: ${[...reasons].join('; ')}`;
    return [kernel, boot, hooks, file, `${failed > 0 ? `${failed} of ${ran} FAILED` : `${ran} passed`}${left}`];
  });
  return [
    ...rows,
    ...missing.map((hooks) => [kernel, boot, hooks, '-', 'NO RESULT']),
    ...notRunSets.map(({ hooks, reason }) => [kernel, boot, hooks, '-', `NOT RUN: ${reason}`]),
  ];
}
