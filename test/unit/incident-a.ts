/**
 * Incident A at its own size, as the inputs that a trace of it gives: an hour in which a service opens 41,019 sockets,
 * binds 12,000 of them until no port is left, and 29,019 in vain, while other programs find no port and some are untidy.
 */
import type { CensusInput } from '../../src/ledger/ledger.ts';
import type { CallFrame, LedgerInput, PathRef, SocketFacts } from '../../src/ledger/types.ts';
import {
  BOOT,
  failure,
  frame,
  history,
  hostSample,
  libcFrame,
  measured,
  OWNER,
  path,
  pathCounters,
  process,
  processFacts,
  resolved,
  row,
  session,
  socket,
  tick,
  unavailable,
} from './facts.ts';

export const SOCKETS = 41_019;
export const PORTS = 12_000;
export const IN_VAIN = SOCKETS - PORTS;
export const VICTIM_CALLS = 412;

const FIRST_PORT = 50_000;
const RANGE = [50_000, 62_000] as const;
const HOUR_MS = 3_600_000;
const BEGIN_MS = 60_000;
const STEP_MS = (HOUR_MS - BEGIN_MS - 10_000) / SOCKETS;
/** of those that were told of later than they were born */
const MIN_AGE_MS = 5_000;
/** When the last port is gone. */
export const FULL_MS = BEGIN_MS + PORTS * STEP_MS;
/** Of the program that tidied up: it held its sockets from then on, and closed them at the other. */
export const BURST_MS = [600_000, 1_200_000] as const;
const BURST_SOCKETS = 300;

const FTP = `${BOOT}:4321:7000`;
const CRON = `${BOOT}:2200:300`;
const NGINX = `${BOOT}:812:200`;
const BATCH = `${BOOT}:5151:60100`;

export interface Options {
  /** command name of the leaking program */
  comm?: string;
  cmdline?: string[];
  /** function names of its code, innermost first */
  functions?: [string, string];
  /** call paths that the sockets were opened by, one after another */
  paths?: number;
}

const BORN = Array.from({ length: SOCKETS }, (_, i) => BEGIN_MS + i * STEP_MS);

/** In the order in which a trace would give them. */
export function* incidentA(options: Options = {}): Generator<LedgerInput> {
  const { comm = 'pool-server', cmdline = ['/usr/sbin/pool-server', '--workers', '8'], paths = 1 } = options;
  const owner = { id: OWNER, pid: 1234, comm, exe: measured('/usr/sbin/pool-server'), cmdline: measured(cmdline) };
  yield session({ callPaths: measured(true as const) });
  yield* callPaths(options);
  yield process(owner);
  yield process({
    id: NGINX,
    pid: 812,
    comm: 'nginx',
    exe: measured('/usr/sbin/nginx'),
    cmdline: measured(['nginx: worker process']),
  });
  yield process({
    id: BATCH,
    pid: 5151,
    comm: 'python3',
    exe: measured('/usr/bin/python3'),
    cmdline: measured(['python3', '/opt/batch/nightly.py']),
  });
  yield bystander(FTP, 4321, 'ftp');
  yield bystander(CRON, 2200, 'backup.sh');
  let told = 0;
  for (let atMs = 0; atMs <= HOUR_MS; atMs += 1_000) {
    for (; told < SOCKETS && (BORN[told] ?? 0) + MIN_AGE_MS <= atMs; told += 1) yield row(leaked(told, paths));
    yield* untidy(atMs);
    yield* second(atMs, owner);
    if (atMs % 60_000 === 0) yield census(atMs);
    yield tick(atMs);
  }
  yield census(HOUR_MS);
  yield holders(HOUR_MS, paths);
}

/** How many of the leaked sockets there were. */
export function openedAt(atMs: number): number {
  return Math.max(0, Math.min(SOCKETS, Math.floor((atMs - BEGIN_MS) / STEP_MS) + 1));
}

function boundAt(atMs: number): number {
  return Math.min(PORTS, openedAt(atMs));
}

