/** Looks up in /proc, once each, who the processes are that the kernel side names. */
import { ArgumentReader } from '../kernel/binding.ts';
import type { TracedProcess } from '../kernel/decode.ts';
import { isOutside, OUTSIDE_REASON, pidsFrom } from '../ledger/outside.ts';
import { UNKNOWN_COMM } from '../ledger/processes.ts';
import type { Known, LedgerInput, ProcessActivity, ProcessFacts, ProcessId } from '../ledger/types.ts';
import { type BootClock, readProcess } from '../procfs/process.ts';

type ProcessInput = Extract<LedgerInput, { type: 'process' }>;

interface Lookup {
  facts: ProcessFacts;
  execs: number;
}

const GONE = {
  status: 'unavailable',
  reason: '/proc does not show it: it had ended, or is hidden (hidepid)',
} as const;

/** How many strangers (holders, failing processes) are looked up before the oldest are forgotten and read again. */
const MOST_KNOWN = 10_000;

export class ProcessDirectory {
  readonly #boot: BootClock;
  readonly #hideArguments: boolean;
  readonly #arguments = new ArgumentReader();
  readonly #known = new Map<ProcessId, Lookup>();

  constructor(boot: BootClock, hideArguments: boolean) {
    this.#boot = boot;
    this.#hideArguments = hideArguments;
  }

  /** A traced process whose row changed. It is read again after an exec: program and arguments are others. */
  traced(row: TracedProcess): ProcessInput {
    const before = this.#known.get(row.id);
    const facts =
      before !== undefined && before.execs === row.execs ? before.facts : this.#read(row.id, row.pid, row.comm);
    const now: ProcessFacts = {
      ...facts,
      comm: row.comm,
      parentPid: row.parentPid === null ? facts.parentPid : pidsFrom(row.parentPid).pid,
      exitedMs: row.exitedMs,
    };
    if (row.exitedMs === null) this.#remember(row.id, { facts: now, execs: row.execs });
    else this.#known.delete(row.id);
    return { type: 'process', facts: now, activity: { status: 'measured', value: row.activity } };
  }

  /** Null when the process is known already. */
  stranger(id: ProcessId, pid: number, comm: string | null): ProcessInput | null {
    if (this.#known.has(id)) return null;
    const facts = this.#read(id, pid, comm);
    this.#remember(id, { facts, execs: 0 });
    const untraced: Known<ProcessActivity> = { status: 'unavailable', reason: 'the process was not traced' };
    return { type: 'process', facts, activity: untraced };
  }

  /** Ends what it reads with. */
  close(): void {
    this.#arguments.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #remember(id: ProcessId, lookup: Lookup): void {
    this.#known.set(id, lookup);
    if (this.#known.size <= MOST_KNOWN) return;
    for (const oldest of this.#known.keys()) {
      this.#known.delete(oldest);
      return;
    }
  }

  #argumentsOf(pid: number): Known<Buffer> {
    if (this.#hideArguments) return { status: 'unavailable', reason: 'left out by --no-cmdline' };
    return this.#arguments.read(pid);
  }

  #read(id: ProcessId, pid: number, comm: string | null): ProcessFacts {
    const outside = isOutside(pid);
    const read = outside ? GONE : readProcess(pid, this.#boot, (of) => this.#argumentsOf(of));
    // A pid that means another process by now says nothing about this one.
    if (read.status === 'measured' && read.value.id === id) return read.value;
    const unread = outside ? ({ status: 'unavailable', reason: OUTSIDE_REASON } as const) : GONE;
    const pids = pidsFrom(pid);
    return {
      id,
      pid: pids.pid,
      parentPid: null,
      comm: comm ?? UNKNOWN_COMM,
      exe: unread,
      cmdline: unread,
      namespacePids: pids.namespacePids ?? unread,
      startTime: unread,
      unit: unread,
      container: unread,
      netns: unread,
      exitedMs: null,
    };
  }
}
