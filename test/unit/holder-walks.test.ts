import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DecodedHolder, Decoder } from '../../src/kernel/decode.ts';
import { HolderWalks } from '../../src/kernel/holder-walks.ts';
import { HOLDER_RECORD } from '../../src/kernel/layout.ts';
import { record } from './records.ts';

interface Descriptor {
  tgid: number;
  fd: number;
  sk: number;
  birth: number;
  moved: number;
}

const decoder = new Decoder('boot', () => ({ status: 'preexisting' }));

function bytesOf(descriptors: readonly Descriptor[]): Uint8Array {
  const bytes = new Uint8Array(descriptors.length * HOLDER_RECORD.size);
  for (const [i, { tgid, fd, sk, birth, moved }] of descriptors.entries())
    bytes.set(
      record(HOLDER_RECORD, {
        // Addresses that differ in one half only.
        sk: (BigInt(sk >> 1) << 32n) | BigInt(sk & 1),
        birth_ns: BigInt(birth),
        tgid: BigInt(tgid),
        fd: BigInt(fd),
        bytes_acked: BigInt(moved),
      }),
      i * HOLDER_RECORD.size,
    );
  return bytes;
}

/** What is held, as a program makes it up that is told of changes only. */
class Held {
  readonly sockets = new Map<string, string[]>();
  readonly #walks = new HolderWalks();

  /** @returns identities of the sockets that were told again */
  walk(descriptors: readonly Descriptor[], complete = true, part = 3): string[] {
    for (let i = 0; i < descriptors.length; i += part) {
      const bytes = bytesOf(descriptors.slice(i, i + part));
      this.#walks.take(bytes, bytes.length);
    }
    const holders: DecodedHolder[] = [];
    const gone = this.#walks.end(complete, (records) => holders.push(...decoder.holders(records, records.length)));
    const told = grouped(holders);
    for (const [id, of] of told) this.sockets.set(id, of);
    if (!complete) expect(gone).toEqual([]);
    for (const id of gone) {
      expect(told.has(id)).toBe(false);
      this.sockets.delete(id);
    }
    return [...told.keys()];
  }
}

function grouped(holders: readonly DecodedHolder[]): Map<string, string[]> {
  const sockets = new Map<string, string[]>();
  for (const { socket, holder } of holders) {
    const all = sockets.get(socket.id) ?? [];
    sockets.set(socket.id, [...all, `${holder.pid} ${holder.fd} ${socket.bytesMoved}`].sort());
  }
  return sockets;
}

function stateOf(descriptors: readonly Descriptor[]): Map<string, string[]> {
  const bytes = bytesOf(descriptors);
  return grouped(decoder.holders(bytes, bytes.length));
}

function many(count: number): Descriptor[] {
  return Array.from({ length: count }, (_, i) => ({ tgid: 7, fd: i, sk: i, birth: 1, moved: 0 }));
}

const descriptor = fc.record({
  tgid: fc.integer({ min: 1, max: 4 }),
  fd: fc.nat(6),
  sk: fc.nat(5),
  birth: fc.integer({ min: 1, max: 2 }),
  moved: fc.nat(1),
});

/** In the order of a walk, and in any other: threads that share no descriptors come late. */
const walk = fc
  .tuple(fc.uniqueArray(descriptor, { selector: ({ tgid, fd }) => 100 * tgid + fd, maxLength: 12 }), fc.boolean())
  .map(([all, inOrder]) => (inOrder ? all.toSorted((a, b) => a.tgid - b.tgid || a.fd - b.fd) : all));

describe('walks of descriptors', () => {
  it('one that is like the one before tells nothing', () => {
    const held = new Held();
    expect(held.walk(many(50))).toHaveLength(50);
    expect(held.walk(many(50))).toEqual([]);
  });

  it('tell of what has changed alone, and of all its holders', () => {
    const held = new Held();
    const before = [...many(50), { tgid: 9, fd: 3, sk: 20, birth: 1, moved: 0 }];
    held.walk(before);
    const without = before.filter(({ fd }) => fd !== 10);
    expect(held.walk(without)).toEqual([]);
    expect(held.sockets).toEqual(stateOf(without));
    const closed = without.filter(({ tgid, fd }) => tgid !== 7 || fd !== 20);
    expect(held.walk(closed)).toHaveLength(1);
    expect(held.sockets).toEqual(stateOf(closed));
    const opened = [{ tgid: 2, fd: 0, sk: 5, birth: 1, moved: 0 }, ...closed];
    expect(held.walk(opened)).toHaveLength(1);
    expect(held.sockets).toEqual(stateOf(opened));
  });

  it('of thousands are compared as far as they came', () => {
    const held = new Held();
    const all = many(3_000);
    expect(held.walk(all, true, 700)).toHaveLength(3_000);
    expect(held.walk(all.slice(0, 1_500), false, 700)).toEqual([]);
    expect(held.sockets).toEqual(stateOf(all));
    const changed = all.filter(({ fd }) => fd % 1_024 !== 0);
    held.walk(changed, false, 700);
    held.walk(changed, true, 700);
    expect(held.sockets).toEqual(stateOf(changed));
    expect(held.walk(changed, true, 700)).toEqual([]);
  });

  it('one that broke off leaves what it did not show as it was', () => {
    const held = new Held();
    held.walk(many(50));
    expect(held.walk(many(20), false)).toEqual([]);
    expect(held.sockets).toEqual(stateOf(many(50)));
    expect(held.walk(many(50))).toEqual([]);
    held.walk(many(40));
    expect(held.sockets).toEqual(stateOf(many(40)));
  });

  it('whose descriptor one that broke off saw taken by another socket is gone by the next whole walk', () => {
    const held = new Held();
    held.walk([{ tgid: 7, fd: 3, sk: 1, birth: 1, moved: 0 }]);
    const taken = [{ tgid: 7, fd: 3, sk: 2, birth: 1, moved: 0 }];
    held.walk(taken, false);
    held.walk(taken);
    expect(held.sockets).toEqual(stateOf(taken));
  });

  it('what was told is what a whole walk shows, whatever came before it', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(walk, fc.boolean()), { maxLength: 8 }), (walks) => {
        const held = new Held();
        for (const [descriptors, complete] of walks) {
          held.walk(descriptors, complete);
          if (complete) expect(held.sockets).toEqual(stateOf(descriptors));
        }
      }),
    );
  });
});
