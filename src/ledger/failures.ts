/** Why a socket call failed, as far as its errno and what it was asked for tell. */
import type { FailedOperation, FailureCause, FailureDetail } from './types.ts';

/** Errnos that mean the same whatever was called. */
const CAUSE_OF_ERRNO: Readonly<Record<string, FailureCause>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  ETIMEDOUT: 'timed-out',
  ENETUNREACH: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  ENETDOWN: 'unreachable',
  EHOSTDOWN: 'unreachable',
  EMFILE: 'descriptor-limit',
  ENFILE: 'descriptor-limit',
  ENOMEM: 'memory',
  ENOBUFS: 'memory',
  EAFNOSUPPORT: 'unsupported',
  EPROTONOSUPPORT: 'unsupported',
  ESOCKTNOSUPPORT: 'unsupported',
  EOPNOTSUPP: 'unsupported',
  EINVAL: 'invalid',
  EISCONN: 'invalid',
  EDESTADDRREQ: 'invalid',
  EACCES: 'permission',
  EPERM: 'permission',
};

/**
 * The cause of one failure. `errno` is a name (`EADDRINUSE`). Total: what is not recognised is `other`.
 * EADDRINUSE and EADDRNOTAVAIL mean a shortage of ports only together with what was asked for.
 */
export function failureCause(operation: FailedOperation, errno: string, detail: FailureDetail): FailureCause {
  if (errno === 'EADDRINUSE') return addressInUse(operation, detail);
  if (errno === 'EADDRNOTAVAIL') return addressNotAvailable(operation, detail);
  if (errno === 'EACCES' && operation === 'bind') return 'privileged-port';
  return Object.hasOwn(CAUSE_OF_ERRNO, errno) ? (CAUSE_OF_ERRNO[errno] ?? 'other') : 'other';
}

function addressInUse(operation: FailedOperation, detail: FailureDetail): FailureCause {
  if (operation === 'bind' && detail === 'port-zero') return 'no-free-port';
  if (operation === 'bind' && detail === 'port-given') return 'port-taken';
  if (operation === 'listen' && detail === 'unbound') return 'no-free-port';
  if (operation === 'listen' && detail === 'bound') return 'port-taken';
  return 'other';
}

function addressNotAvailable(operation: FailedOperation, detail: FailureDetail): FailureCause {
  if (operation === 'bind') return 'address-not-local';
  if (operation === 'connect' && detail === 'unbound') return 'no-free-port';
  if (operation === 'connect' && detail === 'bound') return 'tuple-in-use';
  return 'other';
}
