/** How failed calls name whose they are, and which of them happened elsewhere. */
import type { ProcessId } from '../ledger/types.ts';
import type { Failure, Report } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { namespaceShort, ProcessNames } from './names.ts';
import { countOf } from './numbers.ts';

export class FailingProcesses {
  readonly #names: ProcessNames;
  readonly #traced: Set<ProcessId>;
  readonly #ours: Set<number>;
  readonly #namespaceNames: Map<number, string>;

  constructor(report: Report) {
    const { processes, ports, failures } = report;
    this.#names = new ProcessNames(report);
    const traced = processes.filter(({ activity }) => activity.status === 'measured');
    this.#traced = new Set(traced.map(({ id }) => id));
    const failed = failures.status === 'measured' ? failures.value : [];
    this.#ours = new Set([
      ...traced.flatMap(({ netns }) => (netns.status === 'measured' ? [netns.value] : [])),
      ...failed.flatMap(({ process, netns }) => (netns !== null && this.#traced.has(process) ? [netns] : [])),
    ]);
    const known = ports.status === 'measured' ? ports.value : [];
    this.#namespaceNames = new Map(known.map((one) => [one.netns, namespaceShort(one)]));
  }

  isTraced(process: ProcessId): boolean {
    return this.#traced.has(process);
  }

  /** Whether its network namespace is one of the traced processes', as far as any of those is known. */
  isNear({ netns }: Pick<Failure, 'netns'>): boolean {
    return this.#ours.size === 0 || (netns !== null && this.#ours.has(netns));
  }

  /** `ftp[4321]`, `ftp[4321 outside]`, or `curl (37 processes)`: by its name when it failed. */
  nameOf({ process, processes, pid, comm }: Pick<Failure, 'process' | 'processes' | 'pid' | 'comm'>): string {
    return processes > 1
      ? `${escapeText(comm)} (${countOf(processes, 'process', 'processes')})`
      : `${escapeText(comm)}[${this.#names.pidOf(process) ?? pid}]`;
  }

  /** What marks the namespace behind a name; nothing for those of the traced processes. */
  mark(failure: Pick<Failure, 'netns'>): string {
    if (this.isNear(failure)) return '';
    const { netns } = failure;
    return ` (netns ${netns === null ? 'not known' : (this.#namespaceNames.get(netns) ?? netns)})`;
  }
}
