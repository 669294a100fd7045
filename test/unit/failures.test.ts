import { describe, expect, it } from 'vitest';
import { errnoName } from '../../src/ledger/errno.ts';
import { failureCause } from '../../src/ledger/failures.ts';
import type { FailedOperation, FailureCause, FailureDetail } from '../../src/ledger/types.ts';

const CASES: [FailedOperation, string, FailureDetail, FailureCause][] = [
  ['bind', 'EADDRINUSE', 'port-zero', 'no-free-port'],
  ['bind', 'EADDRINUSE', 'port-given', 'port-taken'],
  ['bind', 'EADDRINUSE', 'port-unread', 'other'],
  ['bind', 'EADDRNOTAVAIL', 'port-zero', 'address-not-local'],
  ['bind', 'EADDRNOTAVAIL', 'port-unread', 'address-not-local'],
  ['bind', 'EACCES', 'port-given', 'privileged-port'],
  ['bind', 'EPERM', 'port-given', 'permission'],
  ['bind', 'EINVAL', 'port-given', 'invalid'],
  ['connect', 'EADDRNOTAVAIL', 'unbound', 'no-free-port'],
  ['connect', 'EADDRNOTAVAIL', 'bound', 'tuple-in-use'],
  ['connect', 'EADDRNOTAVAIL', 'plain', 'other'],
  ['connect', 'EACCES', 'unbound', 'permission'],
  ['connect', 'ECONNREFUSED', 'asynchronous', 'refused'],
  ['connect', 'ECONNRESET', 'asynchronous', 'reset'],
  ['connect', 'ETIMEDOUT', 'asynchronous', 'timed-out'],
  ['connect', 'EHOSTUNREACH', 'unbound', 'unreachable'],
  ['connect', 'EISCONN', 'bound', 'invalid'],
  ['listen', 'EADDRINUSE', 'unbound', 'no-free-port'],
  ['listen', 'EADDRINUSE', 'bound', 'port-taken'],
  ['listen', 'EDESTADDRREQ', 'plain', 'invalid'],
  ['socket', 'EMFILE', 'plain', 'descriptor-limit'],
  ['accept', 'ENFILE', 'plain', 'descriptor-limit'],
  ['socket', 'ENOBUFS', 'plain', 'memory'],
  ['socket', 'EAFNOSUPPORT', 'plain', 'unsupported'],
  ['socket', 'ESOCKTNOSUPPORT', 'plain', 'unsupported'],
  ['connect', 'EXDEV', 'plain', 'other'],
  ['connect', 'toString', 'plain', 'other'],
];

describe('failureCause', () => {
  it.each(CASES)('%s %s %s: %s', (operation, errno, detail, cause) => {
    expect(failureCause(operation, errno, detail)).toBe(cause);
  });
});

describe('errnoName', () => {
  it.each([
    [98, 'EADDRINUSE'],
    [99, 'EADDRNOTAVAIL'],
    [11, 'EAGAIN'],
    [95, 'EOPNOTSUPP'],
    [94, 'ESOCKTNOSUPPORT'],
    [112, 'EHOSTDOWN'],
    [5000, 'E5000'],
  ])('%i is %s', (number, name) => {
    expect(errnoName(number)).toBe(name);
  });
});
