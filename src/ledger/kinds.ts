/** What a socket is good for, as a total function of its recorded facts. */
import { type SocketFacts, type SocketKind, type TcpState, WASTEFUL_KINDS, type WastefulKind } from './types.ts';

/** Every kind, in the order in which reports list them. */
export const SOCKET_KINDS = [
  ...WASTEFUL_KINDS,
  'released',
  'connecting',
  'established',
  'closing',
  'listening',
  'unaccepted',
] as const satisfies readonly SocketKind[];

/** The facts that tell a kind. */
export type KindFacts = Pick<SocketFacts, 'released' | 'heldAtExit' | 'releaseState' | 'state' | 'ever' | 'bindErrno'>;

/**
 * The kind of a socket. Never fails: each combination of facts has exactly one kind.
 * A socket that its exiting process still held has the kind it had at that moment.
 */
export function classify(facts: KindFacts): SocketKind {
  if (!facts.released) return kindInState(facts, facts.state);
  if (facts.heldAtExit) return kindInState(facts, facts.releaseState ?? facts.state);
  return 'released';
}

/** Whether it occupies a local port now. A fact beside the kind: a disconnected socket may keep an explicit port. */
export function holdsPort(facts: SocketFacts): boolean {
  return facts.port !== null;
}

/** Whether a program has no use for a socket of this kind. */
export function isWasteful(kind: SocketKind): kind is WastefulKind {
  return (WASTEFUL_KINDS as readonly SocketKind[]).includes(kind);
}

/** The errno that explains why a socket is of its kind, null where none does. */
export function errnoOfKind(
  kind: SocketKind,
  facts: Pick<SocketFacts, 'bindErrno' | 'connectErrno' | 'socketErrno'>,
): string | null {
  if (kind === 'bind-failed') return facts.bindErrno;
  if (kind === 'connect-failed') return facts.connectErrno;
  if (kind === 'disconnected') return facts.socketErrno;
  return null;
}

function kindInState(facts: KindFacts, state: TcpState): SocketKind {
  switch (state) {
    case 'CLOSE':
      return kindOfClosed(facts);
    case 'CLOSE_WAIT':
      return 'close-wait';
    case 'SYN_SENT':
    case 'SYN_RECV':
    case 'NEW_SYN_RECV':
      return 'connecting';
    case 'ESTABLISHED':
      return 'established';
    case 'LISTEN':
      return 'listening';
    case 'FIN_WAIT1':
    case 'FIN_WAIT2':
    case 'LAST_ACK':
    case 'CLOSING':
    case 'TIME_WAIT':
      return 'closing';
    default:
      return unreachable(state);
  }
}

/** In CLOSE only history tells kinds apart; what came later in a socket's life is asked first. */
function kindOfClosed({ ever, bindErrno }: KindFacts): SocketKind {
  if (ever.status === 'unavailable') return 'closed-unknown';
  if (ever.value.established || ever.value.listening) return 'disconnected';
  if (ever.value.connecting) return 'connect-failed';
  if (ever.value.bound) return 'bound-inactive';
  if (bindErrno !== null) return 'bind-failed';
  return 'unused';
}

function unreachable(state: never): never {
  throw new TypeError(`not a TCP state: ${JSON.stringify(state)}`);
}
