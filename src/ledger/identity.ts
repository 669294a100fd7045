/** Reading the identities of sockets: `skAddressHex:birthNs`. */
import type { SocketId } from './types.ts';

/** The kernel's address of a sock, reused after its destruction: two halves of 32 bits, since 64 are no exact number. */
export interface Address {
  high: number;
  low: number;
}

export interface SocketIdentity {
  address: Address;
  /** CLOCK_MONOTONIC */
  birth: Instant;
}

const MOST_HEX_DIGITS = 16;
const MOST_DIGITS = 20;

/** @throws TypeError when `id` is not `address:birth` */
export function parseSocketId(id: SocketId): SocketIdentity {
  const colon = id.indexOf(':');
  const digits = id.length - colon - 1;
  if (colon <= 0 || colon > MOST_HEX_DIGITS || digits < 1 || digits > MOST_DIGITS) throw notAnIdentity(id);
  const address = hexAddress(id, colon);
  if (address === null) throw notAnIdentity(id);
  for (let i = colon + 1; i < id.length; i++) if (!isDigit(id.charCodeAt(i))) throw notAnIdentity(id);
  return { address, birth: instantAt(id, colon + 1) };
}

/** Reads hexadecimal digits; null for what is no address. */
export function parseAddress(text: string): Address | null {
  return text.length > MOST_HEX_DIGITS ? null : hexAddress(text, text.length);
}

function hexAddress(text: string, end: number): Address | null {
  let high = 0;
  let low = 0;
  for (let i = 0; i < end; i++) {
    const digit = hexDigit(text.charCodeAt(i));
    if (digit < 0) return null;
    high = (high << 4) | (low >>> 28);
    low = (low << 4) | digit;
  }
  return { high: high >>> 0, low: low >>> 0 };
}

/** The inverse of parseSocketId, but for zeros that lead. */
export function formatSocketId(address: Address, birth: Instant): SocketId {
  return `${formatAddress(address)}:${formatInstant(birth)}`;
}

/** Hexadecimal. */
export function formatAddress({ high, low }: Address): string {
  return high === 0 ? low.toString(16) : `${high.toString(16)}${low.toString(16).padStart(8, '0')}`;
}

function notAnIdentity(id: SocketId): TypeError {
  return new TypeError(`not a socket identity: ${JSON.stringify(id)}`);
}

/** Below zero for what is none. */
function hexDigit(code: number): number {
  if (isDigit(code)) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

/** A 64-bit count of nanoseconds as two small integers: exact, where Number would round (2^53 ns is 104 days of uptime). */
export interface Instant {
  seconds: number;
  /** below 1e9 */
  nanoseconds: number;
}

/** Reads nanoseconds in decimal. */
export function parseInstant(ns: string): Instant {
  return instantAt(ns, 0);
}

const NANOSECOND_DIGITS = 9;

/** Digit by digit: of millions of them, none makes a text of its own. */
function instantAt(text: string, start: number): Instant {
  const point = Math.max(start, text.length - NANOSECOND_DIGITS);
  return { seconds: numberIn(text, start, point), nanoseconds: numberIn(text, point, text.length) };
}

function numberIn(text: string, start: number, end: number): number {
  let number = 0;
  for (let i = start; i < end; i++) number = 10 * number + (text.charCodeAt(i) - 0x30);
  return number;
}

/** The inverse of parseInstant. */
export function formatInstant({ seconds, nanoseconds }: Instant): string {
  return seconds === 0 ? String(nanoseconds) : `${seconds}${String(nanoseconds).padStart(NANOSECOND_DIGITS, '0')}`;
}

/** Negative, zero or positive, as a sort wants it. */
export function compareInstants(a: Instant, b: Instant): number {
  return a.seconds - b.seconds || a.nanoseconds - b.nanoseconds;
}

/** Rounds by less than a microsecond, which ages can bear. */
export function instantToMs({ seconds, nanoseconds }: Instant): number {
  return (seconds * 1e9 + nanoseconds) / 1e6;
}
