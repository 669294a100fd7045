/** Failed calls, summed as a reader wants them: by process, operation, errno, cause and network namespace. */
import type { FailureSum } from '../ledger/failure-store.ts';
import { compareText } from '../ledger/order.ts';
import { betterKnown } from '../ledger/path-refs.ts';
import type { Known } from '../ledger/types.ts';
import type { Failure } from './types.ts';

/** The most frequent first. */
export function reportedFailures(failures: Iterable<FailureSum>): Failure[] {
  const sums = new Map<string, Failure>();
  const lastMs = new Map<Failure, number>();
  for (const failure of failures) {
    const { process, processes, pid, comm, operation, errno, cause, count, path } = failure;
    const who = processes === 1 ? process : comm;
    // The kernel side tells it with the failure: it is known of whoever ended before /proc was read, too.
    const netns = failure.netns === 0 ? null : failure.netns;
    const key = `${who}|${operation}|${errno}|${cause}|${netns}`;
    const sum = sums.get(key);
    if (sum === undefined) {
      const first = { process, processes, pid, comm, operation, errno, cause, count, netns, path };
      sums.set(key, first);
      lastMs.set(first, failure.lastMs);
      continue;
    }
    sum.count += count;
    if (processes > 1) sum.processes += processes;
    const before = lastMs.get(sum) ?? failure.lastMs;
    if (failure.lastMs === before) sum.path = betterKnown(sum.path, path);
    else if (failure.lastMs > before) sum.path = path;
    lastMs.set(sum, Math.max(before, failure.lastMs));
  }
  return [...sums]
    .sort(([keyA, a], [keyB, b]) => b.count - a.count || compareText(keyA, keyB))
    .map(([, failure]) => failure);
}

/**
 * None means none only where calls are seen as they return. Where they are not, connects that fail later still are: those
 * are listed, and what is not seen is among the blind spots.
 */
export function seenFailures(seen: Known<true> | undefined, failures: Failure[]): Known<Failure[]> {
  return seen?.status === 'unavailable' && failures.length === 0 ? seen : { status: 'measured', value: failures };
}
