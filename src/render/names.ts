/** How reports name processes and targets. */
import { NO_PID } from '../ledger/outside.ts';
import type { Known, ProcessId, SelectedTarget, TargetSelector } from '../ledger/types.ts';
import type { Report, ReportProcess } from '../report/types.ts';
import { escapeText } from './escape.ts';
import { countOf, formatCount } from './numbers.ts';

/** `leakyd[1234]`; finds each process of one report by its id. */
export class ProcessNames {
  readonly #byId: Map<ProcessId, ReportProcess>;

  constructor(report: Report) {
    this.#byId = new Map(report.processes.map((process) => [process.id, process]));
  }

  find(id: ProcessId): ReportProcess | undefined {
    return this.#byId.get(id);
  }

  of(id: ProcessId): string {
    const process = this.#byId.get(id);
    return process === undefined ? escapeText(id) : `${escapeText(process.comm)}[${pidText(process)}]`;
  }

  /** `1234`, or `1234 outside`; undefined of a process that the report does not know. */
  pidOf(id: ProcessId): string | undefined {
    const process = this.#byId.get(id);
    return process === undefined ? undefined : pidText(process);
  }

  /** `leakyd[1234]`, or `leakyd[1234] and 36 more processes` where several share a finding. */
  ofOwners({ process, processes }: { process: Known<ProcessId>; processes: number }): string {
    const others = processes > 1 ? ` and ${countOf(processes - 1, 'more process', 'more processes')}` : '';
    return `${this.ofKnown(process)}${others}`;
  }

  /** `leakyd[1234] +36`: the same where there is little room. */
  ofOwnersShort({ process, processes }: { process: Known<ProcessId>; processes: number }): string {
    return `${this.ofKnown(process)}${processes > 1 ? ` +${formatCount(processes - 1)}` : ''}`;
  }

  ofKnown(process: Known<ProcessId>): string {
    return process.status === 'measured' ? this.of(process.value) : 'unknown process';
  }
}

/** `1234`; of a process outside of the pid namespace in which it was observed `1234 outside`, by its number elsewhere. */
function pidText({ pid, namespacePids }: ReportProcess): string {
  if (pid !== NO_PID) return String(pid);
  const elsewhere = namespacePids.status === 'measured' ? `${namespacePids.value[0] ?? ''} ` : '';
  return `${elsewhere}outside`;
}

/** `network namespace blue` where `ip netns` gave it a name, else by its number and where it was found. */
export function namespaceName({ netns, path }: { netns: number; path: string | null }): string {
  const name = givenName(path);
  if (name !== null) return `network namespace ${name}`;
  return `network namespace ${netns}${path === null ? '' : ` (${escapeText(path)})`}`;
}

/** `blue`, or its number. */
export function namespaceShort({ netns, path }: { netns: number; path: string | null }): string {
  return givenName(path) ?? String(netns);
}

function givenName(path: string | null): string | null {
  const name = /^(?:\/var)?\/run\/netns\/([^/]+)$/.exec(path ?? '')?.[1];
  return name === undefined ? null : escapeText(name);
}

/** `pid 1234 and its children`, `the processes named nginx and their children`, `npm test`. */
export function targetName({ pids, follow, selectors = [], command }: SelectedTarget): string {
  if (command !== undefined) return commandName(command);
  const named = [
    ...(pids.length === 0 ? [] : [`pid${pids.length > 1 ? 's' : ''} ${pids.join(', ')}`]),
    ...selectors.map(selectorName),
  ];
  if (named.length === 0 || selectors.some(({ by }) => by === 'all')) return 'all processes';
  if (!follow) return named.join(' and ');
  return `${named.join(' and ')} and ${pids.length > 1 || selectors.length > 0 ? 'their' : 'its'} children`;
}

function selectorName(selector: TargetSelector): string {
  switch (selector.by) {
    case 'comm':
      return `the processes named ${escapeText(selector.value)}`;
    case 'cgroup':
      return `the processes in cgroup ${escapeText(selector.value)}`;
    case 'user':
      return `the processes of user ${escapeText(selector.value)}`;
    case 'netns-of':
      return `the processes in the network namespace of ${escapeText(selector.value)}`;
    case 'all':
      return 'all processes';
  }
}

const LONGEST_COMMAND = 80;

function commandName(words: readonly string[]): string {
  const text = escapeText(words.join(' '));
  return text.length > LONGEST_COMMAND ? `${text.slice(0, LONGEST_COMMAND)}...` : text;
}
