import { describe, expect, it } from 'vitest';
import { classify, errnoOfKind, holdsPort, isWasteful, SOCKET_KINDS } from '../../src/ledger/kinds.ts';
import { KIND_CASES } from './kinds.cases.ts';

describe('classify', () => {
  it.each(KIND_CASES)('$what: $kind', ({ facts, kind, errno, holdsPort: port }) => {
    expect(classify(facts)).toBe(kind);
    expect(errnoOfKind(kind, facts)).toBe(errno);
    expect(holdsPort(facts)).toBe(port);
  });

  it('gives wasteful kinds only to sockets that the kernel side sends: in CLOSE or CLOSE_WAIT', () => {
    for (const { facts, kind } of KIND_CASES.filter((test) => isWasteful(test.kind))) {
      const state = facts.heldAtExit ? facts.releaseState : facts.state;
      expect(['CLOSE', 'CLOSE_WAIT'], kind).toContain(state);
    }
  });

  it('has a case for every kind but unaccepted, which no facts show yet', () => {
    const covered = new Set(KIND_CASES.map(({ kind }) => kind));
    expect(SOCKET_KINDS.filter((kind) => !covered.has(kind))).toEqual(['unaccepted']);
  });
});
