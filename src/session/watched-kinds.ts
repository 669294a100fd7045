/** The kinds of sockets in a census that is taken during a trace: those of the findings, where the ledger knows them. */
import type { CensusSocket } from '../accounting/census.ts';
import { isForgotten, kindInState } from '../accounting/remembered.ts';
import type { Ledger } from '../ledger/ledger.ts';
import type { SocketKind } from '../ledger/types.ts';

/** @param sweptAfterMs how long the trace had gone on when the ledger was last told */
export function watchedKind(ledger: Ledger, socket: CensusSocket, sweptAfterMs: number): SocketKind {
  const known = ledger.socketAt(socket.address);
  if (known !== undefined && (known.inode === 0 || String(known.inode) === socket.inode)) return known.traits.kind;
  if (!isForgotten(socket) || sweptAfterMs < ledger.thresholds.minAgeMs) return kindInState(socket);
  // The ledger was told of all that had existed before: what it does not know was opened since, and bound to its port.
  const isTraced = socket.holders.some(({ process }) => ledger.process(process)?.activity.status === 'measured');
  return isTraced ? 'bound-inactive' : kindInState(socket);
}
