/**
 * The sockets that the kernel side has told of. Level-triggered: each input carries whole facts, so repeated,
 * late and skipped versions all end in the same state.
 */
import {
  birthOf,
  exampleHolder,
  isAgedByIdleness,
  type KindCount,
  kindsOf,
  type SocketEntry,
  type Traits,
  TraitsTable,
} from './entry.ts';
import { type ExitEntry, ExitStore } from './exits.ts';
import {
  compareInstants,
  formatAddress,
  formatSocketId,
  type Instant,
  instantToMs,
  parseAddress,
  parseInstant,
  parseSocketId,
  type SocketIdentity,
} from './identity.ts';
import { isWasteful } from './kinds.ts';
import { betterKnown } from './path-refs.ts';
import { type NewSocket, type SocketRow, SocketTable } from './socket-table.ts';
import { type SuspectSum, sumSuspects } from './suspect-sums.ts';
import type { Tally } from './suspects.ts';
import { Tombstones } from './tombstones.ts';
import type { HeldSocket, Holder, LedgerInput, ProcessId, SocketFacts, SocketId, Thresholds } from './types.ts';

type Pass = Extract<LedgerInput, { type: 'holders' }>;

/** A socket as a walk saw it that began at `atMs`; the walk before began at `beforeMs`. */
interface Observation {
  held: HeldSocket;
  atMs: number;
  beforeMs: number;
}

export class SocketStore {
  readonly #live = new SocketTable();
  readonly exits = new ExitStore();
  readonly #tombstones = new Tombstones();
  readonly #traits = new TraitsTable();
  /** What walks saw of sockets that nobody has told of yet: the next walk may not show it again. */
  readonly #early = new Map<SocketId, Observation>();
  #lastPassMs = Number.NEGATIVE_INFINITY;
  #confirmedMs: number | null = null;

  /** when the last whole walk of descriptors began; null before the first */
  get confirmedMs(): number | null {
    return this.#confirmedMs;
  }

  get size(): number {
    return this.#live.size + this.exits.size;
  }

  /** How many of those that have not ended are suspects: see SocketTable. */
  tallySuspects(nowMs: number, minAgeMs: number): Tally[] {
    return this.#live.tallySuspects(nowMs, minAgeMs);
  }

