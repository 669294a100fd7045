/** Runs a program in the foreground, as if this process were it. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { say } from './run.mjs';

/** Whether a Ctrl-C in the terminal reaches this whole process group by itself (proc(5), stat: pgrp and tpgid). */
function isTerminalForeground() {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields[2] === fields[5];
}

/**
 * Runs it to its end and returns the exit code to end with. This process outlives it, and does not double a Ctrl-C
 * that the terminal has already given to it: a second one means "end at once" to socktrace. npm passes each signal
 * on to this process once more, so each kind is passed on at most once.
 */
export function runInForeground(program, args) {
  const child = spawn(program, args, { stdio: 'inherit' });
  const passed = new Set();
  const pass = (signal) => {
    if (passed.has(signal) || (signal === 'SIGINT' && isTerminalForeground())) return;
    passed.add(signal);
    child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, pass);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      for (const name of signals) process.off(name, pass);
      if (signal) say(`ended by ${signal}`);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}
