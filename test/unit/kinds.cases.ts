/** One table of what sockets are good for. The BPF test of wastefulness is held to it as well. */
import type { SocketFacts, SocketKind } from '../../src/ledger/types.ts';
import { history, measured, socket, unavailable } from './facts.ts';

export interface KindCase {
  what: string;
  facts: SocketFacts;
  kind: SocketKind;
  errno: string | null;
  holdsPort: boolean;
}

function kindCase(
  what: string,
  facts: Partial<SocketFacts>,
  kind: SocketKind,
  more: { errno?: string; holdsPort?: boolean } = {},
): KindCase {
  return { what, facts: socket(1, 1_000, facts), kind, errno: more.errno ?? null, holdsPort: more.holdsPort ?? false };
}

export const KIND_CASES: readonly KindCase[] = [
  kindCase('socket() and nothing else', {}, 'unused'),
  kindCase('bind(port 0) and nothing else', { ever: history({ bound: true }), port: 50_001 }, 'bound-inactive', {
    holdsPort: true,
  }),
  kindCase('bind failed, nothing since', { bindErrno: 'EADDRINUSE' }, 'bind-failed', { errno: 'EADDRINUSE' }),
  kindCase(
    'bind succeeded, then a second one failed',
    { ever: history({ bound: true }), bindErrno: 'EINVAL', port: 50_001 },
    'bound-inactive',
    { holdsPort: true },
  ),
  kindCase(
    'connect refused, its automatic port given back',
    { ever: history({ connecting: true }), connectErrno: 'ECONNREFUSED' },
    'connect-failed',
    { errno: 'ECONNREFUSED' },
  ),
  kindCase(
    'connect refused after bind(7777): the port stays',
    { ever: history({ bound: true, connecting: true }), connectErrno: 'ECONNREFUSED', port: 7_777 },
    'connect-failed',
    { errno: 'ECONNREFUSED', holdsPort: true },
  ),
  kindCase(
    'connect failed before a SYN, after a failed bind',
    { ever: history({ connecting: true }), bindErrno: 'EADDRINUSE', connectErrno: 'EADDRNOTAVAIL' },
    'connect-failed',
    { errno: 'EADDRNOTAVAIL' },
  ),
  kindCase(
    'reset by its peer',
    { ever: history({ connecting: true, established: true }), socketErrno: 'ECONNRESET' },
    'disconnected',
    { errno: 'ECONNRESET' },
  ),
  kindCase(
    'accepted, closed by both sides',
    { accepted: measured(true), ever: history({ established: true }) },
    'disconnected',
  ),
  kindCase('listened, then shutdown()', { ever: history({ bound: true, listening: true }) }, 'disconnected'),
  kindCase('seeded in CLOSE', { origin: 'seeded', ever: unavailable() }, 'closed-unknown'),
  kindCase('seeded in CLOSE with a port', { origin: 'seeded', ever: unavailable(), port: 80 }, 'closed-unknown', {
    holdsPort: true,
  }),
  kindCase(
    'the peer has closed',
    { state: 'CLOSE_WAIT', ever: history({ established: true }), port: 443 },
    'close-wait',
    { holdsPort: true },
  ),
  kindCase('seeded in CLOSE_WAIT', { state: 'CLOSE_WAIT', origin: 'seeded', ever: unavailable() }, 'close-wait'),
  kindCase('SYN sent', { state: 'SYN_SENT', ever: history({ connecting: true }) }, 'connecting'),
  kindCase('SYN received', { state: 'SYN_RECV' }, 'connecting'),
  kindCase('request socket', { state: 'NEW_SYN_RECV' }, 'connecting'),
  kindCase('established', { state: 'ESTABLISHED', ever: history({ established: true }) }, 'established'),
  kindCase('listening', { state: 'LISTEN', ever: history({ bound: true, listening: true }), port: 80 }, 'listening', {
    holdsPort: true,
  }),
  kindCase('shutdown by us', { state: 'FIN_WAIT1', ever: history({ established: true }) }, 'closing'),
  kindCase('shutdown by us, acknowledged', { state: 'FIN_WAIT2', ever: history({ established: true }) }, 'closing'),
  kindCase('both have sent FIN', { state: 'CLOSING', ever: history({ established: true }) }, 'closing'),
  kindCase('last ACK', { state: 'LAST_ACK', ever: history({ established: true }) }, 'closing'),
  kindCase('time wait', { state: 'TIME_WAIT', ever: history({ established: true }) }, 'closing'),
  kindCase('closed by its program, not destroyed yet', { released: true, releaseState: 'CLOSE' }, 'released'),
  kindCase(
    'orphan that lingers',
    { released: true, releaseState: 'ESTABLISHED', state: 'FIN_WAIT1', ever: history({ established: true }) },
    'released',
  ),
  kindCase('unused when its process exited', { released: true, releaseState: 'CLOSE', heldAtExit: true }, 'unused'),
  kindCase(
    'close-wait when its process exited, CLOSE now',
    { released: true, releaseState: 'CLOSE_WAIT', heldAtExit: true, ever: history({ established: true }) },
    'close-wait',
  ),
  kindCase(
    'bind failed, then its process exited',
    { released: true, releaseState: 'CLOSE', heldAtExit: true, bindErrno: 'EADDRINUSE' },
    'bind-failed',
    { errno: 'EADDRINUSE' },
  ),
];
