// A snapshot tells no ledger of each socket; it must find what a ledger finds that is told of each.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { CensusHolder, CensusSocket } from '../../src/accounting/census.ts';
import { findingsOf } from '../../src/ledger/findings.ts';
import { Ledger } from '../../src/ledger/ledger.ts';
import { sumSuspects } from '../../src/ledger/suspect-sums.ts';
import type { SocketFacts } from '../../src/ledger/types.ts';
import { entriesOf, kindsOf } from '../../src/report/one-look.ts';
import { census, censusSocket } from './census-facts.ts';
import { history, measured, OTHER, OWNER, process, session, unavailable } from './facts.ts';

const AT_MS = 100_000.25;
const UNTOLD = unavailable('not told');
const THIRD: CensusHolder = { process: `${OTHER}9`, pid: 9, fd: 7 };

const anyHolder = fc.constantFrom<CensusHolder>(
  { process: OWNER, pid: 1234, fd: 3 },
  { process: OWNER, pid: 1234, fd: 4 },
  { process: OTHER, pid: 4321, fd: 3 },
  THIRD,
);

const anySocket = fc.record<Partial<CensusSocket>>({
  holders: fc.uniqueArray(anyHolder, { maxLength: 3 }),
  state: fc.constantFrom('CLOSE', 'CLOSE_WAIT', 'ESTABLISHED', 'LISTEN', 'SYN_SENT', 'FIN_WAIT2'),
  port: fc.constantFrom(null, 80, 50_000),
  netns: fc.constantFrom(1, 2),
  family: fc.constantFrom(4, 6),
  error: fc.constantFrom(null, 'ECONNREFUSED', 'ETIMEDOUT'),
  activeMs: fc.constantFrom(null, 1_000, 99_999.5, 200_000),
  wasEstablished: fc.boolean(),
  hasSent: fc.boolean(),
});

function idOf({ address }: CensusSocket): string {
  return `${address}:${Math.round(AT_MS * 1e6)}`;
}

/** What the kernel side would have told of it, had it been seeded at that instant. */
function factsOf(socket: CensusSocket): SocketFacts {
  const { holders, state, port, error, activeMs, wasEstablished, hasSent } = socket;
  const recorded = wasEstablished || hasSent || state !== 'CLOSE';
  return {
    id: idOf(socket),
    origin: 'seeded',
    accepted: UNTOLD,
    owner: holders[0] === undefined ? unavailable('no process has it open') : measured(holders[0].process),
    openedMs: UNTOLD,
    changedMs: recorded ? (activeMs ?? AT_MS) : AT_MS,
    // Later than the birth: what was there from the start is another matter.
    version: `${Math.round(AT_MS * 1e6) + 1}`,
    family: socket.family,
    state,
    port,
    ever: recorded ? history({ connecting: wasEstablished || hasSent, established: wasEstablished }) : UNTOLD,
    bindErrno: null,
    connectErrno: error,
    socketErrno: error,
    local: socket.local,
    peer: null,
    released: false,
    releaseState: null,
    heldAtExit: false,
    netns: socket.netns,
    uid: 0,
    openPath: { status: 'preexisting' },
    bindPath: port === null ? null : { status: 'preexisting' },
  };
}

function ledgerTold(sockets: readonly CensusSocket[]): Ledger {
  const ledger = new Ledger();
  const line = session();
  if (line.type !== 'session') throw new Error('an input of another type');
  ledger.apply({ ...line, session: { ...line.session, thresholds: { ...line.session.thresholds, minAgeMs: 0 } } });
  ledger.apply(process());
  ledger.apply(process({ id: OTHER, pid: 4321 }));
  for (const socket of sockets) ledger.apply({ type: 'socket', facts: factsOf(socket) });
  ledger.apply({
    type: 'holders',
    atMs: AT_MS,
    complete: true,
    sockets: sockets.map((socket) => ({
      id: idOf(socket),
      holders: socket.holders.map((holder) => ({ ...holder, inode: socket.inode ?? '0' })),
      receiveQueue: 0,
      sendQueue: 0,
      bytesMoved: '0',
    })),
    gone: [],
  });
  return ledger;
}

it('findings and kinds are those of a ledger that was told of each socket', () => {
  fc.assert(
    fc.property(fc.array(anySocket, { maxLength: 40 }), (changes) => {
      const sockets = changes.map((changed, i) =>
        censusSocket({ ...changed, address: (0xffff_0000 + i * 64).toString(16), inode: String(100 + i) }),
      );
      const ledger = ledgerTold(sockets);
      const { alike } = census(sockets);
      const entries = [...entriesOf(alike, AT_MS)];
      const look = {
        nowMs: AT_MS,
        thresholds: ledger.thresholds,
        suspectSums: (atMs: number) => sumSuspects(entries, atMs, ledger.thresholds).sums,
        exitSums: () => [],
        growthOf: () => undefined,
        confirmedAt: null,
        programOf: ledger.programOf.bind(ledger),
      };
      expect(findingsOf(look, AT_MS)).toEqual(findingsOf(ledger, AT_MS));
      expect(kindsOf(alike)).toEqual(ledger.countByKind());
    }),
  );
});
