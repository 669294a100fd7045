/** Runs the guests of a choice of kernels, and tells what came out of each. */
import { freemem } from 'node:os';
import { join } from 'node:path';
import { runGuest } from './lab-guest.mjs';
import { writeBaseImage } from './lab-image.mjs';
import { fetchKernel, labKernels } from './lab-kernels.mjs';
import { ciPattern, labGuests, machineOnly, planOf, readResults, warningsOf } from './lab-plan.mjs';
import { findProgram, root, say } from './run.mjs';

const bootTimeoutMs = 30 * 60_000;

/** A guest idles a third of its time, mostly until the kernel has let go of programs: two of them keep one CPU busy. */
const mostGuestsAtOnce = 4;
/** Of its memory, with its file system and QEMU. */
const guestBytes = 3.2 * 2 ** 30;

function guestsAtOnce() {
  return Math.max(1, Math.min(mostGuestsAtOnce, Math.floor(freemem() / guestBytes)));
}

/** The guests of each kernel, after a choice of {whole, hooks, files, pattern}; what is not chosen is as planned. */
export function chosenGuests({ whole, hooks, files, pattern }) {
  return labGuests
    .filter((guest) => hooks === undefined || hooks.includes(guest.hooks))
    .map((guest) => ({
      ...guest,
      files: files ?? guest.files,
      expected: files === undefined && pattern === undefined ? guest.files : [],
      pattern: pattern ?? (whole ? guest.pattern : ciPattern(guest.pattern)),
    }));
}

/**
 * @returns for each kernel {kernel, required, notRun: reason or null, version, guests: [{boot, hooks, notRun: reason or
 * null, ended, said: the end of its console, tests, warnings}]}
 */
export async function runLab(choice = {}) {
  const kernels = labKernels.filter(({ name, required }) => choice.kernels?.includes(name) ?? required === true);
  for (const program of ['qemu-system-x86_64', 'busybox'])
    if (findProgram(program) === null) return kernels.map((kernel) => notRun(kernel, `${program} is not installed`));
  const base = join(root, '.cache', 'lab', 'base.cpio');
  writeBaseImage(base);
  const fetched = new Map(kernels.map((kernel) => [kernel, fetchKernel(kernel)]));
  const jobs = chosenGuests(choice).flatMap((guest) =>
    kernels.filter((kernel) => fetched.get(kernel).ok).map((kernel) => ({ kernel, guest })),
  );
  const results = await sideBySide(jobs, ({ kernel, guest }) => runOne(kernel, fetched.get(kernel), guest, base));
  return kernels.map((kernel) => {
    const { ok, reason, version } = fetched.get(kernel);
    if (!ok) return notRun(kernel, reason);
    const guests = results.filter((_, i) => jobs[i].kernel === kernel);
    return { kernel: kernel.name, required: kernel.required ?? false, notRun: null, version, guests };
  });
}

async function sideBySide(items, work) {
  const results = [];
  const waiting = [...items.entries()];
  const worker = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) results[next[0]] = await work(next[1]);
  };
  await Promise.all(Array.from({ length: guestsAtOnce() }, worker));
  return results;
}

function notRun({ name, required = false }, reason) {
  return { kernel: name, required, notRun: reason, version: null, guests: [] };
}

async function runOne({ name, lacks = {} }, { image, modules, version }, guest, base) {
  const { boot, append, hooks } = guest;
  const lack = lacks[boot] ?? lacks[hooks];
  if (lack !== undefined) return { boot, hooks, notRun: lack, ended: null, said: '', tests: [], warnings: [] };
  say(`kernel lab: ${version}, ${boot}: hook set ${hooks}`);
  const { ended, console, results, dmesg } = await runGuest({
    name: `${name}-${boot.replaceAll('=', '-')}-${hooks}`,
    image,
    modules,
    base,
    plan: planOf(guest),
    append,
    timeoutMs: bootTimeoutMs,
  });
  return {
    boot,
    hooks,
    notRun: null,
    ended,
    said: lastLines(console, 30),
    tests: readResults(results, guest.expected),
    // A kernel that died has no dmesg to give.
    warnings: warningsOf(`${dmesg}\n${dmesg === '' ? console : ''}`),
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

/** What was left out of the guests because it is the same on all kernels, by name; nothing when all was run. */
export function leftOutOf({ whole, files, pattern }) {
  if (whole || files !== undefined || pattern !== undefined) return [];
  return Object.entries(machineOnly).flatMap(([file, names]) => names.map((name) => `${file}: ${name}`));
}

/** kernel x hook set x file, as lines of a table. */
export function tableOf(kernels) {
  const rows = kernels.flatMap(({ kernel, version, notRun: reason, guests }) =>
    reason === null
      ? guests.flatMap((guest) =>
          rowsOf(guest).map((row) => [`${kernel} (${version})`, guest.boot, guest.hooks, ...row]),
        )
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

function rowsOf({ tests, notRun: lack }) {
  if (lack !== null) return [['-', `NOT RUN: ${lack}`]];
  if (tests.length === 0) return [['-', 'NO RESULT']];
  return [...new Set(tests.map(({ file }) => file))].map((file) => {
    const group = tests.filter((test) => test.file === file);
    const failed = group.filter(({ failure }) => failure !== null).length;
    const ran = group.filter(({ notRun }) => notRun === null).length;
    const reasons = new Set(group.flatMap(({ notRun }) => notRun ?? []));
    const left = ran === group.length ? '' : `, ${group.length - ran} NOT RUN: ${[...reasons].join('; ')}`;
    return [file, `${failed > 0 ? `${failed} of ${ran} FAILED` : `${ran} passed`}${left}`];
  });
}
