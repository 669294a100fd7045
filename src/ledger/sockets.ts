/**
 * The sockets that the kernel side has told of. Level-triggered: each input carries whole facts, so repeated,
 * late and skipped versions all end in the same state.
 */
import {
  birthOf,
  exampleHolder,
  idOf,
  isAgedByIdleness,
  type SocketEntry,
  type Traits,
  TraitsTable,
  versionOf,
} from './entry.ts';
import { ExitStore } from './exits.ts';
import { compareInstants, type Instant, nsToMs, parseInstant, parseSocketId, type SocketIdentity } from './identity.ts';
import { isWasteful } from './kinds.ts';
import { ownCopy } from './own-copy.ts';
import { betterKnown } from './path-refs.ts';
import { Tombstones } from './tombstones.ts';
import type { HeldSocket, Holder, ProcessId, SocketFacts, SocketId } from './types.ts';

export class SocketStore {
  /** by sk address: the kernel has one socket at an address at a time */
  readonly #live = new Map<string, SocketEntry>();
  readonly exits = new ExitStore();
  readonly #tombstones = new Tombstones();
  readonly #traits = new TraitsTable();
  #lastPassMs = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#live.size + this.exits.size;
  }

  /** Those that have not ended. */
  living(): IterableIterator<SocketEntry> {
    return this.#live.values();
  }

  entries(): Iterable<SocketEntry> {
    // Most have none of the others, and a generator takes longer than what is done with each.
    return this.exits.size === 0 ? this.#live.values() : this.#both();
  }

  *#both(): Generator<SocketEntry> {
    yield* this.#live.values();
    yield* this.exits.entries();
  }

  /**
   * Takes the facts of one version. Ignored when older than what is known, or when that socket has ended.
   * @param watchedSinceMs when watching began; a socket that was seeded until then is no growth
   * @throws TypeError when the socket's id is malformed
   */
  update(facts: SocketFacts, watchedSinceMs: number): void {
    const identity = parseSocketId(facts.id);
    // Held at exit is terminal, whichever record says so: nothing can happen to that socket any more that matters.
    if (facts.heldAtExit) return this.#end(facts, identity, facts.changedMs);
    if (this.#tombstones.isBuried(identity.address, identity.birthNs)) return;

    const live = this.#live.get(identity.address);
    const birth = parseInstant(identity.birthNs);
    const age = live === undefined ? 1 : compareInstants(birth, birthOf(live));
    if (age < 0) return;
    if (live === undefined || age > 0) {
      const entry = newEntry(facts, identity, this.#traits.of(facts), null);
      entry.fromStart = existedFromStart(facts, identity.birthNs, watchedSinceMs);
      // A newer birth at the address: the older socket there has been destroyed, though nobody said so.
      this.#live.set(entry.address, entry);
      return;
    }
    const told = toldAgain(facts, live);
    if (told !== null) advance(live, told, this.#traits.of(told));
  }

  /**
   * Takes the last facts of a destroyed socket.
   * @throws TypeError when the socket's id is malformed
   */
  end(facts: SocketFacts, atMs: number): void {
    this.#end(facts, parseSocketId(facts.id), atMs);
  }

  /** Takes one walk of descriptors, which began at `atMs`. Walks older than the last are ignored. */
  confirm(atMs: number, complete: boolean, sockets: readonly HeldSocket[]): void {
    if (atMs < this.#lastPassMs) return;
    this.#lastPassMs = atMs;
    const sets = new HolderSets();
    const seen = new Set<SocketEntry>();
    for (const held of sockets) {
      const entry = this.#find(held.id);
      if (entry === undefined) continue;
      seen.add(entry);
      observe(entry, held, atMs, sets);
    }
    if (!complete) return;
    for (const entry of this.#live.values()) {
      // Born during the walk: it may have missed the descriptor.
      if (!seen.has(entry) && toMs(birthOf(entry)) < atMs) {
        entry.holders = NOBODY;
        entry.fd = -1;
      }
    }
  }

  #find(id: SocketId): SocketEntry | undefined {
    const live = this.#live.get(parseSocketId(id).address);
    return live !== undefined && idOf(live) === id ? live : undefined;
  }

  #end(facts: SocketFacts, { address, birthNs }: SocketIdentity, atMs: number): void {
    const live = this.#live.get(address);
    const known = live !== undefined && idOf(live) === facts.id ? live : null;
    if (live !== undefined && compareInstants(birthOf(live), parseInstant(birthNs)) <= 0) this.#live.delete(address);
    this.#tombstones.bury(address, birthNs);
    if (facts.heldAtExit) this.#keepHeldAtExit(facts, { address, birthNs }, known, atMs);
  }

  #keepHeldAtExit(facts: SocketFacts, identity: SocketIdentity, known: SocketEntry | null, atMs: number): void {
    const kept = this.exits.get(facts.id);
    if (kept !== undefined) {
      // The row and the ended record of one socket: the later one knows when it really ended.
      kept.endedMs = Math.max(kept.endedMs ?? atMs, atMs);
      const told = toldAgain(facts, kept);
      if (told !== null) keepUpWith(kept, told, this.#traits.of(told));
      return;
    }
    const traits = this.#traits.of(facts);
    if (!isWasteful(traits.kind) || this.exits.wasSummed(facts.id)) return;
    const entry = newEntry(facts, identity, traits, known);
    entry.endedMs = atMs;
    this.exits.add(entry);
  }
}

const NOBODY: readonly ProcessId[] = [];

function toMs({ seconds, nanoseconds }: Instant): number {
  return seconds * 1e3 + nanoseconds / 1e6;
}

function newEntry(
  facts: SocketFacts,
  { address, birthNs }: SocketIdentity,
  traits: Traits,
  known: SocketEntry | null,
): SocketEntry {
  const sameKind = known !== null && known.traits.kind === traits.kind;
  const birth = parseInstant(birthNs);
  const version = parseInstant(facts.version);
  return {
    address: ownCopy(address),
    birthSeconds: birth.seconds,
    birthNanoseconds: birth.nanoseconds,
    versionSeconds: version.seconds,
    versionNanoseconds: version.nanoseconds,
    traits,
    sinceMs: sameKind ? known.sinceMs : enteredMs(facts, traits),
    port: facts.port ?? 0,
    fromStart: sameKind && known.fromStart,
    endedMs: null,
    holders: known?.holders ?? null,
    fd: known?.fd ?? -1,
    inode: known?.inode ?? 0,
    motion: sameKind ? known.motion : null,
  };
}

/**
 * What facts of a known socket add: null when they are older. The same version again is told when its call paths have
 * been found meanwhile; a copy of it from before that changes nothing.
 */
function toldAgain(facts: SocketFacts, entry: SocketEntry): SocketFacts | null {
  const order = compareInstants(parseInstant(facts.version), versionOf(entry));
  if (order !== 0) return order > 0 ? facts : null;
  const openPath = betterKnown(facts.openPath, entry.traits.openPath);
  const bindPath = betterKnown(facts.bindPath, entry.traits.bindPath);
  return { ...facts, openPath, bindPath };
}

/** Later facts of what was held at exit: how it was used and which port it had are settled, not where its code is. */
function keepUpWith(entry: SocketEntry, facts: SocketFacts, traits: Traits): void {
  if (traits.kind !== entry.traits.kind) return;
  setVersion(entry, facts);
  entry.traits = traits;
}

function advance(entry: SocketEntry, facts: SocketFacts, traits: Traits): void {
  if (traits.kind !== entry.traits.kind) {
    entry.sinceMs = enteredMs(facts, traits);
    entry.fromStart = false;
    entry.motion = null;
  }
  setVersion(entry, facts);
  entry.traits = traits;
  entry.port = facts.port ?? 0;
}

function setVersion(entry: SocketEntry, facts: SocketFacts): void {
  const version = parseInstant(facts.version);
  entry.versionSeconds = version.seconds;
  entry.versionNanoseconds = version.nanoseconds;
}

/** When a socket entered the kind that these facts give it, if no earlier version was of that kind. */
function enteredMs(facts: SocketFacts, traits: Traits): number {
  // An unused socket has been nothing else since it was opened, however late its first version comes.
  return traits.kind === 'unused' && facts.openedMs.status === 'measured' ? facts.openedMs.value : facts.changedMs;
}

/** Seeded when watching began, and unchanged since: its first version is its birth. */
function existedFromStart(facts: SocketFacts, birthNs: string, watchedSinceMs: number): boolean {
  return facts.origin === 'seeded' && nsToMs(birthNs) <= watchedSinceMs && facts.version === birthNs;
}

function observe(entry: SocketEntry, held: HeldSocket, atMs: number, sets: HolderSets): void {
  const { owner, kind } = entry.traits;
  entry.holders = sets.of(held.holders);
  const shown = exampleHolder(entry.holders, owner);
  const descriptor = held.holders.find(({ process }) => process === shown);
  entry.fd = descriptor?.fd ?? -1;
  entry.inode = Number(descriptor?.inode ?? 0);
  if (!isAgedByIdleness(kind)) return;
  // The first reading is only the base line: it does not tell when these bytes moved.
  if (entry.motion === null) entry.motion = { bytesMoved: held.bytesMoved, movedMs: null };
  else if (entry.motion.bytesMoved !== held.bytesMoved) entry.motion = { bytesMoved: held.bytesMoved, movedMs: atMs };
}

/** Gives equal sets of holders one array; lives as long as one walk. */
class HolderSets {
  readonly #byKey = new Map<string, readonly ProcessId[]>();

  of(holders: readonly Holder[]): readonly ProcessId[] {
    const [first] = holders;
    const processes =
      first !== undefined && holders.length === 1
        ? [first.process]
        : [...new Set(holders.map(({ process }) => process))].sort();
    const key = processes.join(' ');
    const shared = this.#byKey.get(key);
    if (shared !== undefined) return shared;
    this.#byKey.set(key, processes);
    return processes;
  }
}
