// What the README and the help pages tell people to type is typed: in a shell, against a service that leaks and recordings
// of it. A line that no rule below covers fails, and so does a rule without a line.
import { execFileSync, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram } from '../../src/cli/program.ts';
import { Program } from './programs.ts';
import { helpLines, readmeLines } from './readme-lines.ts';
import { MAIN, nothingLeft, Socktrace, socktrace } from './socktrace.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const LIMITS = '--min-age 200ms --leak-age 400ms --leak-count 3';
/** Behind a trace that would go on. */
const SHORT = `${LIMITS} --duration 1500ms`;

interface Done {
  code: number | null;
  stdout: string;
  stderr: string;
}

type Rule =
  | {
      is: 'run';
      as?: (line: string) => string;
      in?: 'the checkout' | 'an empty folder';
      code?: number;
      says: RegExp;
      writes?: [string, RegExp];
    }
  /** goes on until it is told to end: what it says by then */
  | { is: 'started'; says: RegExp }
  /** cannot be run here: the real command line has to take its options */
  | { is: 'parsed'; because: string }
  /** a name, in a sentence: the command must exist */
  | { is: 'named' }
  | { is: 'script'; because: string };

const traced = (line: string): string => `${line.replace(/ --duration \S+/, '')} ${SHORT}`;
const LEAKS = /LEAK {2}leaky-service\[\d+\] holds [\d,]+ sockets/;
const report = (says: RegExp): Rule => ({ is: 'run', says });
const trace: Rule = { is: 'run', as: traced, says: LEAKS };
const look: Rule = { is: 'run', says: /\d+ TCP sockets of /, code: 0 };
const run = (code: number, says: RegExp, rest: Partial<Extract<Rule, { is: 'run' }>> = {}): Rule => ({
  ...{ is: 'run', code, says },
  ...rest,
});
const record = (file: string, begins: RegExp): Rule => ({
  is: 'run',
  as: (line) => `${line.replace(/ --duration \S+/, '')} -f ${SHORT}`,
  in: 'an empty folder',
  says: /recorded [\d,]+ lines/,
  writes: [file, begins],
});
const written = (file: string, begins: RegExp): Rule => ({
  is: 'run',
  as: (line) => `${line} -f`,
  says: /^$/,
  writes: [file, begins],
});

