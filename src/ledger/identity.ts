/** Reading the identities of sockets: `skAddressHex:birthNs`. */
import type { SocketId } from './types.ts';

export interface SocketIdentity {
  /** the kernel's address of the sock, hexadecimal: reused after its destruction */
  address: string;
  /** CLOCK_MONOTONIC, decimal ns */
  birthNs: string;
}

/** @throws TypeError when `id` is not `address:birth` */
export function parseSocketId(id: SocketId): SocketIdentity {
  const colon = id.indexOf(':');
  if (colon <= 0 || colon === id.length - 1) throw new TypeError(`not a socket identity: ${JSON.stringify(id)}`);
  return { address: id.slice(0, colon), birthNs: id.slice(colon + 1) };
}

/**
 * Orders 64-bit numbers written in decimal without leading zeros: negative, zero or positive, as a sort wants it.
 * Exact where Number would round (2^53 ns is 104 days of uptime), and without a BigInt for each row.
 */
export function compareDecimal(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A 64-bit count of nanoseconds as two small integers: a quarter of the memory of its decimal text, and exact. */
export interface Instant {
  seconds: number;
  /** below 1e9 */
  nanoseconds: number;
}

/** Reads nanoseconds in decimal. */
export function parseInstant(ns: string): Instant {
  return { seconds: Number(ns.slice(0, -9)), nanoseconds: Number(ns.slice(-9)) };
}

/** The inverse of parseInstant. */
export function formatInstant({ seconds, nanoseconds }: Instant): string {
  return seconds === 0 ? String(nanoseconds) : `${seconds}${String(nanoseconds).padStart(9, '0')}`;
}

/** Negative, zero or positive, as a sort wants it. */
export function compareInstants(a: Instant, b: Instant): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}

/** Nanoseconds in decimal to milliseconds; rounds by less than a microsecond, which ages can bear. */
export function nsToMs(ns: string): number {
  return Number(ns) / 1e6;
}
