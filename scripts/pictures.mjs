/**
 * `npm run pictures`, as root: the pictures of the README, of the demo service that leaks for real. The live view in a
 * real terminal, as SVG; the HTML report of a recording made meanwhile, as PNG.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { runsOf, svgOf } from './lib/ansi-svg.mjs';
import { launchBrowser, withFolder } from './lib/incident-page.mjs';
import { root } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

const cli = join(root, 'dist/cli/main.js');
const folder = join(root, 'docs/pictures');
const columns = 126;
const listRows = 12;
const findingRows = 32;
const quick = ['--min-age', '2s', '--leak-age', '5s'];
/** What is in a picture is seen by everybody. */
const shownRoot = '/opt/socktrace';
const mostBytes = 150_000;
const patienceMs = 120_000;

const tmuxSocket = `socktrace-pictures-${process.pid}`;
const tmux = (...args) => execFileSync('tmux', ['-L', tmuxSocket, ...args], { encoding: 'utf8' });
const screen = () => tmux('capture-pane', '-p', '-e').split('\n').slice(0, -1);
const plain = (lines) =>
  lines
    .map((_, row) =>
      runsOf(lines)
        .filter((run) => run.row === row)
        .map(({ text }) => text)
        .join(''),
    )
    .join('\n');

/** The screen, once it shows this. */
async function shows(what) {
  const end = performance.now() + patienceMs;
  while (performance.now() < end) {
    const lines = screen();
    if (what.test(plain(lines))) return lines;
    await sleep(100);
  }
  throw new Error(`the live view never shows ${what}:\n${plain(screen())}`);
}

async function keep(name, contents) {
  const path = join(folder, name);
  writeFileSync(path, contents);
  const bytes = statSync(path).size;
  if (bytes > mostBytes) throw new Error(`${path} has ${bytes} bytes, more than ${mostBytes}`);
  console.log(`${path} ${bytes} bytes`);
}

const draw = (lines, title) =>
  svgOf(
    lines.map((line) => line.replaceAll(root, shownRoot)),
    columns,
    title,
  );

async function pictureLive(pid) {
  const view = [process.execPath, cli, '--pid', pid, ...quick];
  tmux(
    '-f',
    '/dev/null',
    '-u',
    'new-session',
    '-d',
    '-x',
    `${columns}`,
    '-y',
    `${listRows}`,
    'env',
    '-u',
    'NO_COLOR',
    ...view,
  );
  try {
    const list = await shows(/^pid .* 4\ds [\s\S]*LEAK .*bind-failed[\s\S]*LEAK .*bound-inactive/m);
    await keep('live.svg', draw(list, 'The live view: findings of a leaking service, greatest first'));
    tmux('resize-window', '-x', `${columns}`, '-y', `${findingRows}`);
    tmux('send-keys', 'Enter');
    const opened = await shows(/open_report_session[\s\S]*HOLDERS/);
    await keep(
      'live-finding.svg',
      draw(opened, 'The live view: one finding, with the code that opened and bound its sockets'),
    );
  } finally {
    tmux('kill-server');
  }
}

async function picturePage(recording, work) {
  writeFileSync(recording, readFileSync(recording, 'utf8').replaceAll(root, shownRoot));
  const page = join(work, 'leak.html');
  execFileSync(process.execPath, [cli, 'report', recording, '--format', 'html', '-o', page], { stdio: 'inherit' });
  const browser = await launchBrowser();
  try {
    for (const colorScheme of ['light', 'dark']) {
      const tab = await browser.newPage({ viewport: { width: 1200, height: 800 }, colorScheme });
      await tab.goto(pathToFileURL(page).href);
      await tab.locator('#flame g.frame').first().waitFor();
      await keep(`report-${colorScheme}.png`, await tab.screenshot());
      await tab.close();
    }
  } finally {
    await browser.close();
  }
}

/** Resolves with the first group of what a child says. */
async function said(child, stream, what) {
  let text = '';
  for await (const chunk of child[stream]) {
    text += chunk;
    const found = what.exec(text);
    if (found !== null) return found[1] ?? '';
  }
  throw new Error(`${child.spawnfile} ended without ${what}: ${text}`);
}

async function main() {
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  mkdirSync(folder, { recursive: true });
  await withFolder(async (work) => {
    const recording = join(work, 'leak.ndjson');
    const service = spawn(join(root, 'build/leaky-service'), ['incident', '--rate', '20', '--lifetime', '300'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      const pid = await said(service, 'stdout', /^ready pid=(\d+)/m);
      const recorder = spawn(process.execPath, [cli, 'record', '--pid', pid, '-o', recording, ...quick], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      try {
        await pictureLive(pid);
      } finally {
        recorder.kill('SIGINT');
        await once(recorder, 'exit');
      }
      await picturePage(recording, work);
    } finally {
      service.kill('SIGKILL');
    }
  });
  return 0;
}

process.exitCode = await main();
