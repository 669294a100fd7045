/** What the ledger tells of one socket, however it keeps it. */
import type { Instant } from './identity.ts';
import { classify, errnoOfKind, isWasteful, SOCKET_KINDS } from './kinds.ts';
import { pathKey } from './path-refs.ts';
import type { Known, PathRef, ProcessId, SocketFacts, SocketKind } from './types.ts';

/** Facts that many sockets have in common, shared between them. */
export interface Traits {
  kind: SocketKind;
  owner: Known<ProcessId>;
  errno: string | null;
  openPath: PathRef;
  bindPath: PathRef | null;
  netns: number;
  family: 4 | 6;
}

/** A socket that lives, or that its exiting process held. */
export interface SocketEntry {
  /** hexadecimal; with the birth: its identity */
  readonly address: string;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
  readonly traits: Traits;
  /** when it entered its kind, CLOCK_MONOTONIC ms */
  readonly sinceMs: number;
  /** 0 for none */
  readonly port: number;
  /** existed in its kind when watching began, so it is no growth */
  readonly fromStart: boolean;
  /** null while it lives; else its exiting process held it until then */
  readonly endedMs: number | null;
  /** processes with a descriptor for it; empty: none has one; null: not confirmed yet */
  readonly holders: readonly ProcessId[] | null;
  /** one descriptor as an example, that of exampleHolder(); -1 while none was seen */
  readonly fd: number;
  readonly inode: number;
  /** when bytes last moved, null while none were seen to; only for kinds whose leak age is counted without traffic */
  readonly movedMs: number | null;
}

export function birthOf({ birthSeconds, birthNanoseconds }: SocketEntry): Instant {
  return { seconds: birthSeconds, nanoseconds: birthNanoseconds };
}

/** Of those that hold a socket, the one whose descriptor is shown: its owner where it has one. */
export function exampleHolder(holders: readonly ProcessId[] | null, owner: Known<ProcessId>): ProcessId | null {
  if (owner.status === 'measured' && holders?.includes(owner.value)) return owner.value;
  return holders?.[0] ?? null;
}

/** The kind that a report shows: what no descriptor holds is not the program's leak, whatever its state. */
export function shownKind(entry: SocketEntry): SocketKind {
  const abandoned = entry.endedMs === null && entry.holders?.length === 0 && isWasteful(entry.traits.kind);
  return abandoned ? 'released' : entry.traits.kind;
}

export interface KindCount {
  kind: SocketKind;
  count: number;
}

/** How many sockets there are of each kind, in parts. */
export function kindsOf(entries: Iterable<SocketEntry>): KindCount[] {
  const counts: KindCount[] = [];
  const add = (kind: SocketKind, count: number): void => void counts.push({ kind, count });
  // Neighbours are mostly of one kind: they are counted together.
  let last: SocketKind = 'unused';
  let alike = 0;
  for (const entry of entries) {
    const kind = shownKind(entry);
    if (kind !== last) {
      add(last, alike);
      last = kind;
      alike = 0;
    }
    alike += 1;
  }
  add(last, alike);
  return counts;
}

/** The sums of counts by kind; kinds without any are left out. */
export function countByKind(parts: Iterable<KindCount>): KindCount[] {
  const counts = new Map<SocketKind, number>();
  for (const { kind, count } of parts) counts.set(kind, (counts.get(kind) ?? 0) + count);
  return SOCKET_KINDS.map((kind) => ({ kind, count: counts.get(kind) ?? 0 })).filter(({ count }) => count > 0);
}

/** How long it has been in its kind, ms; of an ended one, how long it had been. */
export function ageOf(entry: SocketEntry, nowMs: number): number {
  return Math.max(0, (entry.endedMs ?? nowMs) - entry.sinceMs);
}

/** How long it has been in its kind without any byte moving, ms. */
export function idleAgeOf(entry: SocketEntry, nowMs: number): number {
  const sinceMs = Math.max(entry.sinceMs, entry.movedMs ?? entry.sinceMs);
  return Math.max(0, (entry.endedMs ?? nowMs) - sinceMs);
}

/** Whether the leak age of this kind is counted from the last byte that moved. */
export function isAgedByIdleness(kind: SocketKind): boolean {
  return kind === 'close-wait' || kind === 'disconnected';
}

/** Gives equal traits one object. */
export class TraitsTable {
  readonly #byKey = new Map<string, Traits>();
  /** Forgetting costs only some sharing, and owners come and go for as long as a session lasts. */
  static readonly #MOST = 10_000;
  /** Of late, at a place that their texts give: most are found there, without a key being made. */
  readonly #recent: (Traits | undefined)[] = new Array(PLACES).fill(undefined);

  of(facts: SocketFacts): Traits {
    const kind = classify(facts);
    const errno = errnoOfKind(kind, facts);
    const place = placeOf(facts);
    const recent = this.#recent[place];
    if (recent !== undefined && recent.kind === kind && recent.errno === errno && isAlike(recent, facts)) return recent;
    const { owner, openPath, bindPath, netns, family } = facts;
    const key = `${kind}|${errno}|${family}|${netns}|${knownKey(owner)}|${pathKey(openPath)}|${pathKey(bindPath)}`;
    let traits = this.#byKey.get(key);
    if (traits === undefined) {
      if (this.#byKey.size >= TraitsTable.#MOST) this.#byKey.clear();
      traits = { kind, owner, errno, openPath, bindPath, netns, family };
      this.#byKey.set(key, traits);
    }
    this.#recent[place] = traits;
    return traits;
  }
}

const PLACES = 256;

function placeOf({ owner, openPath, bindPath }: SocketFacts): number {
  const texts =
    lastOf(owner.status === 'measured' ? owner.value : '') + 5 * lastOf(idOf(openPath)) + 25 * lastOf(idOf(bindPath));
  return texts % PLACES;
}

function lastOf(text: string): number {
  return text === '' ? 0 : text.charCodeAt(text.length - 1);
}

function idOf(path: PathRef | null): string {
  return path?.status === 'resolved' ? path.id : '';
}

function isAlike(traits: Traits, { owner, openPath, bindPath, netns, family }: SocketFacts): boolean {
  return (
    traits.netns === netns &&
    traits.family === family &&
    isSameOwner(traits.owner, owner) &&
    isSamePath(traits.openPath, openPath) &&
    isSamePath(traits.bindPath, bindPath)
  );
}

/** False for some that are. */
function isSameOwner(a: Known<ProcessId>, b: Known<ProcessId>): boolean {
  return a.status === 'measured' && b.status === 'measured' && a.value === b.value;
}

/** False for some that are. */
function isSamePath(a: PathRef | null, b: PathRef | null): boolean {
  if (a === null || b === null) return a === b;
  if (a.status === 'resolved' && b.status === 'resolved') return a.id === b.id;
  return a.status === b.status && a.status !== 'unavailable' && a.status !== 'resolved';
}

/** A string that equal owners share and different ones do not. */
export function knownKey(owner: Known<ProcessId>): string {
  return owner.status === 'measured' ? owner.value : `?${owner.reason}`;
}
