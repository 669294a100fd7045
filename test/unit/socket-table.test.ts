import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressRows } from '../../src/ledger/address-rows.ts';
import { countByKind, kindsOf, type Traits } from '../../src/ledger/entry.ts';
import { type Address, formatAddress } from '../../src/ledger/identity.ts';
import { type NewSocket, SocketTable } from '../../src/ledger/socket-table.ts';
import { groupSums, type SuspectGroup, sumSuspects } from '../../src/ledger/suspect-sums.ts';
import { groupTallies } from '../../src/ledger/suspects.ts';
import { measured, THRESHOLDS } from './facts.ts';

function addressOf(n: number): Address {
  return { high: 0xffff8880, low: n * 0x40 };
}

/** Everything that is told of a socket, as a plain object. */
interface Told extends Omit<NewSocket, 'address'> {
  address: string;
}

/** What SocketTable does, by a Map of objects. */
class Model {
  readonly #sockets = new Map<string, Told>();
  readonly #bytes = new Map<string, string>();

  put(socket: NewSocket): void {
    const address = formatAddress(socket.address);
    this.#sockets.set(address, { ...socket, address });
    this.#bytes.delete(address);
  }

  delete(address: Address): void {
    this.#sockets.delete(formatAddress(address));
    this.#bytes.delete(formatAddress(address));
  }

  change(address: Address, change: Change): boolean {
    const key = formatAddress(address);
    const socket = this.#sockets.get(key);
    if (socket === undefined) return false;
    if (change.is === 'version') this.#sockets.set(key, { ...socket, version: change.version, port: change.port });
    if (change.is === 'hold')
      this.#sockets.set(key, { ...socket, holders: change.holders, fd: change.fd, inode: change.inode });
    if (change.is === 'kind')
      this.#sockets.set(key, { ...socket, sinceMs: change.sinceMs, fromStart: false, movedMs: null });
    if (change.is === 'move') {
      const before = this.#bytes.get(key);
      this.#bytes.set(key, change.bytes);
      if (before !== undefined && before !== change.bytes && change.atMs !== null)
        this.#sockets.set(key, { ...socket, movedMs: change.atMs });
    }
    return true;
  }

  all(): Told[] {
    return [...this.#sockets.values()];
  }
}

type Change =
  | { is: 'version'; version: NewSocket['version']; port: number }
  | { is: 'hold'; holders: readonly string[]; fd: number; inode: number }
  | { is: 'kind'; sinceMs: number }
  | { is: 'move'; bytes: string; atMs: number | null };

function told(table: SocketTable): Told[] {
  return [...table.entries()].map((row) => ({
    address: row.address,
    birthSeconds: row.birthSeconds,
    birthNanoseconds: row.birthNanoseconds,
    version: row.version,
    traits: row.traits,
    sinceMs: row.sinceMs,
    port: row.port,
    fromStart: row.fromStart,
    holders: row.holders,
    fd: row.fd,
    inode: row.inode,
    movedMs: row.movedMs,
  }));
}

function applyTo(table: SocketTable, address: Address, change: Change): boolean {
  const row = table.get(address);
  if (row === undefined) return false;
  if (change.is === 'version') {
    row.version = change.version;
    row.port = change.port;
  }
  if (change.is === 'hold') row.hold(change.holders, change.fd, change.inode);
  if (change.is === 'kind') row.enterKind(change.sinceMs);
  if (change.is === 'move') row.move(change.bytes, change.atMs);
  return true;
}

const TRAITS: Traits[] = (['unused', 'close-wait'] as const).map((kind) => ({
  kind,
  owner: measured('boot:1:1'),
  errno: null,
  openPath: { status: 'preexisting' },
  bindPath: null,
  netns: 1,
  family: 4,
}));

/** Some that differ in one half only, and more of them than the first capacity. */
const address = fc.oneof(
  fc.nat(200).map(addressOf),
  fc.record({ high: fc.nat(3), low: fc.nat(3) }),
  fc.constantFrom({ high: 0xffffffff, low: 0xffffffff }, { high: 0, low: 0xffffffff }, { high: 0xffffffff, low: 0 }),
);
const seconds = fc.integer({ min: 0, max: 99_999_999_999 });
const nanoseconds = fc.nat(999_999_999);
const instant = fc.record({ seconds, nanoseconds });
const port = fc.nat(65_535);
const bytes = fc.constantFrom('0', '1', '1000000000', '9007199254740992', '9007199254740993', '18446744073709551615');
const holders = fc.uniqueArray(fc.constantFrom('boot:1:1', 'boot:2:1', 'boot:3:1'));
const inode = fc.nat(2 ** 32);
const timeMs = fc.double({ min: 0, max: 1e12, noNaN: true });

const socket = fc
  .record({
    address,
    birth: instant,
    version: instant,
    traits: fc.constantFrom(...TRAITS),
    sinceMs: timeMs,
    port,
    fromStart: fc.boolean(),
    holders: fc.option(holders),
    fd: fc.integer({ min: -1, max: 2 ** 31 }),
    inode,
  })
  .map(
    ({ birth, ...facts }): NewSocket => ({
      ...facts,
      birthSeconds: birth.seconds,
      birthNanoseconds: birth.nanoseconds,
      movedMs: null,
    }),
  );

const change: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ is: fc.constant('version' as const), version: instant, port }),
  fc.record({ is: fc.constant('hold' as const), holders, fd: fc.nat(1_000), inode }),
  fc.record({ is: fc.constant('kind' as const), sinceMs: timeMs }),
  fc.record({ is: fc.constant('move' as const), bytes, atMs: fc.option(timeMs) }),
);