const RECORDING = /^\{"type":"recording"/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: it begins with one
const GZIP = /^\x1f/;
const HTML = /^<!doctype html>/i;
const NOT_HERE = 'traces for minutes, and is not run twice';

const RULES: Readonly<Record<string, Rule>> = {
  socktrace: look,
  'socktrace sockstat': run(0, /^ {2}TCP: {3}\d+/m),
  'socktrace sockstat --json | jq .sockstat': run(0, /"status": "measured"/),
  'socktrace snapshot': look,
  'socktrace snapshot --pid PID': run(0, /leaky-service\[\d+\]/),
  'socktrace snapshot --pid 1234': run(0, /leaky-service\[\d+\]/),
  'socktrace snapshot --pid 11464': run(0, /leaky-service\[\d+\]/),
  'socktrace snapshot --kind close-wait': look,
  'socktrace snapshot --kind close-wait --limit 1000': look,
  'socktrace snapshot --json | jq .snapshot': run(0, /"kind": "closed-unknown"/),
  'socktrace --pid PID': trace,
  'socktrace --pid 1234': trace,
  'socktrace --pid PID --duration 5m': trace,
  'socktrace --pid 11464 --duration 5m': trace,
  'socktrace --pid 1234 --duration 2m': trace,
  'socktrace --pid PID --duration 5m --json': { is: 'run', as: traced, says: /"is": ?"leak"/ },
  'socktrace --pid PID --events all': { is: 'run', as: traced, says: /opened$/m },
  'npm start -- --pid 1234': { is: 'run', as: traced, in: 'the checkout', says: LEAKS },
  'socktrace --comm nginx': { is: 'run', as: (line) => traced(line.replace('nginx', 'leaky-service')), says: LEAKS },
  'socktrace --user www-data': { is: 'run', as: (line) => traced(line.replace('www-data', '0')), says: LEAKS },
  'socktrace --cgroup nginx.service': { is: 'parsed', because: 'test/host/selection.test.ts traces cgroups' },
  'socktrace --cgroup CONTAINERID': { is: 'parsed', because: 'test/host/selection.test.ts traces cgroups' },
  'socktrace record --pid PID -o leak.ndjson': record('leak.ndjson', RECORDING),
  'socktrace record --pid 1234 -o leak.ndjson': record('leak.ndjson', RECORDING),
  'socktrace record --pid 1234 -o leak.ndjson.gz --duration 2h --max-size 1G': record('leak.ndjson.gz', GZIP),
  'sudo socktrace record --pid 1234 -o leak.ndjson.gz --duration 2h --max-size 1G': record('leak.ndjson.gz', GZIP),
  'socktrace record --help': report(/^Examples:\n {2}socktrace record /),
  'socktrace help record': report(/^Examples:\n {2}socktrace record /),
  'socktrace report leak.ndjson': report(LEAKS),
  'socktrace report leak.ndjson.gz': report(LEAKS),
  'socktrace report FILE': report(LEAKS),
  'socktrace report FILE --since 5m': report(LEAKS),
  'socktrace report leak.ndjson --since 5m': report(LEAKS),
  'socktrace report leak.ndjson --since 03:00 --until 03:15:30': { is: 'run', as: inItsTime, says: LEAKS },
  'socktrace report FILE --since 03:00 --until 03:15:30': { is: 'run', as: inItsTime, says: LEAKS },
  'socktrace report FILE --until 2026-11-24T03:10:00Z': {
    is: 'run',
    as: (line) => line.replace(/2026\S+/, new Date().toISOString()),
    says: LEAKS,
  },
  'socktrace report A B C': report(/leaky-service/),
  'socktrace report web1.ndjson.gz web2.ndjson.gz': report(/leaky-service/),
  'socktrace report --diff BEFORE AFTER': report(/bound-inactive|bind-failed|no difference|the same/),
  'socktrace report --diff before.ndjson after.ndjson': report(/bound-inactive|bind-failed|no difference|the same/),
  // Both are of one trace: there is nothing new.
  'socktrace report --diff --fail-on-leak before.ndjson after.ndjson': run(
    0,
    /^NOTHING NEW {2}no leak is new, or has grown: \d+ leaks? as before/,
  ),
  'socktrace report FILE --fail-on-leak': run(10, LEAKS),
  'socktrace report leak.ndjson --json | jq .findings': report(/"kind": "bind-failed"/),
  'socktrace report FILE --format html -o leak.html': written('leak.html', HTML),
  'socktrace report leak.ndjson --format html -o leak.html': written('leak.html', HTML),
  'socktrace report FILE --format folded': report(/reserve_data_port.* \d+$/m),
  // The script that draws is no part of this.
  'socktrace report leak.ndjson --format folded | flamegraph.pl > leak.svg': {
    is: 'run',
    as: (line) => line.replace(/ \| flamegraph\.pl > .*/, ''),
    says: /reserve_data_port.* \d+$/m,
  },
  'socktrace report FILE --format pprof -o leak.pb.gz': written('leak.pb.gz', GZIP),
  'socktrace report leak.ndjson --format pprof -o leak.pb.gz': written('leak.pb.gz', GZIP),
  'socktrace report FILE --format speedscope -o leak.speedscope.json': written('leak.speedscope.json', /speedscope/),
  'socktrace report leak.ndjson --format speedscope -o leak.speedscope.json': written(
    'leak.speedscope.json',
    /speedscope/,
  ),
  'socktrace run -- npm test': run(0, /LEAK {2}service\[\d+\]/),
  'socktrace run --fail-on-leak -- npm test': run(10, /LEAK {2}service\[\d+\]/),
  'sudo socktrace run --fail-on-leak -- npm test': run(10, /LEAK {2}service\[\d+\]/),
  'socktrace run --fail-on-leak --allow warm_pool -- ./service --once': run(0, /allowed by "warm_pool": 12 unused/),
  'sudo socktrace run --fail-on-leak --allow warm_pool -o leaks.txt -- ./service --once': run(0, /^$/, {
    writes: ['leaks.txt', /allowed by warm_pool/],
  }),
  'socktrace run --json -o leaks.json -- ./service': run(0, /leaks\.json/, { writes: ['leaks.json', /forget/] }),
  'socktrace doctor': run(0, /socktrace can trace here: socktrace --pid PID/),
  'socktrace doctor --json': run(0, /"possible": true/),
  'socktrace demo list': run(0, /^close-wait/m),
  'socktrace demo close-wait': { is: 'started', says: /ready pid=\d+/ },
  'socktrace demo unused': { is: 'started', says: /ready pid=\d+/ },
  'socktrace demo incident --rate 100': { is: 'started', says: /ready pid=\d+/ },
  'source <(socktrace completion bash)': { is: 'run', as: (line) => `${line}; complete -p socktrace`, says: /-F _/ },
  'source <(socktrace completion zsh)': { is: 'parsed', because: 'test/e2e/completion.test.ts asks zsh' },
  'socktrace completion fish | source': { is: 'parsed', because: 'test/e2e/completion.test.ts asks fish' },
  'socktrace report': { is: 'named' },
  'socktrace run': { is: 'named' },
  'socktrace record': { is: 'named' },
  'npm start': { is: 'script', because: 'a demonstration of a quarter of a minute' },
  'npm test': { is: 'script', because: 'this is part of it' },
  'npm link': { is: 'script', because: 'it changes what the host has installed' },
  'npm run bench': { is: 'script', because: NOT_HERE },
  'npm run sanitize': { is: 'script', because: 'it builds everything once more' },
  'npm run fuzz -- TARGET --seconds N': { is: 'script', because: 'it goes on for as long as one likes' },
  'npm run soak': { is: 'script', because: 'it churns for half an hour' },
  'npm run test:kernels -- --all': { is: 'script', because: 'it boots emulated machines for an hour' },
};

const typed = [...new Set([...readmeLines(), ...helpLines(buildProgram())])];

let folder: string;
let bin: string;
let pid: string;

function folderOf({ in: where }: Extract<Rule, { is: 'run' }>): string {
  return where === undefined ? folder : where === 'the checkout' ? ROOT : join(folder, 'empty');
}

/** As typed, but for the names that stand for something. */
function filledIn(line: string): string {
  return line
    .replace(/^sudo /, '')
    .replace(/\b(PID|1234|11464)\b/, pid)
    .replace(/\bFILE\b/, 'leak.ndjson')
    .replace(/\bA B C\b/, 'before.ndjson after.ndjson web1.ndjson.gz')
    .replace('BEFORE AFTER', 'before.ndjson after.ndjson');
}

/** The times of day that a line names, as those of the recording: its second second, and its last but one. */
function inItsTime(line: string): string {
  const began = Number(/"wallMs":([\d.]+)/.exec(readFileSync(join(folder, 'leak.ndjson'), 'utf8'))?.[1]);
  const inSeconds = (seconds: number): string => new Date(began + seconds * 1_000).toTimeString().slice(0, 8);
  return line.replace('03:00 ', `${inSeconds(1)} `).replace('03:15:30', inSeconds(4));
}

async function inShell(line: string, cwd: string): Promise<Done> {
  const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` };
  const child = spawn('bash', ['-o', 'pipefail', '-c', line], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  const code = await new Promise<number | null>((done) => child.once('close', done));
  return { code, ...texts };
}

/** Whether the command line takes these words; nothing is done. */
async function parse(line: string): Promise<void> {
  const words = line
    .replace(/^source <\((.*)\)$/, '$1')
    .replace(/ \|.*/, '')
    .split(' ')
    .slice(1);
  const program = buildProgram();
  let reached = false;
  for (const command of [program, ...program.commands])
    command.action(() => {
      reached = true;
    });
  await program.parseAsync(words, { from: 'user' });
  expect(reached).toBe(true);
}

async function obey(line: string, rule: Rule): Promise<void> {
  switch (rule.is) {
    case 'run': {
      const asTyped = filledIn(line);
      const done = await inShell(rule.as?.(asTyped) ?? asTyped, folderOf(rule));
      const context = `${done.stdout}\n${done.stderr}`;
      expect(done.code, context).toBe(rule.code ?? 0);
      expect(rule.says.source === '^$' ? context.trim() : context).toMatch(rule.says);
      if (rule.writes !== undefined)
        expect(readFileSync(join(folderOf(rule), rule.writes[0]), 'latin1')).toMatch(rule.writes[1]);
      return;
    }
    case 'started': {
      await using program = Program.start(process.execPath, MAIN, ...line.split(' ').slice(1));
      await program.said(new RegExp(`(${rule.says.source})`));
      return;
    }
    case 'parsed':
      return parse(line);
    case 'named':
      expect(await socktrace(...line.split(' ').slice(1), '--help')).toMatchObject({ code: 0, stderr: '' });
      return;
    case 'script': {
      const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
      const name = /^npm (?:run )?(\S+)/.exec(line)?.[1] ?? '';
      expect(name === 'link' || scripts[name] !== undefined, line).toBe(true);
    }
  }
}

describe('command lines', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'socktrace-readme-'));
    bin = join(folder, 'bin');
    mkdirSync(bin);
    mkdirSync(join(folder, 'empty'));
    writeFileSync(join(bin, 'socktrace'), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
    const source = resolve(import.meta.dirname, 'leaky_command.c');
    execFileSync('gcc', ['-g', '-O1', '-o', join(folder, 'service'), source]);
    writeFileSync(join(folder, 'package.json'), '{"scripts":{"test":"./service"}}');
    const service = Program.start(
      join(ROOT, 'build/leaky-service'),
      'incident',
      '--rate',
      '40',
      '--max',
      '15000',
      '--lifetime',
      '370',
    );
    pid = await service.said(/ready pid=(\d+)/);
    const recording = join(folder, 'leak.ndjson');
    // Long enough for the ports to be gone, and for binds to have failed.
    const limits = [...LIMITS.split(' '), '--duration', '5s'];
    expect((await socktrace('record', '--pid', pid, '-o', recording, ...limits)).code).toBe(0);
    for (const name of ['before', 'after']) copyFileSync(recording, join(folder, `${name}.ndjson`));
    for (const name of ['leak', 'web1', 'web2'])
      writeFileSync(join(folder, `${name}.ndjson.gz`), gzipSync(readFileSync(recording)));
  });
  afterEach(() => Socktrace.killAll());
  afterAll(async () => {
    await Program.killAll();
    rmSync(folder, { recursive: true, force: true });
    await nothingLeft();
  });

  it('were found, and each rule is for one of them', () => {
    expect(typed.length).toBeGreaterThan(50);
    expect(Object.keys(RULES).filter((line) => !typed.includes(line))).toEqual([]);
  });

  it.each(typed)('%s', async (line) => {
    const rule = RULES[line];
    if (rule === undefined) throw new Error(`no rule says what "${line}" does`);
    await obey(line, rule);
  });
});
