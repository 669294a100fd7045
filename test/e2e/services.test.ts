// Four healthy services under load: nothing is a leak, each count is the one that the service itself keeps, and when
// it is quiet again every socket of the host is in a class. SOCKTRACE_LOAD_SECONDS says for how long (8).
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProcessActivity } from '../../src/ledger/types.ts';
import type { Finding, Report } from '../../src/report/types.ts';
import { Puppet } from '../host/puppet.ts';
import { unmendedLoss } from '../host/tracing.ts';
import { childrenOf, failuresOf, Program, until, works } from './programs.ts';
import { look, lookInQuiet, Socktrace, unplacedIn } from './socktrace.ts';

const run = promisify(execFile);

const LOAD_S = Number(process.env['SOCKTRACE_LOAD_SECONDS'] ?? 8);
const PORTS = { nginx: 8080, haproxy: 8081, express: 8082, redis: 6379 } as const;
const NEEDED = [
  ['nginx', '-v'],
  ['haproxy', '-v'],
  ['redis-server', '--version'],
  ['redis-benchmark', '--version'],
  // It has no option that does nothing, and says so.
  ['sh', '-c', 'command -v wrk'],
] as const;
const missing = NEEDED.filter(([command, ...args]) => !works(command, args)).map((words) => words.at(-1));

const folder = mkdtempSync(join(tmpdir(), 'socktrace-services-'));
const configuration = (name: string, lines: string): string => {
  const path = join(folder, name);
  writeFileSync(path, lines);
  return path;
};

const NGINX = `
daemon off;
worker_processes 2;
pid ${folder}/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }
http {
  access_log off;
  server {
    listen 127.0.0.1:${PORTS.nginx};
    location / { return 200 "hello"; }
    location /status { stub_status; }
  }
}
`;

const HAPROXY = `
global
  nbthread 2
  stats socket ${folder}/haproxy.sock
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend web
  bind 127.0.0.1:${PORTS.haproxy}
  default_backend nginx
backend nginx
  server one 127.0.0.1:${PORTS.nginx}
`;

/** Each request makes one of its own, by Node's agent, which keeps its connections. */
const EXPRESS = `
const { get } = require('http');
let accepted = 0;
require('express')()
  .get('/', (_, response) => get('http://127.0.0.1:${PORTS.nginx}/', (page) => page.pipe(response)))
  .listen(${PORTS.express}, '127.0.0.1', () => console.log('ready'))
  .on('connection', () => accepted++);
require('readline').createInterface({ input: process.stdin }).on('line', () => console.log(accepted));
`;

interface Service {
  name: keyof typeof PORTS;
  program: Program;
  /** connections that it has accepted, by its own count */
  accepted: () => Promise<number>;
}

let puppet: Puppet;
const services: Service[] = [];

/** In the network namespace of the services. */
const inside = (...command: string[]) => ['nsenter', `--net=/proc/${puppet.pid}/ns/net`, ...command] as const;

async function output(...command: string[]): Promise<string> {
  const [program, ...args] = inside(...command);
  return (await run(program, args)).stdout;
}

const page = (path: string) =>
  output(process.execPath, '-e', `fetch('http://127.0.0.1:${path}').then((is) => is.text()).then(console.log)`);

function numberIn(text: string, what: RegExp): number {
  const found = what.exec(text)?.[1];
  if (found === undefined) throw new Error(`no ${what} in ${text}`);
  return Number(found);
}

async function haproxyStatistics(): Promise<Record<string, string>> {
  const socket = connect(`${folder}/haproxy.sock`).end('show stat\n');
  const [names, web] = (await text(socket)).split('\n').map((line) => line.split(','));
  return Object.fromEntries((names ?? []).map((name, i) => [name, web?.[i] ?? '']));
}

async function startServices(): Promise<void> {
  const nginx = Program.start(...inside('nginx', '-c', configuration('nginx.conf', NGINX)));
  const haproxy = Program.start(...inside('haproxy', '-db', '-f', configuration('haproxy.cfg', HAPROXY)));
  const quiet = ['--save', '', '--appendonly', 'no', '--dir', folder];
  const redis = Program.start(...inside('redis-server', '--bind', '127.0.0.1', '--port', `${PORTS.redis}`, ...quiet));
  const express = Program.start(...inside(process.execPath, '-e', EXPRESS));
  await redis.said(/(Ready to accept)/);
  await express.line();
  await until('two workers of nginx', () => childrenOf(nginx.pid).length === 2);
  await until('an answer through haproxy', () =>
    page(`${PORTS.haproxy}/`).then(
      (said) => said === 'hello\n',
      () => false,
    ),
  );
  services.push(
    {
      name: 'nginx',
      program: nginx,
      accepted: async () => numberIn(await page(`${PORTS.nginx}/status`), /^ (\d+) \d+ \d+ $/m),
    },
    { name: 'haproxy', program: haproxy, accepted: async () => Number((await haproxyStatistics())['conn_tot']) },
    {
      name: 'redis',
      program: redis,
      accepted: async () => numberIn(await output('redis-cli', 'info', 'stats'), /^total_connections_received:(\d+)/m),
    },
    { name: 'express', program: express, accepted: async () => Number(await express.tell('count')) },
  );
}

