/** What the processes of a report are known by across runs. */
import type { ProcessId } from '../ledger/types.ts';
import type { Report } from './types.ts';

/** Of each process its executable, else its comm: as the keys of findings have it. */
export function programsOf({ processes }: Pick<Report, 'processes'>): Map<ProcessId, string> {
  return new Map(
    processes.map(({ id, exe, comm }) => [
      id,
      exe.status === 'measured' ? exe.value.replace(/ \(deleted\)$/, '') : comm,
    ]),
  );
}
