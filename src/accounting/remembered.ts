/** What a socket was used for, as far as the kernel remembers it by itself. */
import { classify } from '../ledger/kinds.ts';
import type { SocketFacts, SocketHistory, SocketKind } from '../ledger/types.ts';
import type { CensusSocket } from './census.ts';

/** By what the kernel remembers of it, whoever has it open. */
export function kindInState(socket: CensusSocket): SocketKind {
  return classify({
    state: socket.state,
    ever: historyOf(socket),
    bindErrno: null,
    released: false,
    releaseState: null,
    heldAtExit: false,
  });
}

/** Whether nothing is known of what became of it before. */
export function isForgotten(socket: CensusSocket): boolean {
  return historyOf(socket) === NOT_RECORDED;
}

const NOTHING: SocketHistory = { bound: false, connecting: false, established: false, listening: false };
const NO_HISTORY: SocketFacts['ever'] = { status: 'measured', value: NOTHING };
const CONNECTING: SocketFacts['ever'] = { status: 'measured', value: { ...NOTHING, connecting: true } };
const ESTABLISHED: SocketFacts['ever'] = {
  status: 'measured',
  value: { ...NOTHING, connecting: true, established: true },
};
const NOT_RECORDED: SocketFacts['ever'] = {
  status: 'unavailable',
  reason: 'it is closed: what it had been used for is not recorded',
};

/**
 * What the counters of a connection prove: its SYN was sent (segs_out), and acknowledged (bytes_acked). A socket in CLOSE
 * that never sent one may have been bound, or not, and may have been a listener.
 */
function historyOf({ state, wasEstablished, hasSent }: CensusSocket): SocketFacts['ever'] {
  if (wasEstablished) return ESTABLISHED;
  if (hasSent) return CONNECTING;
  return state === 'CLOSE' ? NOT_RECORDED : NO_HISTORY;
}
