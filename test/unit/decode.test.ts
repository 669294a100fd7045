import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress } from '../../src/kernel/address.ts';
import { type DecodedSocket, Decoder } from '../../src/kernel/decode.ts';
import {
  CENSUS_COUNTERS,
  CENSUS_DESCRIPTOR,
  CENSUS_MINISOCK,
  CENSUS_RECORD,
  COUNTERS,
  EVENT_RECORD,
  FAILURE_RECORD,
  HOLDER_RECORD,
  layoutDifferences,
  type NativeLayout,
  PATH_RECORD,
  PROCESS_RECORD,
  type RecordLayout,
  SOCKET_RECORD,
} from '../../src/kernel/layout.ts';
import { record } from './records.ts';

const BOOT = '11111111-2222-3333-4444-555555555555';
const OFF = { status: 'unavailable', reason: 'off' } as const;
const decoder = new Decoder(BOOT, (ref) => (ref === 0n ? OFF : { status: 'resolved', id: String(ref) }));

function native(): NativeLayout {
  return structuredClone({
    records: {
      socket: SOCKET_RECORD,
      holder: HOLDER_RECORD,
      process: PROCESS_RECORD,
      failure: FAILURE_RECORD,
      path: PATH_RECORD,
      event: EVENT_RECORD,
      census: CENSUS_RECORD,
      censusDescriptor: CENSUS_DESCRIPTOR,
      censusMinisock: CENSUS_MINISOCK,
    },
    counters: [...COUNTERS],
    censusCounters: [...CENSUS_COUNTERS],
  }) as unknown as NativeLayout;
}

describe('layout', () => {
  it('agrees with itself', () => {
    expect(layoutDifferences(native())).toEqual([]);
  });

  it('names a record of another size, a moved field, an added one, a missing one, and other counters', () => {
    const other = native();
    (other.records['socket'] as RecordLayout).size = 136;
    Object.assign((other.records['holder'] as RecordLayout).fields, { fd: [24, 4], extra: [60, 4] });
    delete (other.records['process'] as { fields: Record<string, unknown> }).fields['execs'];
    delete other.records['event'];
    other.counters.pop();
    expect(layoutDifferences(other)).toEqual([
      'record "socket" has 136 bytes, not 152',
      'field "holder.fd" is at 24+4, not 28+4',
      'field "holder.extra" is at 60+4, not absent',
      'field "process.execs" is at absent, not 92+4',
      'the addon has no record "event"',
      'the counters differ',
    ]);
  });
});

describe('sockets', () => {
  const bound = {
    sk: 0xffff888012345678n,
    birth_ns: 1_000_000_000n,
    version_ns: 2_500_000_000n,
    owner_start_ns: 70_000_000n,
    owner_tgid: 42n,
    netns: 4026531840n,
    uid: 1000n,
    local_port: 50001n,
    family: 2n,
    state: 7n,
    ever_bound: 1n,
    local_address: Uint8Array.of(127, 0, 0, 1),
  };

  it('a traced one', () => {
    const [socket] = decoder.sockets(record(SOCKET_RECORD, bound), SOCKET_RECORD.size);
    expect(socket).toMatchObject({ destroyed: false, ownerPid: 42 });
    expect(socket?.facts).toEqual({
      id: 'ffff888012345678:1000000000',
      origin: 'traced',
      accepted: { status: 'measured', value: false },
      owner: { status: 'measured', value: `${BOOT}:42:7` },
      openedMs: { status: 'measured', value: 1000 },
      changedMs: 2500,
      version: '2500000000',
      family: 4,
      state: 'CLOSE',
      port: 50001,
      ever: { status: 'measured', value: { bound: true, connecting: false, established: false, listening: false } },
      bindErrno: null,
      connectErrno: null,
      socketErrno: null,
      local: { address: '127.0.0.1', port: 50001 },
      peer: null,
      released: false,
      releaseState: null,
      heldAtExit: false,
      netns: 4026531840,
      uid: 1000,
      openPath: OFF,
      bindPath: OFF,
    });
  });

  it('its call paths: of one that existed before, of one that was never bound, and known later', () => {
    const decode = (fields: Record<string, bigint>): DecodedSocket => {
      const [socket] = decoder.sockets(record(SOCKET_RECORD, { ...bound, ...fields }), SOCKET_RECORD.size);
      return socket as DecodedSocket;
    };
    const paths = ({ facts: { openPath, bindPath } }: DecodedSocket) => [openPath, bindPath];
    expect(paths(decode({ open_path: 300n, bind_path: 301n }))).toEqual([
      { status: 'resolved', id: '300' },
      { status: 'resolved', id: '301' },
    ]);
    expect(paths(decode({ open_path: 300n, ever_bound: 0n }))).toEqual([{ status: 'resolved', id: '300' }, null]);
    expect(paths(decode({ ever_bound: 0n, bind_errno: 98n }))).toEqual([OFF, OFF]);
    expect(paths(decode({ seeded: 1n }))).toEqual([{ status: 'preexisting' }, { status: 'preexisting' }]);
    const socket = decode({ seeded: 1n, bind_path: 301n });
    expect(paths(decoder.withPaths(socket))).toEqual([{ status: 'preexisting' }, { status: 'resolved', id: '301' }]);
  });

  it('one seeded in CLOSE knows neither its age nor its history', () => {
    const [socket] = decoder.sockets(
      record(SOCKET_RECORD, { ...bound, seeded: 1n, history_unknown: 1n }),
      SOCKET_RECORD.size,
    );
    expect(socket?.facts).toMatchObject({
      origin: 'seeded',
      openedMs: { status: 'unavailable' },
      ever: { status: 'unavailable' },
      accepted: { status: 'unavailable' },
    });
  });

  it('errnos by name, the end, and what was left at exit', () => {
    const [socket] = decoder.sockets(
      record(SOCKET_RECORD, {
        ...bound,
        bind_errno: 98n,
        connect_errno: 111n,
        destroyed: 1n,
        release_state: 8n,
        held_at_exit: 1n,
      }),
      SOCKET_RECORD.size,
    );
    expect(socket?.destroyed).toBe(true);
    expect(socket?.facts).toMatchObject({
      bindErrno: 'EADDRINUSE',
      connectErrno: 'ECONNREFUSED',
      releaseState: 'CLOSE_WAIT',
      heldAtExit: true,
    });
  });

  it('refuses a state the kernel does not have, and a torn record', () => {
    expect(() => decoder.sockets(record(SOCKET_RECORD, { ...bound, state: 99n }), SOCKET_RECORD.size)).toThrow(
      /TCP state/,
    );
    expect(() => decoder.sockets(new Uint8Array(200), 119)).toThrow(/whole number of records/);
  });
});

