/** Boots one guest under QEMU and gives back what it wrote. */
import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { writePlan } from './lab-image.mjs';
import { root } from './run.mjs';

/** Guests that still run; ended with this process. */
const running = new Set();
process.once('exit', () => {
  for (const guest of running) guest.kill('SIGKILL');
});

async function concatenate(file, parts) {
  const out = createWriteStream(file);
  for (const part of parts) await pipeline(createReadStream(part), out, { end: false });
  await new Promise((resolve) => out.end(resolve));
}

/**
 * Emulated (TCG), one thread for both CPUs: with a thread each, QEMU may run code that the kernel has just patched, and
 * attaching a trampoline to a busy function ends in "Oops: int3".
 */
function qemuArguments(image, initrd, append, files, interactive) {
  return [
    ...['-machine', 'q35', '-accel', 'tcg,thread=single', '-cpu', 'max', '-smp', '2', '-m', '2560M'],
    ...['-display', 'none', '-no-reboot', '-nic', 'none'],
    ...['-kernel', image, '-initrd', initrd],
    ...['-append', `console=ttyS0 quiet panic=-1 slab_nomerge ${append}`.trim()],
    ...['-serial', interactive ? 'mon:stdio' : `file:${files.console}`],
    ...['-serial', `file:${files.results}`, '-serial', `file:${files.dmesg}`],
  ];
}

/**
 * Runs `plan` (a shell script, in /work) in a guest.
 * @returns {ended: how it ended, console, results, dmesg: texts}
 */
export async function runGuest({ name, image, modules, base, plan, append = '', timeoutMs, interactive = false }) {
  const folder = mkdtempSync(join(tmpdir(), 'socktrace-lab-'));
  const files = Object.fromEntries(['console', 'results', 'dmesg'].map((file) => [file, join(folder, file)]));
  const logs = join(root, '.cache', 'lab');
  mkdirSync(logs, { recursive: true });
  files.console = join(logs, `${name}.log`);
  try {
    writePlan(join(folder, 'plan.cpio'), plan, modules);
    const initrd = join(folder, 'initrd');
    await concatenate(initrd, [base, join(folder, 'plan.cpio')]);
    const args = qemuArguments(image, initrd, append, files, interactive);
    const ended = await new Promise((resolve) => {
      const guest = spawn('qemu-system-x86_64', args, {
        stdio: interactive ? 'inherit' : ['ignore', 'ignore', 'pipe'],
      });
      running.add(guest);
      let complaint = '';
      guest.stderr?.on('data', (text) => {
        complaint = (complaint + text).slice(-2000);
      });
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        guest.kill('SIGKILL');
      }, timeoutMs);
      guest.once('error', (error) => {
        complaint = error.message;
      });
      guest.once('close', (code) => {
        clearTimeout(timer);
        running.delete(guest);
        resolve(late ? `killed after ${timeoutMs / 1000} s` : code === 0 ? 'powered off' : `qemu: ${complaint.trim()}`);
      });
    });
    const text = (file) => {
      try {
        return readFileSync(file, 'utf8');
      } catch {
        return '';
      }
    };
    return { ended, console: text(files.console), results: text(files.results), dmesg: text(files.dmesg) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
