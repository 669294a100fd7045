/** Failed calls, summed as a reader wants them: by process, operation, errno and cause. */
import { compareText } from '../ledger/order.ts';
import type { FailureFacts } from '../ledger/types.ts';
import type { Failure } from './types.ts';

/** The most frequent first. */
export function reportedFailures(failures: Iterable<FailureFacts>): Failure[] {
  const sums = new Map<string, Failure>();
  for (const { process, pid, comm, operation, errno, cause, count } of failures) {
    const key = `${process}|${operation}|${errno}|${cause}`;
    const sum = sums.get(key);
    if (sum === undefined) sums.set(key, { process, pid, comm, operation, errno, cause, count, path: null });
    else sum.count += count;
  }
  return [...sums]
    .sort(([keyA, a], [keyB, b]) => b.count - a.count || compareText(keyA, keyB))
    .map(([, failure]) => failure);
}
