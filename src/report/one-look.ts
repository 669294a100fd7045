/** The sockets of one look at what exists, as the entries of a ledger that has seen nothing happen to them. */
import type { CensusSocket } from '../accounting/census.ts';
import type { SocketEntry, Traits } from '../ledger/entry.ts';
import { type Instant, parseInstant } from '../ledger/identity.ts';
import { errnoOfKind, classify as kindOf } from '../ledger/kinds.ts';
import type { Known, PathRef, ProcessId, SocketFacts, SocketHistory, SocketKind } from '../ledger/types.ts';

const NS_PER_MS = 1e6;
const PREEXISTING: PathRef = { status: 'preexisting' };
const NOBODY: readonly ProcessId[] = [];

/** @param atMs when it was: they count as born then, since nothing tells that they are older */
export function entriesOf(sockets: readonly CensusSocket[], atMs: number): SocketEntry[] {
  const birth = parseInstant(String(Math.round(atMs * NS_PER_MS)));
  const traits = new TraitsByOwner();
  return sockets.map((socket) => new EntryOfOneLook(socket, traits.of(socket), birth, atMs));
}

class EntryOfOneLook implements SocketEntry {
  readonly #socket: CensusSocket;
  #address: string | undefined;
  readonly traits: Traits;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
  readonly versionSeconds = 0;
  readonly versionNanoseconds = 0;
  readonly sinceMs: number;
  readonly fromStart = false;
  readonly endedMs = null;
  readonly holders: readonly ProcessId[];
  readonly motion = null;

  constructor(socket: CensusSocket, traits: Traits, birth: Instant, atMs: number) {
    this.#socket = socket;
    this.traits = traits;
    this.birthSeconds = birth.seconds;
    this.birthNanoseconds = birth.nanoseconds;
    // Nothing has happened to it since its last segment: a state that a segment brought is that old.
    this.sinceMs = historyOf(socket) === NOT_RECORDED ? atMs : (socket.activeMs ?? atMs);
    this.holders = processesOf(socket);
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

function processesOf({ holders }: CensusSocket): readonly ProcessId[] {
  const [first] = holders;
  if (first === undefined) return NOBODY;
  return holders.length === 1 ? [first.process] : [...new Set(holders.map(({ process }) => process))].sort();
}

/** Gives sockets that are alike one object: a process has few that differ. */
class TraitsByOwner {
  readonly #known = new Map<ProcessId | null, Traits[]>();

  of(socket: CensusSocket): Traits {
    const { family, netns, error, port } = socket;
    const process = socket.holders[0]?.process ?? null;
    const kind = kindInState(socket);
    const errno = errnoOfKind(kind, { bindErrno: null, connectErrno: error, socketErrno: error });
    const bindPath = port === null ? null : PREEXISTING;
    const known = this.#known.get(process) ?? [];
    if (known.length === 0) this.#known.set(process, known);
    const same = known.find(
      (one) =>
        one.kind === kind &&
        one.errno === errno &&
        one.bindPath === bindPath &&
        one.netns === netns &&
        one.family === family,
    );
    if (same !== undefined) return same;
    const traits = {
      kind,
      owner: known[0]?.owner ?? ownerOf(process),
      errno,
      openPath: PREEXISTING,
      bindPath,
      netns,
      family,
    };
    known.push(traits);
    return traits;
  }
}

function ownerOf(process: ProcessId | null): Known<ProcessId> {
  return process === null
    ? { status: 'unavailable', reason: 'no process has it open' }
    : { status: 'measured', value: process };
}

/** By what the kernel remembers of it, whoever has it open. */
export function kindInState(socket: CensusSocket): SocketKind {
  return kindOf({
    state: socket.state,
    ever: historyOf(socket),
    bindErrno: null,
    released: false,
    releaseState: null,
    heldAtExit: false,
  });
}

const NOTHING: SocketHistory = { bound: false, connecting: false, established: false, listening: false };
const NO_HISTORY: SocketFacts['ever'] = { status: 'measured', value: NOTHING };
const CONNECTING: SocketFacts['ever'] = { status: 'measured', value: { ...NOTHING, connecting: true } };
const ESTABLISHED: SocketFacts['ever'] = {
  status: 'measured',
  value: { ...NOTHING, connecting: true, established: true },
};
const NOT_RECORDED: SocketFacts['ever'] = {
  status: 'unavailable',
  reason: 'it is closed: what it had been used for is not recorded',
};

/**
 * What the counters of a connection prove: its SYN was sent (segs_out), and acknowledged (bytes_acked). A socket in CLOSE
 * that never sent one may have been bound, or not, and may have been a listener.
 */
function historyOf({ state, wasEstablished, hasSent }: CensusSocket): SocketFacts['ever'] {
  if (wasEstablished) return ESTABLISHED;
  if (hasSent) return CONNECTING;
  return state === 'CLOSE' ? NOT_RECORDED : NO_HISTORY;
}
