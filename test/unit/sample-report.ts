/** Incident A in small: one service leaks sockets and ports, an ftp client finds no port. */
import { Ledger } from '../../src/ledger/ledger.ts';
import { type LedgerInput, NOT_SAMPLED } from '../../src/ledger/types.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Report } from '../../src/report/types.ts';
import {
  failure,
  frame,
  history,
  hostSample,
  libcFrame,
  OTHER,
  path,
  pathCounters,
  process,
  resolved,
  row,
  session,
  socket,
  tick,
  walk,
} from './facts.ts';

export function incidentInputs(): LedgerInput[] {
  const bound = Array.from({ length: 12 }, (_, i) =>
    socket(i, 1_000 + i * 1_000, { changedMs: 1_000 + i * 1_000, ever: history({ bound: true }), port: 50_000 + i }),
  );
  const failed = Array.from({ length: 29 }, (_, i) =>
    socket(100 + i, 13_000 + i * 1_000, { changedMs: 13_000 + i * 1_000, bindErrno: 'EADDRINUSE' }),
  );
  const all = [...bound, ...failed];
  const inputs: LedgerInput[] = [
    session(),
    process({}, { opened: 41, bound: 12 }),
    process({ id: OTHER, pid: 4321, comm: 'ftp' }),
    hostSample(0, 1_815),
  ];
  for (let second = 0; second <= 80; second += 1) {
    for (const facts of all) if (facts.changedMs + 5_000 === second * 1_000) inputs.push(row(facts));
    inputs.push(tick(second * 1_000));
  }
  inputs.push(
    walk(80_000, all),
    failure({ count: 7 }),
    failure({
      process: socketOwner(),
      pid: 1234,
      comm: 'leakyd',
      operation: 'bind',
      errno: 'EADDRINUSE',
      detail: 'port-zero',
      count: 29,
    }),
    failure({ operation: 'connect', errno: 'ECONNREFUSED', detail: 'unbound', cause: 'refused', count: 2 }),
    failure({ operation: 'connect', errno: 'ECONNREFUSED', detail: 'asynchronous', cause: 'refused', count: 3 }),
    hostSample(80_000, 1_856, { opened: 50, cloned: 4, destroyed: 13 }, { opened: 41, preexisting: 2 }),
  );
  return inputs;
}

/** The same with call paths: both kinds are opened at one place, and bound at another. */
export function incidentWithPaths(): LedgerInput[] {
  const open = resolved('open1');
  const bind = resolved('bind1');
  const [first, ...rest] = incidentInputs();
  if (first?.type !== 'session') throw new Error('the sample does not begin with its session');
  const main = frame('main', 'leak_worker.c:120');
  const loop = frame('service_loop', 'leak_worker.c:88');
  const start = [libcFrame('__libc_start_call_main'), libcFrame('__libc_start_main'), frame('_start')];
  return [
    { type: 'session', session: { ...first.session, callPaths: { status: 'measured', value: true } } },
    path('open1', [libcFrame('socket'), frame('acquire_port', '/src/leak_worker.c:41'), loop, main, ...start]),
    path('bind1', [
      libcFrame('bind'),
      frame('try_bind', '/src/leak_worker.c:52'),
      frame('acquire_port', '/src/leak_worker.c:44'),
      loop,
      main,
      ...start,
    ]),
    ...rest.map((input): LedgerInput => {
      if (input.type === 'socket') return row({ ...input.facts, openPath: open, bindPath: bind });
      if (input.type === 'failure' && input.facts.operation === 'bind')
        return { type: 'failure', facts: { ...input.facts, path: bind } };
      return input;
    }),
    pathCounters({
      open1: { opened: 41, bound: 12, bindFailed: 29 },
      bind1: { bound: 12, bindFailed: 29 },
      [NOT_SAMPLED]: { opened: 9, ended: 9, connected: 9 },
    }),
  ];
}

function socketOwner(): string {
  const { owner } = socket(0, 0);
  if (owner.status === 'unavailable') throw new Error('the sample socket has no owner');
  return owner.value;
}

export function reportOf(inputs: readonly LedgerInput[]): Report {
  const ledger = new Ledger();
  for (const input of inputs) ledger.apply(input);
  return buildReport(ledger);
}
