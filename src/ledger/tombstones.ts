/** Remembers which births at a socket address are over. */
import { AddressRows } from './address-rows.ts';
import { type Address, compareInstants, type Instant, type SocketIdentity } from './identity.ts';

/**
 * An `ended` record may overtake a row of the same socket that a sweep had already read: without a tombstone that
 * late row would bring the socket back to life. One tombstone an address is enough, as births at an address only
 * grow. The overtaking lasts a sweep at most, so the newest 65,536 addresses or more (up to 4 MB) are kept: to slip
 * through, that many other sockets must end within one sweep, and then the next complete walk of descriptors shows
 * the revived row as `released`, which is never a leak.
 */
export class Tombstones {
  // Forgetting one at a time would have to remember which is the oldest.
  #latest: Generation;
  #earlier: Generation;
  readonly #most: number;

  constructor(most = 65_536) {
    this.#most = most;
    this.#latest = new Generation(most);
    this.#earlier = new Generation(most);
  }

  /** Buries this birth at its address and all before it. */
  bury({ address, birth }: SocketIdentity): void {
    const buried = this.#find(address);
    this.#latest.set(address, buried !== undefined && compareInstants(buried, birth) > 0 ? buried : birth);
    if (this.#latest.size < this.#most) return;
    this.#earlier = this.#latest;
    this.#latest = new Generation(this.#most);
  }

  isBuried({ address, birth }: SocketIdentity): boolean {
    const buried = this.#find(address);
    return buried !== undefined && compareInstants(birth, buried) <= 0;
  }

  #find(address: Address): Instant | undefined {
    return this.#latest.get(address) ?? this.#earlier.get(address);
  }
}

/** The last birth at each of some addresses. */
class Generation {
  readonly #rows = new AddressRows();
  readonly #seconds: Float64Array;
  readonly #nanoseconds: Uint32Array;

  constructor(most: number) {
    this.#seconds = new Float64Array(most);
    this.#nanoseconds = new Uint32Array(most);
  }

  get size(): number {
    return this.#rows.size;
  }

  get(address: Address): Instant | undefined {
    const row = this.#rows.find(address);
    if (row < 0) return undefined;
    return { seconds: this.#seconds[row] as number, nanoseconds: this.#nanoseconds[row] as number };
  }

  set(address: Address, { seconds, nanoseconds }: Instant): void {
    let row = this.#rows.find(address);
    if (row < 0) {
      // Nothing is ever removed: no row moves.
      this.#rows.makeRoom();
      row = this.#rows.add(address);
    }
    this.#seconds[row] = seconds;
    this.#nanoseconds[row] = nanoseconds;
  }
}
