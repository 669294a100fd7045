// Arguments of processes, read through a process of our own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { ArgumentReader } from '../../src/kernel/binding.ts';
import { measured } from '../unit/facts.ts';

const reader = new ArgumentReader();

afterEach(() => reader.close());

async function withChild(args: string[], look: (pid: number) => void): Promise<number> {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()', ...args], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  await once(child, 'spawn');
  const pid = child.pid ?? -1;
  look(pid);
  const exited = once(child, 'exit');
  child.stdin?.end();
  await exited;
  return pid;
}

it('are what /proc shows, also after the reader was ended', () => {
  const own = measured(readFileSync('/proc/self/cmdline'));
  expect(reader.read(process.pid)).toEqual(own);
  expect(reader.read(process.pid)).toEqual(own);
  reader.close();
  expect(reader.read(process.pid)).toEqual(own);
});

it('are cut where they are long; a kernel thread has none, and who has ended is not there', async () => {
  const pid = await withChild(['x'.repeat(100_000)], (child) => {
    expect(reader.read(child)).toEqual(measured(readFileSync(`/proc/${child}/cmdline`).subarray(0, 4096)));
  });
  expect(reader.read(2)).toEqual(measured(readFileSync('/proc/2/cmdline')));
  expect(reader.read(pid)).toEqual({ status: 'unavailable', reason: 'the process has ended' });
});