describe('other records', () => {
  it('a failure carries its cause', () => {
    const bytes = record(FAILURE_RECORD, {
      start_ns: 10_000_000n,
      tgid: 7n,
      error: 98n,
      operation: 2n,
      detail: 1n,
      count: 12n,
      comm: new TextEncoder().encode('ftp'),
    });
    expect(decoder.failures(bytes, bytes.length)[0]?.facts).toMatchObject({
      process: `${BOOT}:7:1`,
      comm: 'ftp',
      operation: 'bind',
      errno: 'EADDRINUSE',
      cause: 'no-free-port',
      count: 12,
    });
  });

  it('bytes moved are those received, those read and those acknowledged', () => {
    const bytes = record(HOLDER_RECORD, {
      sk: 1n,
      birth_ns: 2n,
      tgid: 7n,
      fd: 9n,
      bytes_received: 5n,
      bytes_acked: 6n,
    });
    expect(decoder.holders(bytes, bytes.length)[0]).toMatchObject({
      socket: { id: '1:2', bytesMoved: '16' },
      holder: { fd: 9 },
    });
  });

  it('a comm without an end, and one of no encoding at all', () => {
    const full = record(PROCESS_RECORD, { comm: new Uint8Array(16).fill(0x61) });
    expect(decoder.processes(full, full.length)[0]?.comm).toBe('a'.repeat(16));
    const wild = record(PROCESS_RECORD, { comm: Uint8Array.of(0xff, 0x1b, 0x5b, 0) });
    expect(decoder.processes(wild, wild.length)[0]?.comm).toBe('\ufffd\x1b[');
  });

  it('any bytes either decode or are refused', () => {
    const all: readonly (readonly [RecordLayout, (bytes: Uint8Array, size: number) => unknown[]])[] = [
      [SOCKET_RECORD, (bytes, size) => decoder.sockets(bytes, size)],
      [HOLDER_RECORD, (bytes, size) => decoder.holders(bytes, size)],
      [PROCESS_RECORD, (bytes, size) => decoder.processes(bytes, size)],
      [FAILURE_RECORD, (bytes, size) => decoder.failures(bytes, size)],
      [EVENT_RECORD, (bytes, size) => decoder.events(bytes, size)],
    ];
    for (const [layout, decode] of all) {
      fc.assert(
        fc.property(fc.uint8Array({ minLength: layout.size, maxLength: layout.size }), (bytes) => {
          try {
            expect(decode(bytes, layout.size)).toHaveLength(1);
          } catch (error) {
            expect((error as Error).message).toMatch(/unknown (TCP state|failed operation|failure detail|event)/);
          }
        }),
      );
    }
  });
});

describe('addresses', () => {
  it('v4, v4-mapped', () => {
    expect(formatAddress(Uint8Array.of(192, 0, 2, 7, 9, 9), 4)).toBe('192.0.2.7');
    const mapped = new Uint8Array(16);
    mapped.set([0xff, 0xff, 127, 0, 0, 1], 10);
    expect(formatAddress(mapped, 6)).toBe('::ffff:127.0.0.1');
  });

  it('v6 as the URL standard writes it', () => {
    const word = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
    fc.assert(
      fc.property(fc.array(word, { minLength: 8, maxLength: 8 }), (words) => {
        fc.pre(!(words.slice(0, 5).every((w) => w === 0) && words[5] === 0xffff));
        const bytes = Uint8Array.from(words.flatMap((w) => [w >> 8, w & 0xff]));
        const url = new URL(`http://[${words.map((w) => w.toString(16)).join(':')}]/`);
        expect(`[${formatAddress(bytes, 6)}]`).toBe(url.hostname);
      }),
    );
  });
});
