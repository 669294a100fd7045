/** What the live view costs, on a pseudo-terminal, of a process whose sockets are suspects. Its helpers are not counted. */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../lib/run.mjs';
import { Churn, cpuNsOf, ended, patienceMs } from './lib/processes.mjs';
import { atMost, measured, notRun, row } from './lib/rows.mjs';
import { share } from './lib/statistics.mjs';

const effort = { full: { settleMs: 45_000, watchMs: 10_000 }, quick: { settleMs: 5_000, watchMs: 2_000 } };
const budgeted = 10_000;
const watches = 3;
/** The view is on: it has taken the screen. */
const alternateScreen = '\x1b[?1049h';

function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}

const isNode = (pid) => ['node', 'MainThread'].includes(readFileSync(`/proc/${pid}/comm`, 'utf8').trim());

/** `script` of util-linux runs a shell that becomes Node; the view is on once it has the screen. */
async function startView(target) {
  const view = `exec '${process.execPath}' '${join(root, 'dist/cli/main.js')}' --pid ${target} --min-age 1s`;
  const terminal = spawn('script', ['-qfc', `stty cols 200 rows 50; ${view}`, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, TERM: 'xterm-256color' },
  });
  await new Promise((resolve, reject) => {
    let said = '';
    const timer = setTimeout(() => reject(new Error(`no live view in ${patienceMs} ms: ${said}`)), patienceMs);
    terminal.once('error', reject);
    terminal.once('exit', () => reject(new Error(`the live view ended early: ${said}`)));
    terminal.stdout.on('data', (bytes) => {
      if (said.includes(alternateScreen)) return; // read and dropped, as a fast terminal does
      said += bytes;
      if (!said.includes(alternateScreen)) return;
      clearTimeout(timer);
      resolve();
    });
  });
  const pid = childrenOf(terminal.pid).find(isNode);
  if (pid === undefined) throw new Error('the live view has no process');
  return {
    pid,
    async stop() {
      process.kill(pid, 'SIGINT');
      await ended(terminal);
    },
  };
}

async function coresOf(pid, ms) {
  const parts = [];
  for (let i = 0; i < watches; i++) {
    const [cpu, begun] = [cpuNsOf(pid), performance.now()];
    await sleep(ms);
    parts.push({ amount: (cpuNsOf(pid) - cpu) / 1e6, over: performance.now() - begun });
  }
  return measured('share', share(parts));
}

async function viewOf(held, { settleMs, watchMs }) {
  const what = `live view with ${held.toLocaleString('en-US')} suspects: CPU of the tracer`;
  const budget = atMost('share', 0.02, held < budgeted ? `${budgeted.toLocaleString('en-US')} suspects` : null);
  const churn = await Churn.start();
  try {
    const view = await startView(churn.pid);
    try {
      await churn.hold(held);
      await sleep(settleMs);
      return row(what, await coresOf(view.pid, watchMs), { budget });
    } finally {
      await view.stop();
    }
  } catch (error) {
    if (error.code === 'ENOENT') return row(what, notRun('script of util-linux is not installed'), { budget });
    throw error;
  } finally {
    await churn.stop();
  }
}

async function* run({ quick }) {
  for (const held of [0, budgeted]) yield await viewOf(held, quick ? effort.quick : effort.full);
}

export const live = { name: 'live', says: 'what the live view costs', needsRoot: true, run };
