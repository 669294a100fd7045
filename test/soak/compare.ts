// While the programs stand still: what the session holds against what the kernel says by other ways, and the programs.
import { isWasteful } from '../../src/ledger/kinds.ts';
import { heldTcpSockets, sockstat, ssStates } from '../host/oracle.ts';
import type { Churner, ModelSocket } from './churner.ts';
import type { CensusRow, Seen } from './watcher.ts';

/** As `ss` writes them. */
const SS_STATES: Record<string, string> = {
  ESTABLISHED: 'ESTAB',
  FIN_WAIT2: 'FIN-WAIT-2',
  CLOSE_WAIT: 'CLOSE-WAIT',
  LISTEN: 'LISTEN',
};

/** Each line is one difference; none is what is wanted. */
export type Differences = string[];

/** What the programs say, by their own system calls. */
export interface Truth {
  sockets: Map<number, ModelSocket>;
  opened: number;
  accepted: number;
  heldAtExit: number;
  failures: Record<string, number>;
}

export async function truthOf(churners: readonly Churner[]): Promise<Truth> {
  const sockets = new Map<number, ModelSocket>();
  for (const some of await Promise.all(churners.map((one) => one.standStill())))
    for (const [inode, socket] of some) sockets.set(inode, socket);
  const sum = (of: (one: Churner) => number): number => churners.reduce((all, one) => all + of(one), 0);
  const failures: Record<string, number> = {};
  for (const { done } of churners)
    for (const [what, count] of done.failures) failures[what] = (failures[what] ?? 0) + count;
  return {
    sockets,
    opened: sum(({ done }) => done.opened),
    accepted: sum(({ done }) => done.accepted),
    heldAtExit: sum(({ done }) => done.heldAtExit),
    failures,
  };
}

/** The suspects, one by one, with who holds them; and every count. */
export function ledgerAgainstTruth(seen: Seen, truth: Truth, census: readonly CensusRow[]): Differences {
  const closed = new Set(census.filter(({ state }) => state === 'CLOSE').map(({ inode }) => Number(inode)));
  const wanted = [...truth.sockets]
    .filter(([, { kind }]) => isWasteful(kind))
    .map(([inode, { kind, holders, forsaken }]) => {
      const now = forsaken && closed.has(inode) ? 'disconnected' : kind;
      return `${inode} ${now} held by ${numbers(holders)}`;
    });
  const had = seen.sockets
    .filter(({ kind }) => kind !== 'released')
    .map(({ inode, kind, holders }) => `${inode} ${kind} held by ${holders === null ? '?' : numbers(holders)}`);
  // The inode of what nobody holds may never have been seen.
  const inFlight = [...truth.sockets.values()].filter(({ kind }) => kind === 'released').length;
  // A connection that waits to be accepted is nobody's yet.
  const held = census.filter((row) => row.class !== 'unaccepted' && row.class !== 'unaccepted-reset').length;
  return [
    ...sets('suspect', wanted, had).map((line) => line + statesOf(line, census)),
    ...same('in flight', inFlight, seen.sockets.filter(({ kind }) => kind === 'released').length),
    ...same('opened', truth.opened, seen.tracked?.opened),
    ...same('accepted', truth.accepted, seen.tracked?.accepted),
    ...same('preexisting', 0, seen.tracked?.preexisting),
    ...same('arrived', 0, seen.tracked?.arrived),
    ...same('held (census)', held, seen.held),
    ...same('held at exit', truth.heldAtExit, seen.heldAtExit),
    ...sets('failure', entries(truth.failures), entries(seen.failures)),
  ];
}

/** What the kernel says of the socket that a line is about: which of the two is wrong. */
function statesOf(line: string, census: readonly CensusRow[]): string {
  const inode = Number(/: (\d+) /.exec(line)?.[1]);
  return ` (in the kernel: ${census.find((row) => Number(row.inode) === inode)?.state ?? 'none'})`;
}

/** The walk of the kernel's descriptors against /proc/PID/fd, ss and sockstat. */
export async function censusAgainstProc(
  census: readonly CensusRow[],
  churners: readonly Churner[],
): Promise<Differences> {
  const differences: Differences = [];
  for (const pid of churners.flatMap(({ pids }) => pids)) {
    const rows = census.filter(({ holders }) => holders.includes(pid));
    const { all } = await heldTcpSockets(pid);
    differences.push(
      ...sets(
        `/proc/${pid}/fd`,
        all.map(String),
        rows.map(({ inode }) => String(inode)),
      ),
    );
    const states: Record<string, number> = {};
    for (const { state, hashed } of rows) {
      const name = SS_STATES[state] ?? state;
      if (hashed) states[name] = (states[name] ?? 0) + 1;
    }
    differences.push(...sets(`ss of ${pid}`, entries(await ssStates(pid)), entries(states)));
  }
  for (const { puppet } of churners) {
    const { inuse, inuse6 } = await sockstat(puppet.pid);
    const hashed = census.filter((row) => row.netns === puppet.netns && row.hashed);
    const of = (family: number): number => hashed.filter((row) => row.family === family).length;
    differences.push(...same(`sockstat of ${puppet.netns}`, inuse, of(4)));
    differences.push(...same(`sockstat6 of ${puppet.netns}`, inuse6, of(6)));
  }
  return differences;
}

function numbers(list: readonly number[]): string {
  return [...new Set(list)].sort((a, b) => a - b).join(',') || 'nobody';
}

function entries(counts: Readonly<Record<string, number>>): string[] {
  return Object.entries(counts).map(([name, count]) => `${name} ${count}`);
}

function sets(what: string, wanted: readonly string[], had: readonly string[]): Differences {
  const [left, right] = [new Set(wanted), new Set(had)];
  return [
    ...wanted.filter((one) => !right.has(one)).map((one) => `${what} missing: ${one}`),
    ...had.filter((one) => !left.has(one)).map((one) => `${what} that is none: ${one}`),
    ...(had.length === right.size ? [] : [`${what}: ${had.length - right.size} are there twice`]),
  ];
}

function same(what: string, wanted: number, had: number | undefined): Differences {
  return wanted === had ? [] : [`${what}: ${wanted}, and not ${had}`];
}
