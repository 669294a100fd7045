/** What kinds and causes mean, in plain words. */
import type { FailureCause } from '../ledger/types.ts';
import type { Finding } from '../report/types.ts';

type FindingKind = Finding['kind'];

/** One line for each kind: what the program did, or did not do. */
export const KIND_MEANING: Readonly<Record<FindingKind, string>> = {
  unused: 'socket() was called and nothing else: never bound, connected or listening, and not closed',
  'bound-inactive': 'bound, but never connected or listening, and not closed',
  'bind-failed': 'bind() failed; the socket was not used since, and not closed',
  'connect-failed': 'connect() failed; the socket was not closed',
  disconnected: 'the connection (or the listening) is over; the socket was not closed',
  'close-wait': 'the peer has closed the connection; this side has not',
  'closed-unknown': 'closed state, but open descriptor; what happened to it before it was first seen is not known',
  released: 'no descriptor is left: closing, in flight over a unix socket, in io_uring, or held by the kernel. No leak',
};

/** After a count and the word "sockets". */
export const KIND_CLAUSE: Readonly<Record<FindingKind, string>> = {
  unused: 'never used after socket()',
  'bound-inactive': 'bound and never used',
  'bind-failed': 'left open after bind() failed',
  'connect-failed': 'left open after connect() failed',
  disconnected: 'left open after their connection was over',
  'close-wait': 'that the peer closed and this side did not',
  'closed-unknown': 'in closed state, their history unknown',
  released: 'without a descriptor',
};

export const CAUSE_MEANING: Readonly<Record<FailureCause, string>> = {
  'no-free-port': 'no free port left in the port range',
  'port-taken': 'that port is held by another socket',
  'tuple-in-use': 'the same connection (both endpoints) exists already',
  'address-not-local': 'the address is not one of this host',
  'privileged-port': 'the port is privileged',
  permission: 'not permitted',
  refused: 'the peer refused: nothing listens there',
  reset: 'the peer reset the connection',
  'timed-out': 'no answer in time',
  unreachable: 'no route to the peer',
  'descriptor-limit': 'the limit of open descriptors is reached',
  memory: 'the kernel had no memory for it',
  unsupported: 'address family or protocol not supported',
  invalid: 'not possible on a socket in this state',
  other: 'see the errno',
};

/** Of allowances that no finding needs: nothing else tells that they are out of date. */
export const STALE_ALLOWANCE = 'matches nothing that was found: out of date, or misspelt?';
