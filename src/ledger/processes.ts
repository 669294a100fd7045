/** What is known of processes, without keeping every short-lived child of a long session. */
import type { Known, ProcessActivity, ProcessFacts, ProcessId } from './types.ts';

/** Shown for a process that was never seen alive. */
export const UNKNOWN_COMM = '?';

export interface KnownProcess {
  facts: ProcessFacts;
  activity: Known<ProcessActivity>;
}

/** Records that name an exited process may still be on their way for this long. */
const KEPT_AFTER_EXIT_MS = 60_000;

/** Below this many, looking for processes to forget is not worth a walk of all sockets. */
const FEW = 1_024;

export class ProcessStore {
  readonly #byId = new Map<ProcessId, KnownProcess>();
  #pruneAbove = FEW;
  /** of those that are forgotten */
  #opened = 0;
  #accepted = 0;
  #hasTraced = false;

  /** Whether any process was traced, be it one that is forgotten by now. */
  get hasTraced(): boolean {
    return this.#hasTraced;
  }

  /** What all traced processes opened and accepted, those that are forgotten included. */
  totals(): { opened: number; accepted: number } {
    let [opened, accepted] = [this.#opened, this.#accepted];
    for (const { activity } of this.#byId.values()) {
      if (activity.status === 'unavailable') continue;
      opened += activity.value.opened;
      accepted += activity.value.accepted;
    }
    return { opened, accepted };
  }

  get(id: ProcessId): KnownProcess | undefined {
    return this.#byId.get(id);
  }

  all(): IterableIterator<KnownProcess> {
    return this.#byId.values();
  }

  /** Newer facts win, except that what was read from /proc stays known after the process is gone. */
  update(facts: ProcessFacts, activity: Known<ProcessActivity>): void {
    if (activity.status === 'measured') this.#hasTraced = true;
    const known = this.#byId.get(facts.id);
    this.#byId.set(facts.id, known === undefined ? { facts, activity } : merge(known, facts, activity));
  }

  get wantsPruning(): boolean {
    return this.#byId.size > this.#pruneAbove;
  }

  /** Forgets processes that exited a while ago and that nothing refers to. */
  prune(nowMs: number, referenced: ReadonlySet<ProcessId>): void {
    for (const [id, { facts, activity }] of this.#byId) {
      const gone = facts.exitedMs !== null && nowMs - facts.exitedMs > KEPT_AFTER_EXIT_MS;
      if (!gone || referenced.has(id)) continue;
      this.#byId.delete(id);
      if (activity.status === 'unavailable') continue;
      this.#opened += activity.value.opened;
      this.#accepted += activity.value.accepted;
    }
    this.#pruneAbove = Math.max(FEW, 2 * this.#byId.size);
  }
}

function merge(known: KnownProcess, facts: ProcessFacts, activity: Known<ProcessActivity>): KnownProcess {
  const before = known.facts;
  return {
    facts: {
      ...facts,
      // Nobody knows the name of a process looked up after its end; who knew it before is right.
      comm: facts.comm === UNKNOWN_COMM ? before.comm : facts.comm,
      parentPid: facts.parentPid ?? before.parentPid,
      exe: measured(facts.exe, before.exe),
      cmdline: measured(facts.cmdline, before.cmdline),
      namespacePids: measured(facts.namespacePids, before.namespacePids),
      startTime: measured(facts.startTime, before.startTime),
      unit: measured(facts.unit, before.unit),
      container: measured(facts.container, before.container),
      netns: measured(facts.netns, before.netns),
      exitedMs: facts.exitedMs ?? before.exitedMs,
    },
    activity: laterActivity(known.activity, activity),
  };
}

/** Totals only grow, so the greater of two is the later one. */
function laterActivity(before: Known<ProcessActivity>, now: Known<ProcessActivity>): Known<ProcessActivity> {
  if (now.status === 'unavailable') return before;
  if (before.status === 'unavailable') return now;
  const later = (name: keyof ProcessActivity): number => Math.max(before.value[name], now.value[name]);
  return {
    status: 'measured',
    value: {
      opened: later('opened'),
      accepted: later('accepted'),
      bound: later('bound'),
      connected: later('connected'),
      listened: later('listened'),
      destroyed: later('destroyed'),
    },
  };
}

function measured<T>(now: Known<T>, before: Known<T>): Known<T> {
  return now.status === 'measured' ? now : before;
}
