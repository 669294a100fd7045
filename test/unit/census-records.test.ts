// Records of a census, byte by byte, as sockets with their holders.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CensusSocket } from '../../src/accounting/census.ts';
import { classOf } from '../../src/accounting/classes.ts';
import { isForgotten, kindInState } from '../../src/accounting/remembered.ts';
import { decodeCensusSockets } from '../../src/kernel/census.ts';
import { CENSUS_DESCRIPTOR, CENSUS_RECORD, type RecordLayout } from '../../src/kernel/layout.ts';
import { BOOT } from './facts.ts';

const SK = 0xffff_8881_0000_1240n;
const CLOSE = 7;
const LISTEN = 10;

type Values = Record<string, number | bigint>;

function records(layout: RecordLayout, ...all: Values[]): Uint8Array {
  const bytes = new Uint8Array(layout.size * all.length);
  const view = new DataView(bytes.buffer);
  for (const [i, values] of all.entries())
    for (const [field, value] of Object.entries(values)) {
      const [offset, size] = layout.fields[field] ?? [0, 0];
      const at = i * layout.size + offset;
      if (size === 8) view.setBigUint64(at, BigInt(value), true);
      else if (size === 4) view.setUint32(at, Number(value), true);
      else if (size === 2) view.setUint16(at, Number(value), true);
      else view.setUint8(at, Number(value));
    }
  return bytes;
}

function row(values: Values = {}): Values {
  return { sk: SK, inode: 4711, family: 2, state: CLOSE, ways: 1, flags: 6, ...values };
}

function descriptor(values: Values = {}): Values {
  return { sk: SK, inode: 4711, start_ns: 50_000_000_000n, tgid: 1234, fd: 3, ...values };
}

function decoded(rows: Values[], descriptors: Values[] = []) {
  return decodeCensusSockets(records(CENSUS_RECORD, ...rows), records(CENSUS_DESCRIPTOR, ...descriptors), BOOT).sockets;
}

describe('a socket of a census', () => {
  it('has the facts of its record', () => {
    const bytes = records(
      CENSUS_RECORD,
      row({ ways: 6, flags: 3, via_sk: SK + 64n, error: 104, local_port: 80, peer_port: 50_000, uid: 7, netns: 9 }),
    );
    bytes.set([127, 0, 0, 1], CENSUS_RECORD.fields.local_address[0]);
    expect(decodeCensusSockets(bytes, new Uint8Array(), BOOT).sockets).toMatchObject([
      {
        address: 'ffff888100001240',
        inode: '4711',
        ways: ['hash', 'accept-queue'],
        closed: true,
        hasSocket: true,
        hasFile: false,
        via: 'ffff888100001280',
        family: 4,
        state: 'CLOSE',
        port: 80,
        local: { address: '127.0.0.1', port: 80 },
        peer: { address: '0.0.0.0', port: 50_000 },
        netns: 9,
        uid: 7,
        error: 'ECONNRESET',
        activeMs: null,
        wasEstablished: false,
        hasSent: false,
        bytesMoved: '0',
        holders: [],
      },
    ]);
  });

  it('has exact numbers where they are exact in the kernel, however large', () => {
    const [socket] = decoded([
      row({
        inode: 0xffff_ffff_ffff_fff1n,
        active_us: 1_234_567,
        bytes_received: 0xffff_ffff_0000_0001n,
        bytes_acked: 1n,
        flags: 8,
        segments_out: 1,
      }),
    ]);
    expect(socket).toMatchObject({
      inode: '18446744073709551601',
      activeMs: 1_234.567,
      bytesMoved: '18446744069414584322',
      wasEstablished: true,
      hasSent: true,
    });
  });

  it('without inode, port and addresses says so', () => {
    expect(decoded([row({ inode: 0, family: 10, sk: 0x40n })])).toMatchObject([
      { address: '40', inode: null, port: null, local: { address: '::', port: 0 }, via: null, error: null },
    ]);
  });

  it('is the same wherever in memory its record is', () => {
    const bytes = records(CENSUS_RECORD, row({ netns: 9 }));
    const elsewhere = Buffer.alloc(bytes.length + 1).subarray(1);
    elsewhere.set(bytes);
    expect(decodeCensusSockets(elsewhere, new Uint8Array(), BOOT).sockets).toMatchObject([{ inode: '4711', netns: 9 }]);
  });

  it('in a state that no kernel has is a broken record', () => {
    expect(() => decoded([row({ state: 99 })])).toThrow('unknown TCP state: 99');
  });
});

