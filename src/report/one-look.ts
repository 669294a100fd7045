/** The sockets of one look at what exists, as the entries of a ledger that has seen nothing happen to them. */
import type { CensusSocket } from '../accounting/census.ts';
import { isForgotten, kindInState } from '../accounting/remembered.ts';
import type { SocketEntry, Traits } from '../ledger/entry.ts';
import { type Instant, parseInstant } from '../ledger/identity.ts';
import { errnoOfKind } from '../ledger/kinds.ts';
import type { Known, PathRef, ProcessId } from '../ledger/types.ts';

const NS_PER_MS = 1e6;
const PREEXISTING: PathRef = { status: 'preexisting' };

/** @param atMs when it was: they count as born then, since nothing tells that they are older */
export function entriesOf(sockets: readonly CensusSocket[], atMs: number): SocketEntry[] {
  const birth = parseInstant(String(Math.round(atMs * NS_PER_MS)));
  const owners = new Map<ProcessId | undefined, Owner>();
  return sockets.map((socket) => {
    const process = socket.holders[0]?.process;
    const owner = owners.get(process) ?? new Owner(process);
    if (owner.isNew) owners.set(process, owner);
    // Nothing has happened to it since its last segment: a state that a segment brought is that old.
    const sinceMs = isForgotten(socket) ? atMs : (socket.activeMs ?? atMs);
    return new EntryOfOneLook(socket, owner.traitsOf(socket), owner.holdersOf(socket), birth, sinceMs);
  });
}

class EntryOfOneLook implements SocketEntry {
  readonly #socket: CensusSocket;
  readonly #birth: Instant;
  #address: string | undefined;
  readonly traits: Traits;
  readonly holders: readonly ProcessId[];
  readonly sinceMs: number;

  constructor(socket: CensusSocket, traits: Traits, holders: readonly ProcessId[], birth: Instant, sinceMs: number) {
    this.#socket = socket;
    this.#birth = birth;
    this.traits = traits;
    this.holders = holders;
    this.sinceMs = sinceMs;
  }

  get address(): string {
    this.#address ??= this.#socket.address;
    return this.#address;
  }

  get birthSeconds(): number {
    return this.#birth.seconds;
  }

  get birthNanoseconds(): number {
    return this.#birth.nanoseconds;
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

  /** Nothing was watched. */
  get fromStart(): boolean {
    return false;
  }

  get endedMs(): null {
    return null;
  }

  get movedMs(): null {
    return null;
  }
}

/** The first process that has a socket open, or none. Its sockets that are alike share what they have in common. */
class Owner {
  readonly #owner: Known<ProcessId>;
  readonly #alone: readonly ProcessId[];
  readonly #traits: Traits[] = [];

  constructor(process: ProcessId | undefined) {
    this.#owner =
      process === undefined
        ? { status: 'unavailable', reason: 'no process has it open' }
        : { status: 'measured', value: process };
    this.#alone = process === undefined ? [] : [process];
  }

  get isNew(): boolean {
    return this.#traits.length === 0;
  }

  holdersOf({ holders }: CensusSocket): readonly ProcessId[] {
    return holders.length > 1 ? [...new Set(holders.map(({ process }) => process))].sort() : this.#alone;
  }

  /** There are few that differ. */
  traitsOf(socket: CensusSocket): Traits {
    const { family, netns, error, port } = socket;
    const kind = kindInState(socket);
    const errno = errnoOfKind(kind, { bindErrno: null, connectErrno: error, socketErrno: error });
    const bindPath = port === null ? null : PREEXISTING;
    for (const known of this.#traits)
      if (
        known.kind === kind &&
        known.errno === errno &&
        known.bindPath === bindPath &&
        known.netns === netns &&
        known.family === family
      )
        return known;
    const traits = { kind, owner: this.#owner, errno, openPath: PREEXISTING, bindPath, netns, family };
    this.#traits.push(traits);
    return traits;
  }
}
