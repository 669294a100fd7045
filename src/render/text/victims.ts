/** Who finds no port where they are out: what a shortage does to others, in one line. */
import type { Failure, Report } from '../../report/types.ts';
import { FailingProcesses } from '../failing-processes.ts';
import { countOf, formatCount } from '../numbers.ts';
import { victimTest } from './failures.ts';

const MOST_VICTIMS = 3;

interface Victim {
  name: string;
  processes: number;
  calls: number;
}

export class Victims {
  readonly #failing: FailingProcesses;
  readonly #failures: Failure[];

  constructor(report: Report) {
    const { failures } = report;
    this.#failing = new FailingProcesses(report);
    this.#failures = failures.status === 'measured' ? failures.value.filter(victimTest(report)) : [];
  }

  /**
   * `2 processes fail for it: curl[77] 40 times, ftp[78] once`; null where nobody does.
   * @param isIn which network namespaces count, null where it is not known, of which recording
   */
  text(isIn: (netns: number | null, source: string) => boolean): string | null {
    const victims = this.#of(this.#failures.filter(({ netns, source }) => isIn(netns, source ?? '')));
    if (victims.length === 0) return null;
    const processes = victims.reduce((sum, victim) => sum + victim.processes, 0);
    const most = victims.slice(0, MOST_VICTIMS).map(({ name, calls }) => `${name} ${timesText(calls)}`);
    const more = victims.slice(MOST_VICTIMS);
    const calls = more.reduce((sum, victim) => sum + victim.calls, 0);
    const rest = more.length === 0 ? '' : ` and ${formatCount(more.length)} more ${timesText(calls)}`;
    return `${countOf(processes, 'process fails', 'processes fail')} for it: ${most.join(', ')}${rest}`;
  }

  /** Calls of victims whose network namespace is not known. */
  get callsOfUnknown(): number {
    return this.#failures.reduce((sum, { netns, count }) => (netns === null ? sum + count : sum), 0);
  }

  /** One for each process, or program of several short-lived ones; those that fail most first. */
  #of(failures: readonly Failure[]): Victim[] {
    const victims = new Map<string, Victim>();
    for (const failure of failures) {
      const { process, processes, comm, source, netns, count } = failure;
      const key = `${source}|${processes > 1 ? `${netns} ${comm}` : process}`;
      const known = victims.get(key);
      victims.set(key, {
        // A program may have failed in several ways: not every process of it in each.
        processes: Math.max(processes, known?.processes ?? 0),
        calls: count + (known?.calls ?? 0),
        name: known !== undefined && known.processes > processes ? known.name : this.#failing.nameOf(failure),
      });
    }
    return [...victims.values()].sort((a, b) => b.calls - a.calls);
  }
}

function timesText(calls: number): string {
  return calls === 1 ? 'once' : `${formatCount(calls)} times`;
}