function leaked(i: number, paths: number): SocketFacts {
  const bound = i < PORTS;
  return socket(i, BORN[i] ?? 0, {
    ...(bound ? { ever: history({ bound: true }), port: FIRST_PORT + i } : { bindErrno: 'EADDRINUSE' }),
    openPath: openPath(i % paths),
    bindPath: resolved('bind'),
  });
}

function openPath(i: number): PathRef {
  return resolved(`open${i}`);
}

/** Of others: some connections that the peer closed, a few failed connects, and a program that closes what it opened. */
function* untidy(atMs: number): Generator<LedgerInput> {
  const facts = (number: number, sinceMs: number, more: Partial<SocketFacts>): SocketFacts =>
    socket(number, sinceMs, { openPath: resolved('nginx'), ...more });
  if (atMs === 300_000) {
    for (let i = 0; i < 3; i += 1)
      yield row(
        facts(100_000 + i, 240_000, {
          owner: measured(NGINX),
          accepted: measured(true),
          state: 'CLOSE_WAIT',
          port: 80,
          ever: history({ established: true }),
        }),
      );
    for (let i = 0; i < 4; i += 1)
      yield row(
        facts(100_100 + i, 280_000, {
          owner: measured(NGINX),
          ever: history({ connecting: true }),
          connectErrno: 'ECONNREFUSED',
        }),
      );
  }
  const [from, to] = BURST_MS;
  const burst = (i: number, more: Partial<SocketFacts> = {}): SocketFacts =>
    facts(200_000 + i, from - MIN_AGE_MS, { owner: measured(BATCH), openPath: resolved('batch'), ...more });
  if (atMs === from) for (let i = 0; i < BURST_SOCKETS; i += 1) yield row(burst(i));
  if (atMs === to)
    for (let i = 0; i < BURST_SOCKETS; i += 1)
      yield { type: 'ended', facts: burst(i, { changedMs: to, version: String(to * 1e6) }), atMs };
}

/** What a session reads every second. */
function* second(atMs: number, owner: Parameters<typeof processFacts>[0]): Generator<LedgerInput> {
  const [opened, bound] = [openedAt(atMs), boundAt(atMs)];
  const failed = opened - bound;
  // Traffic of the host: as many end as come.
  const healthy = Math.floor(atMs / 100);
  const burst = atMs >= BURST_MS[0] && atMs < BURST_MS[1] ? BURST_SOCKETS : 0;
  const past = atMs >= BURST_MS[1] ? BURST_SOCKETS : 0;
  yield process(owner, { opened: opened + 9, bound, destroyed: 9 });
  yield hostSample(
    atMs,
    1_815 + opened + burst,
    { opened: opened + healthy + burst + past, cloned: 40, destroyed: 40 + healthy + past },
    { opened: opened + 9 + burst + past, preexisting: 2, destroyed: 9 + past },
  );
  yield pathCounters({ open0: { opened, bound, bindFailed: failed }, bind: { bound, bindFailed: failed } });
  if (failed === 0) return;
  const since = { firstMs: Math.floor(FULL_MS), lastMs: atMs };
  yield failure({
    ...since,
    process: OWNER,
    pid: 1234,
    comm: owner?.comm ?? '',
    operation: 'bind',
    errno: 'EADDRINUSE',
    detail: 'port-zero',
    count: failed,
    path: resolved('bind'),
  });
  const suffering = Math.min(1, (atMs - FULL_MS) / (HOUR_MS - FULL_MS));
  yield failure({
    ...since,
    process: FTP,
    pid: 4321,
    comm: 'ftp',
    count: Math.max(1, Math.round(VICTIM_CALLS * suffering)),
  });
  yield failure({
    ...since,
    process: CRON,
    pid: 2200,
    comm: 'backup.sh',
    operation: 'bind',
    detail: 'port-zero',
    errno: 'EADDRINUSE',
    count: Math.max(1, Math.round(57 * suffering)),
  });
  yield failure({
    ...since,
    firstMs: 1_000,
    process: NGINX,
    pid: 812,
    comm: 'nginx',
    errno: 'ECONNREFUSED',
    cause: 'refused',
    count: 4,
    path: resolved('nginx'),
  });
}

