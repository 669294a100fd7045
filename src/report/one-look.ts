/** The sockets of one look at what exists, as the entries of a ledger that has seen nothing happen to them. */
import type { AlikeSockets, CensusSocket } from '../accounting/census.ts';
import { isForgotten, kindInState } from '../accounting/remembered.ts';
import { type SocketEntry, shownKind, type Traits } from '../ledger/entry.ts';
import { type Instant, parseInstant } from '../ledger/identity.ts';
import { errnoOfKind, SOCKET_KINDS } from '../ledger/kinds.ts';
import type { PathRef, ProcessId, SocketKind } from '../ledger/types.ts';

const NS_PER_MS = 1e6;
const PREEXISTING: PathRef = { status: 'preexisting' };

/**
 * One after the other, so that those of a large host are not all in memory.
 * @param atMs when it was: they count as born then, since nothing tells that they are older
 */
export function* entriesOf(alike: readonly AlikeSockets[], atMs: number): Generator<SocketEntry> {
  const birth = parseInstant(String(Math.round(atMs * NS_PER_MS)));
  for (const { one, sockets } of alike) {
    const traits = traitsOf(one);
    const holders = [...new Set(one.holders.map(({ process }) => process))].sort();
    const forgotten = isForgotten(one);
    for (const socket of sockets) {
      // Nothing has happened to it since its last segment: a state that a segment brought is that old.
      const sinceMs = forgotten ? atMs : (socket.activeMs ?? atMs);
      yield new EntryOfOneLook(socket, traits, holders, birth, sinceMs);
    }
  }
}

/** How many of entriesOf() there are of each kind; kinds without any are left out. */
export function kindsOf(alike: readonly AlikeSockets[]): { kind: SocketKind; count: number }[] {
  const counts = new Map<SocketKind, number>();
  for (const { one, sockets } of alike)
    for (const entry of entriesOf([{ one, sockets: [one] }], 0)) {
      const kind = shownKind(entry);
      counts.set(kind, (counts.get(kind) ?? 0) + sockets.length);
    }
  return SOCKET_KINDS.map((kind) => ({ kind, count: counts.get(kind) ?? 0 })).filter(({ count }) => count > 0);
}

/** Their owner is the first process that has them open, or none. */
function traitsOf(one: CensusSocket): Traits {
  const { family, netns, error, port, holders } = one;
  const kind = kindInState(one);
  const [holder] = holders;
  const owner: Traits['owner'] =
    holder === undefined
      ? { status: 'unavailable', reason: 'no process has it open' }
      : { status: 'measured', value: holder.process };
  const errno = errnoOfKind(kind, { bindErrno: null, connectErrno: error, socketErrno: error });
  return { kind, owner, errno, openPath: PREEXISTING, bindPath: port === null ? null : PREEXISTING, netns, family };
}

class EntryOfOneLook implements SocketEntry {
  readonly #socket: CensusSocket;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
  #address: string | undefined;
  readonly traits: Traits;
  readonly holders: readonly ProcessId[];
  readonly sinceMs: number;
  /** nothing was watched */
  readonly fromStart = false;
  readonly endedMs = null;
  readonly movedMs = null;

  constructor(socket: CensusSocket, traits: Traits, holders: readonly ProcessId[], birth: Instant, sinceMs: number) {
    this.#socket = socket;
    this.birthSeconds = birth.seconds;
    this.birthNanoseconds = birth.nanoseconds;
    this.traits = traits;
    this.holders = holders;
    this.sinceMs = sinceMs;
  }

  get address(): string {
    this.#address ??= this.#socket.address;
    return this.#address;
  }

  get port(): number {
    return this.#socket.port ?? 0;
  }

  get fd(): number {
    return this.#socket.holders[0]?.fd ?? -1;
  }

  get inode(): number {
    return Number(this.#socket.inode ?? 0);
  }
}
