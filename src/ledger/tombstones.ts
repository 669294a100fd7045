/** Remembers which births at a socket address are over. */
import { compareDecimal } from './identity.ts';

/**
 * An `ended` record may overtake a row of the same socket that a sweep had already read: without a tombstone that
 * late row would bring the socket back to life. One tombstone an address is enough, as births at an address only
 * grow. The overtaking lasts a sweep at most, so the newest 65,536 addresses or more (up to 14 MB) are kept: to slip
 * through, that many other sockets must end within one sweep, and then the next complete walk of descriptors shows
 * the revived row as `released`, which is never a leak.
 */
export class Tombstones {
  // Forgetting one at a time would have a Map walk over all that it has forgotten before.
  #latest = new Map<string, string>();
  #earlier = new Map<string, string>();
  readonly #most: number;

  constructor(most = 65_536) {
    this.#most = most;
  }

  /** Buries this birth at `address` and all before it. */
  bury(address: string, birthNs: string): void {
    const buried = this.#find(address);
    this.#latest.set(address, buried !== undefined && compareDecimal(buried, birthNs) > 0 ? buried : birthNs);
    if (this.#latest.size < this.#most) return;
    this.#earlier = this.#latest;
    this.#latest = new Map();
  }

  isBuried(address: string, birthNs: string): boolean {
    const buried = this.#find(address);
    return buried !== undefined && compareDecimal(birthNs, buried) <= 0;
  }

  #find(address: string): string | undefined {
    return this.#latest.get(address) ?? this.#earlier.get(address);
  }
}