const step = fc.oneof(
  { weight: 3, arbitrary: socket.map((put) => ({ do: 'put' as const, put })) },
  { weight: 2, arbitrary: address.map((at) => ({ do: 'delete' as const, at })) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('change' as const), at: address, change }) },
);

describe('SocketTable', () => {
  it('is a Map of sockets by address, whatever comes, changes and goes', () => {
    const steps = fc.array(step, { maxLength: 800, size: 'max' });
    fc.assert(
      fc.property(steps, (all) => {
        const [table, model] = [new SocketTable(), new Model()];
        for (const one of all) {
          if (one.do === 'put') for (const each of [table, model]) each.put(one.put);
          if (one.do === 'delete') for (const each of [table, model]) each.delete(one.at);
          if (one.do === 'change') expect(applyTo(table, one.at, one.change)).toBe(model.change(one.at, one.change));
        }
        expect(told(table)).toEqual(model.all());
        expect(table.size).toBe(model.all().length);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps those that stay, in their order, while many others come and go', () => {
    const table = new SocketTable();
    const [plain] = fc.sample(socket, 1);
    const put = (n: number): void => table.put({ ...(plain as NewSocket), address: addressOf(n), inode: n });
    const stay = Array.from({ length: 100 }, (_, i) => 7 * i);
    for (const n of stay) put(n);
    for (let n = 1_000_000; n < 1_020_000; n++) {
      put(n);
      if (n >= 1_000_050) table.delete(addressOf(n - 50));
    }
    expect(table.size).toBe(150);
    expect([...table.entries()].slice(0, 100).map(({ inode: kept }) => kept)).toEqual(stay);
    // The rows of those that went have been taken again.
    expect(Math.max(...[...table.entries()].map(({ row }) => row))).toBeLessThan(1_000);
  });
});

const KINDS = ['unused', 'close-wait', 'disconnected', 'established', 'released'] as const;

/** What was kept is what there is. */
function expectSums({ table, nowMs }: { table: SocketTable; nowMs: number }): void {
  const tallies = groupTallies(table.tallySuspects(nowMs, THRESHOLDS.minAgeMs));
  // A report may be of an earlier time than the one before.
  for (const atMs of [nowMs, nowMs - 50_000, nowMs]) {
    const groups = groupSums(sumSuspects(table.entries(), atMs, THRESHOLDS).sums, atMs);
    expect(shown(groupSums(table.suspectSums(atMs, THRESHOLDS), atMs))).toEqual(shown(groups));
    if (atMs === nowMs) expect(counted(tallies)).toEqual(counted(groups));
  }
  expect(countByKind(table.kinds())).toEqual(countByKind(kindsOf(table.entries())));
}

/** All that a finding shows of a group, by what is read of its sockets now. */
function shown(groups: readonly SuspectGroup[]): unknown[] {
  return groups
    .map(({ details, ...group }) => ({
      ...group,
      ports: details.portsInAll,
      holders: [...details.holders].sort(),
      oldest: details.oldest.entries.map(({ address: at, fd, port: of }) => [at, fd, of]),
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Suspects by group, however they are counted. */
function counted(groups: readonly { id: string; count: number; fromStart: number }[]): unknown[] {
  return groups.map(({ id, count, fromStart }) => [id, count, fromStart]).sort();
}

describe('suspects, in parts that are kept', () => {
  const many = 2_000;
  const aged = fc.record({
    kind: fc.constantFrom(...KINDS),
    sinceMs: fc.nat(20_000),
    fromStart: fc.boolean(),
    netns: fc.nat(2),
  });
  const kinds = fc.array(aged, { minLength: 1, maxLength: 20 });
  const act = fc.oneof(
    fc.record({ do: fc.constant('put' as const), n: fc.nat(2 * many), which: fc.nat() }),
    fc.record({ do: fc.constant('delete' as const), n: fc.nat(2 * many) }),
    fc.record({ do: fc.constant('traits' as const), n: fc.nat(many), which: fc.nat() }),
    fc.record({ do: fc.constant('hold' as const), n: fc.nat(many), holders, fd: fc.nat(3) }),
    fc.record({ do: fc.constant('port' as const), n: fc.nat(many), port: fc.nat(3) }),
    fc.record({ do: fc.constant('move' as const), n: fc.nat(1), bytes }),
    fc.record({ do: fc.constant('later' as const), ms: fc.oneof(fc.nat(10_000), fc.constant(100_000)) }),
  );

  type Sort = { kind: (typeof KINDS)[number]; sinceMs: number; fromStart: boolean; netns: number };
  const [plain] = fc.sample(socket, 1) as [NewSocket];

  class Changing {
    readonly table = new SocketTable();
    readonly #sorts: readonly Sort[];
    readonly #traits: readonly Traits[];
    nowMs = 10_000;

    constructor(sorts: readonly Sort[]) {
      this.#sorts = sorts;
      this.#traits = sorts.map(({ kind, netns }) => ({ ...(TRAITS[0] as Traits), kind, netns }));
      for (let n = 0; n < many; n++) this.put(n, n);
    }

    put(n: number, which: number): void {
      const { sinceMs, fromStart } = this.#sorts[which % this.#sorts.length] as Sort;
      const traits = this.#traitsOf(which);
      this.table.put({ ...plain, address: addressOf(n), traits, sinceMs, fromStart, holders: null });
    }

    changeTraits(n: number, which: number): void {
      const row = this.table.get(addressOf(n));
      if (row === undefined) return;
      const traits = this.#traitsOf(which);
      if (traits.kind !== row.traits.kind) row.enterKind(this.nowMs);
      row.traits = traits;
    }

    #traitsOf(which: number): Traits {
      return this.#traits[which % this.#traits.length] as Traits;
    }
  }

  function perform(changing: Changing, one: typeof act extends fc.Arbitrary<infer Act> ? Act : never): void {
    if (one.do === 'later') changing.nowMs += one.ms;
    if (one.do === 'put') changing.put(one.n, one.which);
    if (one.do === 'delete') changing.table.delete(addressOf(one.n));
    if (one.do === 'hold') changing.table.get(addressOf(one.n))?.hold(one.holders, one.fd, 1);
    const row = one.do === 'port' || one.do === 'move' ? changing.table.get(addressOf(one.n)) : undefined;
    if (one.do === 'port' && row !== undefined) row.port = one.port;
    if (one.do === 'move') row?.move(one.bytes, changing.nowMs);
    if (one.do === 'traits') changing.changeTraits(one.n, one.which);
  }

  it('are those of the groups, whatever changes between two times they are asked for', () => {
    fc.assert(
      fc.property(kinds, fc.array(fc.array(act, { maxLength: 20 }), { maxLength: 12 }), (sorts, rounds) => {
        const changing = new Changing(sorts);
        for (const acts of rounds) {
          for (const one of acts) perform(changing, one);
          expectSums(changing);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('are those of the rows as they are packed', () => {
    const sorts = KINDS.map((kind) => ({ kind, sinceMs: 1_000, fromStart: false, netns: 1 }));
    const changing = new Changing(sorts);
    changing.nowMs = 100_000;
    for (let n = many; n < 2_048; n++) changing.put(n, n);
    expectSums(changing);
    changing.table.delete(addressOf(3));
    changing.put(3_000, 3);
    expectSums(changing);
  });

  it('are counted anew for another age', () => {
    const table = new SocketTable();
    for (let n = 0; n < 1_000; n++)
      table.put({
        ...plain,
        address: addressOf(n),
        traits: TRAITS[0] as Traits,
        sinceMs: n,
        holders: null,
      });
    const count = (minAgeMs: number): number =>
      table.tallySuspects(1_000, minAgeMs).reduce((sum, tally) => sum + tally.count, 0);
    expect(count(1)).toBe(1_000);
    expect(count(901)).toBe(100);
  });
});

describe('AddressRows', () => {
  it('tells rows apart by either half of an address', () => {
    const rows = new AddressRows();
    const low = rows.add({ high: 1, low: 2 });
    const high = rows.add({ high: 2, low: 1 });
    expect(rows.find({ high: 1, low: 2 })).toBe(low);
    expect(rows.find({ high: 2, low: 1 })).toBe(high);
    expect(rows.find({ high: 1, low: 1 })).toBe(-1);
    expect(rows.of(high)).toEqual({ high: 2, low: 1 });
  });
});
