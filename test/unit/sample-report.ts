/** Incident A in small: one service leaks sockets and ports, an ftp client finds no port. */
import { Ledger } from '../../src/ledger/ledger.ts';
import type { LedgerInput } from '../../src/ledger/types.ts';
import { buildReport } from '../../src/report/report.ts';
import type { Report } from '../../src/report/types.ts';
import { failure, history, hostSample, OTHER, process, row, session, socket, tick, walk } from './facts.ts';

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
