// Records of a census, byte by byte, as sockets with their holders.
import { describe, expect, it } from 'vitest';
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
  return decodeCensusSockets(records(CENSUS_RECORD, ...rows), records(CENSUS_DESCRIPTOR, ...descriptors), BOOT);
}

describe('a socket of a census', () => {
  it('has the facts of its record', () => {
    const bytes = records(
      CENSUS_RECORD,
      row({ ways: 6, flags: 3, via_sk: SK + 64n, error: 104, local_port: 80, peer_port: 50_000, uid: 7, netns: 9 }),
    );
    bytes.set([127, 0, 0, 1], CENSUS_RECORD.fields.local_address[0]);
    expect(decodeCensusSockets(bytes, new Uint8Array(), BOOT)).toMatchObject([
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
