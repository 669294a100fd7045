/** How failed calls name whose they are, and which of them happened elsewhere. */
import type { ProcessId } from '../ledger/types.ts';
import type { Failure, Report } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { namespaceShort, ProcessNames } from './names.ts';
import { countOf } from './numbers.ts';

export class FailingProcesses {
  readonly #names: ProcessNames;
  readonly #namespaces: Map<ProcessId, number>;
  readonly #traced: Set<ProcessId>;
  readonly #ours: Set<number>;
  readonly #namespaceNames: Map<number, string>;

  constructor(report: Report) {
    const { processes, ports } = report;
    this.#names = new ProcessNames(report);
    this.#namespaces = new Map(
      processes.flatMap(({ id, netns }) => (netns.status === 'measured' ? [[id, netns.value]] : [])),
    );
    this.#traced = new Set(processes.flatMap(({ id, activity }) => (activity.status === 'measured' ? [id] : [])));
    this.#ours = new Set([...this.#traced].flatMap((id) => this.#namespaces.get(id) ?? []));
    const known = ports.status === 'measured' ? ports.value : [];
    this.#namespaceNames = new Map(known.map((one) => [one.netns, namespaceShort(one)]));
  }

  isTraced(process: ProcessId): boolean {
    return this.#traced.has(process);
  }

  /** Its network namespace; null where it is not known. */
  namespaceOf({ process }: Pick<Failure, 'process'>): number | null {
    return this.#namespaces.get(process) ?? null;
  }

  /** The name of its network namespace; null where that is one of the traced processes', or not known. */
  elsewhere(failure: Pick<Failure, 'process'>): string | null {
    const netns = this.namespaceOf(failure);
    if (netns === null || this.#ours.size === 0 || this.#ours.has(netns)) return null;
    return this.#namespaceNames.get(netns) ?? String(netns);
  }

  /** `ftp[4321]`, `ftp[4321 outside]`, or `curl (37 processes)`: by its name when it failed. */
  nameOf({ process, processes, pid, comm }: Pick<Failure, 'process' | 'processes' | 'pid' | 'comm'>): string {
    return processes > 1
      ? `${escapeText(comm)} (${countOf(processes, 'process', 'processes')})`
      : `${escapeText(comm)}[${this.#names.pidOf(process) ?? pid}]`;
  }

  /** What marks the namespace behind a name; nothing for those of the traced processes. */
  mark(failure: Pick<Failure, 'process'>): string {
    const elsewhere = this.elsewhere(failure);
    return elsewhere === null ? '' : ` (netns ${elsewhere})`;
  }
}