/** Clients that keep their connections, and clients that make one for each request. */
async function load(): Promise<void> {
  const http = (port: number, ...options: string[]) =>
    output('wrk', '-t1', '-c16', `-d${LOAD_S}s`, ...options, `http://127.0.0.1:${port}/`);
  const endless = ['timeout', '--preserve-status', '-s', 'INT', `${LOAD_S}`];
  const redis = (keep: string) =>
    // It does not say that it was stopped.
    output(...endless, 'redis-benchmark', '-q', '-l', '-k', keep, '-c', '16', '-t', 'ping,set,get').catch(() => '');
  const web = [PORTS.nginx, PORTS.haproxy, PORTS.express].flatMap((port) => [
    http(port),
    http(port, '-H', 'Connection: close'),
  ]);
  const said = await Promise.all([...web, redis('1'), redis('0')]);
  for (const answer of said.slice(0, web.length)) {
    expect(numberIn(answer, /(\d+) requests in/)).toBeGreaterThan(0);
    expect(answer).not.toMatch(/Socket errors: connect [1-9]/);
  }
}

/** Its own pid and its workers'. */
function processesOf({ program }: Service): number[] {
  return [program.pid, ...childrenOf(program.pid)];
}

/** Of all processes of a service, what they did while they were traced. */
function sumOf(report: Report, what: keyof ProcessActivity, pids: readonly number[]): number {
  const found = report.processes.filter(({ pid }) => pids.includes(pid));
  expect(found).toHaveLength(pids.length);
  return found.reduce((sum, { activity }) => {
    if (activity.status === 'unavailable') throw new Error(activity.reason);
    return sum + activity.value[what];
  }, 0);
}

const title = missing.length === 0 ? 'services under load' : `services under load (NOT RUN: no ${missing.join(', ')})`;

describe.skipIf(missing.length > 0)(title, () => {
  let report: Report;
  let busy: Report;
  let pids: Map<string, number[]>;
  const accepted = new Map<string, number>();

  beforeAll(
    async () => {
      puppet = await Puppet.start({ netns: true });
      await startServices();
      pids = new Map(services.map((service) => [service.name, processesOf(service)]));
      for (const service of services) accepted.set(service.name, -(await service.accepted()));
      const targets = [...pids.values()].flat().flatMap((pid) => ['--pid', String(pid)]);
      const trace = Socktrace.start([...targets, '--min-age', '1s', '--leak-age', '3s', '--json']);
      await trace.tracing();
      const loaded = load();
      // The first question is a connection too.
      await until('requests', async () => (await services[0]?.accepted()) !== 1 - (accepted.get('nginx') ?? 0));
      busy = await look();
      await loaded;
      for (const { name, accepted: count } of services) accepted.set(name, (accepted.get(name) ?? 0) + (await count()));
      trace.child.kill('SIGINT');
      report = JSON.parse((await trace.finished()).stdout);
    },
    LOAD_S * 1000 + 120_000,
  );

  afterAll(async () => {
    Socktrace.killAll();
    await Program.killAll();
    await puppet.close();
    rmSync(folder, { recursive: true });
  });

  it('no leak, nothing lost, and no suspect is left', () => {
    expect(unmendedLoss(report)).toEqual([]);
    expect(report.findings).toEqual([]);
    expect(report.verdict).toEqual({ is: 'no-leak' });
  });

  it.each(Object.keys(PORTS))('%s accepted as many connections as it counted itself', (name) => {
    const own = pids.get(name) ?? [];
    expect(sumOf(report, 'accepted', own)).toBe(accepted.get(name));
    console.info(`${name}: ${accepted.get(name)} connections in ${LOAD_S} s`);
    for (const pid of own) expect(failuresOf(report, pid)).toEqual([]);
  });

  it('one look in the middle of it finds no leak', () => {
    expect(own(busy.findings, busy).filter(({ leak }) => leak)).toEqual([]);
    console.info(`in the middle of it: ${unplacedIn(busy)} unplaced`);
  });

  it('when it is quiet, every socket of the host has a class, and none is a suspect', async () => {
    const quiet = await lookInQuiet();
    expect(own(quiet.findings, quiet)).toEqual([]);
    const here = quiet.snapshot.status === 'measured' ? quiet.snapshot.value : [];
    const kinds = new Set(here.filter(({ netns }) => netns === puppet.netns).map(({ kind }) => kind));
    // The connections that haproxy and express keep to nginx.
    expect([...kinds].filter((kind) => !['listening', 'established'].includes(kind))).toEqual([]);
    expect(kinds).toContain('listening');
  });

  it('alloc moved by what the hooks counted, clients and all', () => {
    const moved = report.sockstat.status === 'measured' ? report.sockstat.value.moved : report.sockstat;
    expect(moved).toMatchObject({ value: { unexplained: 0 } });
  });

  /** Those of the services: others of this host have theirs. */
  function own(findings: readonly Finding[], { processes }: Report): Finding[] {
    const ids = new Set(processes.filter(({ pid }) => [...pids.values()].flat().includes(pid)).map(({ id }) => id));
    return findings.filter(({ process, holders }) =>
      [...holders.map((holder) => holder.process), ...(process.status === 'measured' ? [process.value] : [])].some(
        (id) => ids.has(id),
      ),
    );
  }
});