function bystander(id: string, pid: number, comm: string): LedgerInput {
  return {
    type: 'process',
    facts: processFacts({
      id,
      pid,
      comm,
      exe: measured(`/usr/bin/${comm}`),
      cmdline: measured([comm]),
      unit: measured(null),
    }),
    activity: unavailable('the process was not traced'),
  };
}

/** The 36 ports beyond the range that nobody could explain are listeners, and clients from before the range was set. */
function census(atMs: number): CensusInput {
  const [opened, bound] = [openedAt(atMs), boundAt(atMs)];
  const inRange = bound;
  const holders = [
    { process: OWNER, use: 'bound-inactive', count: bound, inRange: bound },
    { process: NGINX, use: 'listening', count: 2, inRange: 0 },
    { process: NGINX, use: 'connected', count: 34, inRange: 0 },
  ] as const;
  const seen = {
    classes: {
      alloc: measured(1_815 + opened),
      classes: [
        {
          name: 'closed',
          count: opened - bound,
          evidence: 'state CLOSE, in no hash table, no port, open in 1 process',
        },
        { name: 'closed-bound', count: bound, evidence: 'state CLOSE, holding a port, open in 1 process' },
        { name: 'listening', count: 81, evidence: 'open in 12 processes' },
        { name: 'connected', count: 1_731, evidence: 'open in 31 processes' },
        { name: 'close-wait', count: 3, evidence: 'the peer has closed, open in 1 process' },
      ].filter(({ count }) => count > 0),
      unplaced: measured(0),
    },
    ports: [
      {
        netns: 4026531840,
        path: '/proc/1/ns/net',
        inuse: measured(1_815),
        range: measured(RANGE),
        reserved: measured([]),
        inUse: bound + 36,
        inRange,
        outOfRange: 36,
        free: measured(PORTS - inRange),
        holders: holders.filter(({ count }) => count > 0).map((holder) => ({ ...holder })),
        destinations: [],
      },
    ],
    unseen: [],
  };
  return {
    type: 'census',
    atMs,
    seen: measured(seen as Extract<CensusInput['seen'], { status: 'measured' }>['value']),
  };
}

function holders(atMs: number, paths: number): LedgerInput {
  return {
    type: 'holders',
    atMs,
    complete: false,
    sockets: BORN.map((_, i) => ({
      id: leaked(i, paths).id,
      holders: [{ process: OWNER, pid: 1234, fd: 10 + i, inode: `${900_000 + i}` }],
      receiveQueue: 0,
      sendQueue: 0,
      bytesMoved: '0',
    })),
    gone: [],
  };
}

function* callPaths({ functions = ['acquire_port', 'service_loop'], paths = 1 }: Options): Generator<LedgerInput> {
  const [inner, outer] = functions;
  const main = frame('main', '/src/pool/main.c:120');
  const start: CallFrame[] = [libcFrame('__libc_start_call_main'), libcFrame('__libc_start_main'), frame('_start')];
  const loop = frame(outer, '/src/pool/server.c:88');
  for (let i = 0; i < paths; i += 1) {
    const variant =
      i === 0
        ? []
        : [frame(`handler_${i}`, `/src/pool/handlers.c:${i}`), frame(`dispatch_${i % 37}`, '/src/pool/dispatch.c:7')];
    yield path(`open${i}`, [
      libcFrame('socket'),
      frame(inner, '/src/pool/port.c:41'),
      ...variant,
      loop,
      main,
      ...start,
    ]);
  }
  yield path('bind', [
    libcFrame('bind'),
    frame('try_bind', '/src/pool/port.c:52'),
    frame(inner, '/src/pool/port.c:44'),
    loop,
    main,
    ...start,
  ]);
  const nginx = { module: '/usr/sbin/nginx' };
  yield path('nginx', [
    libcFrame('accept4'),
    frame('ngx_event_accept', null, nginx),
    frame('ngx_process_events_and_timers', null, nginx),
    frame('main', null, nginx),
    ...start,
  ]);
  yield path('batch', [
    libcFrame('socket'),
    frame('py::probe:/opt/batch/nightly.py', null, { module: null, line: 12 }),
    frame('py::<module>:/opt/batch/nightly.py', null, { module: null, line: 40 }),
  ]);
}
