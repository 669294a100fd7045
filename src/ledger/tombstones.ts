/** Remembers which births at a socket address are over. */
import { compareDecimal } from './identity.ts';

/**
 * An `ended` record may overtake a row of the same socket that a sweep had already read: without a tombstone that
 * late row would bring the socket back to life. One tombstone an address is enough, as births at an address only
 * grow. The overtaking lasts a sweep at most, so the newest 65,536 addresses (about 7 MB) are kept: to slip
 * through, that many other sockets must end within one sweep, and then the next complete walk of descriptors shows
 * the revived row as `released`, which is never a leak.
 */
export class Tombstones {
  readonly #birthByAddress = new Map<string, string>();
  readonly #most: number;

  constructor(most = 65_536) {
    this.#most = most;
  }

  /** Buries this birth at `address` and all before it. */
  bury(address: string, birthNs: string): void {
    const buried = this.#birthByAddress.get(address);
    const latest = buried !== undefined && compareDecimal(buried, birthNs) > 0 ? buried : birthNs;
    // A Map iterates in order of insertion: inserting again makes this address the last to be forgotten.
    this.#birthByAddress.delete(address);
    this.#birthByAddress.set(address, latest);
    if (this.#birthByAddress.size > this.#most) {
      const oldest = this.#birthByAddress.keys().next();
      if (!oldest.done) this.#birthByAddress.delete(oldest.value);
    }
  }

  isBuried(address: string, birthNs: string): boolean {
    const buried = this.#birthByAddress.get(address);
    return buried !== undefined && compareDecimal(birthNs, buried) <= 0;
  }
}
