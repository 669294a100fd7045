/** Failed calls, summed as a reader wants them: by process, operation, errno and cause. */
import type { FailureSum } from '../ledger/failure-store.ts';
import { compareText } from '../ledger/order.ts';
import type { Failure } from './types.ts';

/** The most frequent first. */
export function reportedFailures(failures: Iterable<FailureSum>): Failure[] {
  const sums = new Map<string, Failure>();
  for (const { process, processes, pid, comm, operation, errno, cause, count } of failures) {
    const who = processes === 1 ? process : comm;
    const key = `${who}|${operation}|${errno}|${cause}`;
    const sum = sums.get(key);
    if (sum === undefined) sums.set(key, { process, processes, pid, comm, operation, errno, cause, count, path: null });
    else {
      sum.count += count;
      if (processes > 1) sum.processes += processes;
    }
  }
  return [...sums]
    .sort(([keyA, a], [keyB, b]) => b.count - a.count || compareText(keyA, keyB))
    .map(([, failure]) => failure);
}
