/** Takes a snapshot: a census, and who the processes are that hold what it found. */
import { hostname } from 'node:os';
import { portHoldersOf } from '../accounting/ports.ts';
import type { WantedProcess } from '../kernel/binding.ts';
import { DEFAULT_THRESHOLDS } from '../ledger/thresholds.ts';
import type { SessionFacts, SocketKind } from '../ledger/types.ts';
import { readBootId, readBootTimeMs, readKernelRelease } from '../procfs/boot.ts';
import { readSockstat } from '../procfs/sockstat.ts';
import { readUserNames } from '../procfs/users.ts';
import {
  buildSnapshotReport,
  describeSockets,
  holdersOf,
  type SnapshotInputs,
  selectSockets,
} from '../report/snapshot.ts';
import type { Report, SnapshotSocket } from '../report/types.ts';
import { VERSION } from '../version.ts';
import { inputOf, readCensus } from './census.ts';
import { monotonicMs } from './clock.ts';
import { ProcessDirectory } from './processes.ts';

export interface SnapshotOptions {
  /** sockets that these hold; none: of every process, and of no process */
  targets: readonly WantedProcess[];
  /** null: all */
  kinds: readonly SocketKind[] | null;
  hideArguments: boolean;
  /** most sockets that the report describes one by one */
  most: number;
}

export interface Snapshot {
  report: Report;
  /** every socket that is shown, described when it is asked for */
  sockets: Iterable<SnapshotSocket>;
}

/** @throws KernelError when the kernel refuses the programs of the census */
export function takeSnapshot({ targets, kinds, hideArguments, most }: SnapshotOptions): Snapshot {
  const bootId = readBootId();
  if (bootId.status === 'unavailable') throw new Error(`no boot id, which process identities need: ${bootId.reason}`);
  const census = readCensus(bootId.value);
  const sockstat = readSockstat();
  const session = sessionFacts(bootId.value, targets);
  using directory = new ProcessDirectory({ bootId: bootId.value, bootTimeMs: readBootTimeMs() }, hideArguments);
  const holders = new Map([...holdersOf(selectSockets(census, session)), ...portHoldersOf(census)]);
  const inputs: SnapshotInputs = {
    session,
    census,
    input: inputOf(census),
    sockstat,
    processes: [...holders].flatMap(([process, pid]) => directory.stranger(process, pid, null) ?? []),
    kinds,
    userNames: readUserNames(),
    most,
  };
  return { report: buildSnapshotReport(inputs), sockets: describeSockets(inputs) };
}

function sessionFacts(bootId: string, targets: readonly WantedProcess[]): SessionFacts {
  const kernel = readKernelRelease();
  return {
    tool: { name: 'socktrace', version: VERSION },
    host: {
      hostname: hostname(),
      bootId,
      kernel: kernel.status === 'measured' ? kernel.value : 'unknown',
      hooks: { set: 'none', refused: [], blindSpots: [] },
    },
    target: {
      pids: targets.map(({ pid }) => pid),
      processes: targets.map(({ pid, startTicks }) => `${bootId}:${pid}:${startTicks}`),
      follow: false,
    },
    thresholds: { ...DEFAULT_THRESHOLDS, minAgeMs: 0 },
    clock: { monotonicMs: monotonicMs(), wallMs: Date.now() },
  };
}
