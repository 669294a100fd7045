/** Why two reports may not be comparable: told, not refused, as two hosts or releases may be meant. */
import type { ProcessId, SelectedTarget } from '../ledger/types.ts';
import { programsOf } from './programs.ts';
import type { Report } from './types.ts';

export interface DiffNote {
  code: 'reversed' | 'other-host' | 'other-program' | 'other-selection' | 'other-thresholds';
  what: string;
}

const MOST_NAMED = 3;

export function notesOf(before: Report, after: Report): DiffNote[] {
  const notes: DiffNote[] = [];
  if (Date.parse(after.window.endedAt) < Date.parse(before.window.endedAt))
    notes.push({
      code: 'reversed',
      what: `the second recording is the older one (until ${after.window.endedAt}, the first until ${before.window.endedAt}): what is called new was there before`,
    });
  const isOtherHost = before.host.hostname !== after.host.hostname;
  if (isOtherHost)
    notes.push({
      code: 'other-host',
      what: `they are of different hosts: ${before.host.hostname} and ${after.host.hostname}`,
    });
  const [earlier, later] = [watched(before), watched(after)];
  if (earlier.length > 0 && later.length > 0 && !earlier.some((program) => later.includes(program)))
    notes.push({
      code: 'other-program',
      what: `they are of different programs: ${namesOf(earlier)}, and ${namesOf(later)}`,
    });
  const selections = [before.target, after.target].map(selectionOf);
  if (selections[0] !== selections[1])
    notes.push({
      code: 'other-selection',
      what: `different processes were traced: ${selections[0]}, and ${selections[1]}`,
    });
  else if (!isOtherHost && !isSameSet(byPid(before.target), byPid(after.target)))
    notes.push({
      code: 'other-selection',
      what: `different processes were traced: ${selections[0]} meant another one each time`,
    });
  const differing = (['minAgeMs', 'leakAgeMs', 'idleLeakAgeMs', 'leakCount'] as const).filter(
    (name) => before.window[name] !== after.window[name],
  );
  if (differing.length > 0)
    notes.push({
      code: 'other-thresholds',
      what: `suspects and leaks are not the same in them: ${differing
        .map((name) => `${name} ${before.window[name]} and ${after.window[name]}`)
        .join(', ')}`,
    });
  return notes;
}

/** As it is typed. */
function selectionOf({ pids, selectors = [], follow, command }: SelectedTarget): string {
  if (command !== undefined) return command.join(' ');
  return [
    ...pids.map((pid) => `--pid ${pid}`),
    ...selectors.map((selector) => (selector.by === 'all' ? '--all' : `--${selector.by} ${selector.value}`)),
    ...(follow ? [] : ['--no-follow']),
  ].join(' ');
}

/** A pid that was asked for may be another process's by now. What a command is started as is another one each time. */
function byPid({ processes, command }: SelectedTarget): readonly ProcessId[] {
  return command === undefined ? processes : [];
}

function isSameSet<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((one) => b.includes(one));
}

/** The programs of the processes that were traced. */
function watched(report: Report): string[] {
  const programs = programsOf(report);
  const traced = new Set<ProcessId>(report.target.processes);
  for (const { id, activity } of report.processes) if (activity.status === 'measured') traced.add(id);
  return [...new Set([...traced].flatMap((id) => programs.get(id) ?? []))];
}

function namesOf(programs: readonly string[]): string {
  const more = programs.length - MOST_NAMED;
  return `${programs.slice(0, MOST_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