  /** The suspects at a time, in sums. */
  suspectSums(nowMs: number, thresholds: Thresholds): SuspectSum[] {
    return [...this.#live.suspectSums(nowMs, thresholds), ...sumSuspects(this.exits.entries(), nowMs, thresholds).sums];
  }

  /** How many there are of each kind, in parts. */
  *kinds(): Generator<KindCount> {
    yield* this.#live.kinds();
    yield* kindsOf(this.exits.entries());
    for (const { traits, count } of this.exits.sums()) yield { kind: traits.kind, count };
  }

  /** The one at an address of the kernel, of those that have not ended; valid until the next input. */
  livingAt(text: string): SocketEntry | undefined {
    const address = parseAddress(text);
    return address === null ? undefined : this.#live.get(address);
  }

  /** Each is valid until the next input. */
  *entries(): Generator<SocketEntry> {
    yield* this.#live.entries();
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
    if (this.#tombstones.isBuried(identity)) return;

    const live = this.#live.get(identity.address);
    const age = live === undefined ? 1 : compareInstants(identity.birth, birthOf(live));
    if (age < 0) return;
    if (live === undefined || age > 0) {
      // A newer birth at the address: the older socket there has been destroyed, though nobody said so.
      this.#live.put(newSocket(facts, identity, this.#traits.of(facts), watchedSinceMs));
      this.#observeEarly(facts.id);
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

  /** Takes what a walk of descriptors, which began at `atMs`, saw otherwise. Walks older than the last are ignored. */
  confirm({ atMs, complete, sockets, gone }: Pass): void {
    if (atMs < this.#lastPassMs) return;
    const beforeMs = this.#lastPassMs;
    this.#lastPassMs = atMs;
    const sets = new HolderSets();
    for (const held of sockets) {
      const row = this.#find(held.id);
      if (row === undefined) this.#early.set(held.id, { held, atMs, beforeMs });
      else observe(row, { held, atMs, beforeMs }, sets);
    }
    if (!complete) return;
    this.#confirmedMs = atMs;
    for (const id of gone) {
      this.#early.delete(id);
      const row = this.#find(id);
      row?.hold(NOBODY, -1, row.inode);
    }
    for (const row of this.#live.unconfirmed()) {
      // Born during the walk: it may have missed the descriptor.
      if (instantToMs(birthOf(row)) < atMs) row.hold(NOBODY, -1, row.inode);
    }
  }

  #observeEarly(id: SocketId): void {
    const early = this.#early.size === 0 ? undefined : this.#early.get(id);
    const row = early === undefined ? undefined : this.#find(id);
    if (early === undefined || row === undefined) return;
    this.#early.delete(id);
    observe(row, early, new HolderSets());
  }

  #find(id: SocketId): SocketRow | undefined {
    const { address, birth } = parseSocketId(id);
    const live = this.#live.get(address);
    return live !== undefined && compareInstants(birthOf(live), birth) === 0 ? live : undefined;
  }

  #end(facts: SocketFacts, identity: SocketIdentity, atMs: number): void {
    const { address, birth } = identity;
    const live = this.#live.get(address);
    const older = live === undefined ? 1 : compareInstants(birthOf(live), birth);
    if (facts.heldAtExit) this.#keepHeldAtExit(facts, identity, older === 0 ? (live ?? null) : null, atMs);
    if (older <= 0) this.#live.delete(address);
    this.#early.delete(facts.id);
    this.#tombstones.bury(identity);
  }

  #keepHeldAtExit(facts: SocketFacts, identity: SocketIdentity, known: SocketEntry | null, atMs: number): void {
    const id = formatSocketId(identity.address, identity.birth);
    const kept = this.exits.get(id);
    if (kept !== undefined) {
      // The row and the ended record of one socket: the later one knows when it really ended.
      kept.endedMs = Math.max(kept.endedMs, atMs);
      const told = toldAgain(facts, kept);
      if (told !== null) keepUpWith(kept, told, this.#traits.of(told));
      return;
    }
    const traits = this.#traits.of(facts);
    if (!isWasteful(traits.kind) || this.exits.wasSummed(id)) return;
    this.exits.add(newExit(id, facts, identity, traits, known, atMs));
  }
}

const NOBODY: readonly ProcessId[] = [];

function newSocket(
  facts: SocketFacts,
  { address, birth }: SocketIdentity,
  traits: Traits,
  watchedSinceMs: number,
): NewSocket {
  const version = parseInstant(facts.version);
  return {
    address,
    birthSeconds: birth.seconds,
    birthNanoseconds: birth.nanoseconds,
    version,
    traits,
    sinceMs: enteredMs(facts, traits),
    port: facts.port ?? 0,
    fromStart: existedFromStart(facts, birth, version, watchedSinceMs),
    holders: null,
    fd: -1,
    inode: 0,
    movedMs: null,
  };
}

/** @param known what was known of it while it lived */
function newExit(
  id: SocketId,
  facts: SocketFacts,
  { address, birth }: SocketIdentity,
  traits: Traits,
  known: SocketEntry | null,
  endedMs: number,
): ExitEntry {
  const before = known !== null && known.traits.kind === traits.kind ? known : null;
  return {
    id,
    address: formatAddress(address),
    birthSeconds: birth.seconds,
    birthNanoseconds: birth.nanoseconds,
    version: parseInstant(facts.version),
    traits,
    sinceMs: before?.sinceMs ?? enteredMs(facts, traits),
    port: facts.port ?? 0,
    fromStart: before?.fromStart ?? false,
    endedMs,
    holders: known?.holders ?? null,
    fd: known?.fd ?? -1,
    inode: known?.inode ?? 0,
    movedMs: before?.movedMs ?? null,
  };
}

/**
 * What facts of a known socket add: null when they are older. The same version again is told when its call paths have
 * been found meanwhile; a copy of it from before that changes nothing.
 */
function toldAgain(facts: SocketFacts, entry: SocketRow | ExitEntry): SocketFacts | null {
  const order = compareInstants(parseInstant(facts.version), entry.version);
  if (order !== 0) return order > 0 ? facts : null;
  const openPath = betterKnown(facts.openPath, entry.traits.openPath);
  const bindPath = betterKnown(facts.bindPath, entry.traits.bindPath);
  return { ...facts, openPath, bindPath };
}

/** Later facts of what was held at exit: how it was used and which port it had are settled, not where its code is. */
function keepUpWith(entry: ExitEntry, facts: SocketFacts, traits: Traits): void {
  if (traits.kind !== entry.traits.kind) return;
  entry.version = parseInstant(facts.version);
  entry.traits = traits;
}

function advance(row: SocketRow, facts: SocketFacts, traits: Traits): void {
  if (traits.kind !== row.traits.kind) row.enterKind(enteredMs(facts, traits));
  row.version = parseInstant(facts.version);
  row.traits = traits;
  row.port = facts.port ?? 0;
}

/** When a socket entered the kind that these facts give it, if no earlier version was of that kind. */
function enteredMs(facts: SocketFacts, traits: Traits): number {
  // An unused socket has been nothing else since it was opened, however late its first version comes.
  return traits.kind === 'unused' && facts.openedMs.status === 'measured' ? facts.openedMs.value : facts.changedMs;
}

/** Seeded when watching began, and unchanged since: its first version is its birth, or what it showed of its past. */
function existedFromStart(facts: SocketFacts, birth: Instant, version: Instant, watchedSinceMs: number): boolean {
  return facts.origin === 'seeded' && instantToMs(birth) <= watchedSinceMs && compareInstants(version, birth) <= 0;
}

function observe(row: SocketRow, { held, atMs, beforeMs }: Observation, sets: HolderSets): void {
  const { owner, kind } = row.traits;
  const holders = sets.of(held.holders);
  const shown = exampleHolder(holders, owner);
  const descriptor = held.holders.find(({ process }) => process === shown);
  row.hold(holders, descriptor?.fd ?? -1, Number(descriptor?.inode ?? 0));
  // What has moved since the pass before has moved in this kind when that pass saw the socket in it.
  const isAgeing = isAgedByIdleness(kind) && row.sinceMs <= beforeMs;
  row.move(held.bytesMoved, isAgeing ? atMs : null);
}

/** Gives equal sets of holders one array; lives as long as one walk is taken in. */
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