describe('holders', () => {
  const holder = (fd: number, pid = 1234) => ({ process: `${BOOT}:${pid}:5000`, pid, fd });

  it('are found by address, each descriptor once, however often it is shown', () => {
    const other = SK + 0x40n;
    const [first, second] = decoded(
      [row(), row({ sk: other, inode: 4712, state: LISTEN })],
      [
        descriptor(),
        descriptor({ sk: other, inode: 4712, fd: 4 }),
        descriptor({ fd: 5 }),
        descriptor(),
        descriptor({ fd: 5 }),
        descriptor({ tgid: 99 }),
        descriptor({ fd: 5 }),
      ],
    );
    expect(first?.holders).toEqual([holder(3), holder(5), holder(3, 99)]);
    expect(second?.holders).toEqual([holder(4)]);
  });

  it('of an address that has become another socket are not its', () => {
    expect(decoded([row({ inode: 9 })], [descriptor()])[0]?.holders).toEqual([]);
  });

  it('of a socket that has lost its file since are its', () => {
    expect(decoded([row({ inode: 0 })], [descriptor()])[0]?.holders).toEqual([holder(3)]);
  });

  it('of an MPTCP socket are those of its further subflows, by the inode', () => {
    const [first, further] = decoded([row(), row({ sk: SK + 0x40n, ways: 2 })], [descriptor()]);
    expect(first?.holders).toEqual([holder(3)]);
    expect(further?.holders).toEqual([holder(3)]);
  });
});

const few = (...values: number[]) => fc.constantFrom(...values);
const anyRow = fc.record({
  state: few(1, CLOSE, 8, LISTEN),
  family: few(2, 10),
  ways: few(1, 2, 3, 8),
  flags: few(0, 1, 6, 8),
  netns: few(1, 2),
  error: few(0, 104),
  local_port: few(0, 80, 81),
  segments_out: few(0, 1),
  receive_queue: few(0, 1, 2),
  memory: few(0, 4096),
});
/** which socket, by which process, as which descriptor */
const anyDescriptor = fc.tuple(fc.nat(39), fc.nat(2), fc.nat(3));

describe('sockets that are alike', () => {
  it('are all of them, and are counted alike', () => {
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 40 }), fc.array(anyDescriptor), (values, descriptors) => {
        const rows = values.map((changed, i) => row({ ...changed, sk: SK + BigInt(64 * i), inode: 100 + i }));
        const { sockets, alike } = decodeCensusSockets(
          records(CENSUS_RECORD, ...rows),
          records(
            CENSUS_DESCRIPTOR,
            ...descriptors.map(([i, pid, fd]) =>
              descriptor({ sk: SK + BigInt(64 * i), inode: 100 + i, tgid: pid, fd }),
            ),
          ),
          BOOT,
        );
        expect(alike.flatMap((group) => group.sockets).toSorted(byAddress)).toEqual([...sockets].sort(byAddress));
        const counted = (socket: CensusSocket) => ({
          class: classOf(socket),
          kind: kindInState(socket),
          forgotten: isForgotten(socket),
          processes: socket.holders.map(({ process }) => process),
          holdsPort: socket.port !== null,
          traits: [socket.family, socket.state, socket.netns, socket.error],
        });
        for (const { one, sockets } of alike)
          for (const socket of sockets) expect(counted(socket)).toEqual(counted(one));
        const different = new Set(alike.map(({ one }) => JSON.stringify(counted(one))));
        expect(different.size).toBeLessThanOrEqual(alike.length);
      }),
    );
  });

  it('are few, however many there are', () => {
    const rows = Array.from({ length: 5_000 }, (_, i) => row({ sk: SK + BigInt(2_048 * i), inode: 100 + i }));
    const open = rows.flatMap(({ sk = 0, inode = 0 }, i) => [
      descriptor({ sk, inode, fd: i, tgid: i % 2 }),
      // Every tenth is shared by two.
      ...(i % 10 === 0 ? [descriptor({ sk, inode, fd: i, tgid: 7 })] : []),
    ]);
    const { alike } = decodeCensusSockets(records(CENSUS_RECORD, ...rows), records(CENSUS_DESCRIPTOR, ...open), BOOT);
    expect(
      alike.map(({ one, sockets }) => [one.holders.map(({ pid }) => pid).join(), sockets.length]).toSorted(),
    ).toEqual([
      ['0', 2_000],
      ['0,7', 500],
      ['1', 2_500],
    ]);
    for (const { sockets } of alike)
      for (const { address, holders } of sockets)
        expect(BigInt(`0x${address}`)).toBe(SK + BigInt(2_048 * (holders[0]?.fd ?? -1)));
  });
});

function byAddress(a: CensusSocket, b: CensusSocket): number {
  return a.address < b.address ? -1 : 1;
}
