/** What the kernel side counted as not observed, in the ledger's words. */
import { CALL_PROGRAMS } from '../kernel/hook-sets.ts';
import type { CounterName } from '../kernel/layout.ts';
import type { Loss, LossCode } from '../ledger/types.ts';

const COUNTED: readonly (readonly [CounterName, LossCode])[] = [
  ['loss_socket_table_full', 'socket-table-full'],
  ['loss_socket_insert', 'socket-insert-failed'],
  ['loss_socket_delete', 'socket-delete-failed'],
  ['loss_ended_park', 'ended-park-failed'],
  ['loss_process_table', 'process-table-full'],
  ['loss_failure_table', 'failure-table-full'],
  ['loss_victim_table', 'victim-table-full'],
  ['loss_event_ring', 'event-ring-full'],
  ['loss_sockaddr_unread', 'sockaddr-unread'],
  ['confirm_repaired', 'state-mended'],
  ['destroy_unseen', 'destroy-unseen'],
  ['loss_stack_ring', 'stack-ring-full'],
  ['loss_path_table', 'path-table-full'],
];

/** What the session itself counted. */
export interface SessionLosses {
  failedWalks: number;
  /** the most MPTCP descriptors without a TCP socket that one walk saw */
  mptcpHeld: number;
  eventsNotPrinted: number;
  /** of call paths */
  paths: { deaths: number; wrong: number };
}

/**
 * Losses so far, only those that happened.
 * @param misses by program, how often the kernel skipped it
 */
export function lossesOf(
  counters: Readonly<Record<CounterName, number>>,
  misses: ReadonlyMap<string, number>,
  session: SessionLosses,
): Loss[] {
  const all: Loss[] = [
    ...COUNTED.map(([counter, code]) => ({ code, count: counters[counter] })),
    { code: 'call-result-missed', count: CALL_PROGRAMS.reduce((sum, program) => sum + (misses.get(program) ?? 0), 0) },
    { code: 'iterator-failed', count: session.failedWalks },
    { code: 'mptcp-unseen', count: session.mptcpHeld },
    { code: 'event-not-printed', count: session.eventsNotPrinted },
    { code: 'unwinder-died', count: session.paths.deaths },
    { code: 'path-cache-wrong', count: session.paths.wrong },
  ];
  return all.filter(({ count }) => count > 0);
}
