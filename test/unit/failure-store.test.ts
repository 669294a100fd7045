import { describe, expect, it } from 'vitest';
import { FailureStore } from '../../src/ledger/failure-store.ts';
import type { FailureFacts } from '../../src/ledger/types.ts';
import { reportedFailures } from '../../src/report/failures.ts';
import { failure } from './facts.ts';

function facts(changed: Partial<FailureFacts>): FailureFacts {
  const input = failure(changed);
  if (input.type !== 'failure') throw new TypeError('not a failure');
  return input.facts;
}

describe('failures', () => {
  it('the kernel side begins anew after a quiet time: both totals count', () => {
    const store = new FailureStore();
    store.apply(facts({ count: 2, firstMs: 1_000 }));
    store.apply(facts({ count: 5, firstMs: 1_000 }));
    store.apply(facts({ count: 3, firstMs: 90_000 }));
    store.apply(facts({ count: 4, firstMs: 1_000 }));
    expect(reportedFailures(store.all())).toMatchObject([{ count: 8, processes: 1 }]);
  });

  it('stays bounded however many programs fail and end, and keeps the sums and the traced', () => {
    const store = new FailureStore();
    const traced = 'boot:service:1';
    store.apply(facts({ process: traced, comm: 'service', count: 7, lastMs: 0 }));
    for (let i = 0; i < 100_000; i++) {
      const atMs = i * 10;
      store.apply(facts({ process: `boot:${i}:${i}`, pid: i, comm: `p${i % 50_000}`, firstMs: atMs, lastMs: atMs }));
      if (store.wantsFolding) store.fold(atMs, (process) => process === traced);
    }
    const rows = [...store.all()];
    expect(rows.length).toBeLessThan(65_000);
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(100_007);
    expect(rows.filter(({ process }) => process === traced)).toMatchObject([{ count: 7, processes: 1 }]);
  });
});
