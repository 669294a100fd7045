/** The processes that a report speaks of. */

import type { Ledger } from '../ledger/ledger.ts';
import { compareText } from '../ledger/order.ts';
import { OUTSIDE_REASON, pidsFrom } from '../ledger/outside.ts';
import type { ProcessId } from '../ledger/types.ts';
import type { Failure, Finding, Report, ReportProcess } from './types.ts';

/** The targets, and every owner, holder (of sockets or of ports) and failing process, by pid. */
export function reportedProcesses(
  ledger: Ledger,
  targets: readonly ProcessId[],
  findings: readonly Finding[],
  failures: readonly Failure[],
  ports: Report['ports'],
): ReportProcess[] {
  const ids = new Set<ProcessId>();
  for (const id of targets) if (ledger.process(id) !== undefined) ids.add(id);
  for (const { process, holders, examples } of findings) {
    if (process.status === 'measured') ids.add(process.value);
    for (const holder of holders) ids.add(holder.process);
    for (const example of examples) if (example.process !== null) ids.add(example.process);
  }
  if (ports.status === 'measured')
    for (const { holders } of ports.value) for (const { process } of holders) if (process !== null) ids.add(process);
  const failing = new Map(failures.map((failure) => [failure.process, failure]));
  for (const id of failing.keys()) ids.add(id);
  return [...ids]
    .map((id) => describe(ledger, id, failing.get(id)?.comm ?? null))
    .sort((a, b) => a.pid - b.pid || compareText(a.id, b.id));
}

function describe(ledger: Ledger, id: ProcessId, commWhenItFailed: string | null): ReportProcess {
  const known = ledger.process(id);
  if (known === undefined) return stranger(id, commWhenItFailed);
  const { namespacePids, startTime, comm, exe, cmdline, unit, container, netns, pid, exitedMs } = known.facts;
  return {
    id,
    pid,
    namespacePids,
    startTime,
    comm,
    exe,
    cmdline,
    unit,
    container,
    netns,
    exited: exitedMs !== null,
    activity: known.activity,
  };
}

/** A process that only a record named: nobody looked at it while it lived. */
function stranger(id: ProcessId, comm: string | null): ReportProcess {
  const { pid, namespacePids } = pidsFrom(Number(id.split(':')[1]) || 0);
  const reason = namespacePids === null ? 'the process was not examined' : OUTSIDE_REASON;
  const unread = { status: 'unavailable', reason } as const;
  return {
    id,
    pid,
    namespacePids: namespacePids ?? unread,
    startTime: unread,
    comm: comm ?? '?',
    exe: unread,
    cmdline: unread,
    unit: unread,
    container: unread,
    netns: unread,
    exited: false,
    activity: { status: 'unavailable', reason: 'the process was not traced' },
  };
}
