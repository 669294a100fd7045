/** `--comm`, `--cgroup`, `--netns-of`, `--user`, `--all`: what to trace besides processes named by pid. */
import type { Command } from 'commander';
import type { Selector, SelectorType } from '../kernel/binding.ts';
import type { TargetSelector } from '../ledger/types.ts';
import { cgroupId, cgroupMount, findCgroups } from '../procfs/cgroup-tree.ts';
import { netnsOf } from '../procfs/process.ts';
import { runningNames } from '../procfs/running-names.ts';
import { readUserNames } from '../procfs/users.ts';
import { escapeText } from '../render/escape.ts';
import type { Selection } from '../session/selection.ts';
import { UsageError } from './exit-codes.ts';
import { pidArgument } from './options.ts';
import { shellWord } from './shell-word.ts';
import { nearest } from './similar.ts';

export interface SelectionOptions {
  comm?: string[];
  cgroup?: string[];
  netnsOf?: number[];
  user?: string[];
  all?: boolean;
}

export function addSelectionOptions(command: Command): Command {
  return command
    .option('--comm <name>', 'processes of this name, those to come too; repeatable', repeated)
    .option('--cgroup <which>', 'a cgroup: its path, a container id or a systemd unit; repeatable', repeated)
    .option('--netns-of <pid>', 'processes in the network namespace of this one; repeatable', pidArgument)
    .option('--user <user>', 'processes of this user, by name or number; repeatable', repeated)
    .option('--all', 'every process of the host');
}

/** commander parser for a repeatable text */
export function repeated(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/**
 * Undefined when nothing but pids is selected.
 * @throws UsageError when a cgroup, user or process does not exist
 */
export function selectionOf({ comm, cgroup, netnsOf: pids, user, all }: SelectionOptions): Selection | undefined {
  const byPath = (cgroup ?? []).map(checkedCgroup);
  const fixed: Selector[] = [
    ...(comm ?? []).map((name): Selector => ({ by: 'comm', comm: name })),
    ...(pids ?? []).map((pid): Selector => ({ by: 'netns', inode: checkedNetns(pid) })),
    ...(user ?? []).map((name): Selector => ({ by: 'user', uid: checkedUser(name) })),
  ];
  const asked: TargetSelector[] = [
    ...(comm ?? []).map((value): TargetSelector => ({ by: 'comm', value })),
    ...(cgroup ?? []).map((value): TargetSelector => ({ by: 'cgroup', value })),
    ...(pids ?? []).map((pid): TargetSelector => ({ by: 'netns-of', value: String(pid) })),
    ...(user ?? []).map((value): TargetSelector => ({ by: 'user', value })),
    ...(all ? [{ by: 'all' } as const] : []),
  ];
  if (asked.length === 0) return undefined;
  const types = new Set<SelectorType>(fixed.map(({ by }) => by));
  if (byPath.length > 0) types.add('cgroup');
  return {
    asked,
    all: all ?? false,
    types: [...types],
    now: () => [...fixed, ...byPath.flat().flatMap(cgroupSelector)],
  };
}

/** What to tell while nobody matches: a script's name is not that of its process. */
export function nobodyMatches({ comm }: SelectionOptions): string {
  const running = [...new Set(runningNames().map(([, name]) => name))];
  const meant = [...new Set((comm ?? []).flatMap((name) => nearest(name, running)))];
  return [
    'no process matches yet; those to come are taken up',
    ...(meant.length > 0 ? [`did you mean ${meant.map((name) => `--comm ${shellWord(name)}`).join(' or ')}?`] : []),
    ...(comm !== undefined && meant.length === 0
      ? ['a script has the name of what runs it, such as python3 or node: --pid $(pgrep -f SCRIPT) takes one']
      : []),
  ].join('; ');
}

function cgroupSelector(path: string): Selector[] {
  const id = cgroupId(path);
  return id === null ? [] : [{ by: 'cgroup', id }];
}

function checkedCgroup(wanted: string): string[] {
  const mount = cgroupMount();
  if (mount === null)
    throw new UsageError('--cgroup: cgroup2 is not mounted here; mount -t cgroup2 none /sys/fs/cgroup mounts it');
  const paths = findCgroups(wanted, mount);
  if (paths.length === 0)
    throw new UsageError(
      `--cgroup: below ${mount} no cgroup, container or unit is called "${escapeText(wanted)}" (systemd-cgls lists them)`,
    );
  return paths;
}

function checkedNetns(pid: number): number {
  const netns = netnsOf(pid);
  if (netns.status === 'unavailable') throw new UsageError(`--netns-of ${pid}: ${netns.reason}`);
  return netns.value;
}

/** The largest is no user: (uid_t) -1. */
const LARGEST_UID = 2 ** 32 - 2;

function checkedUser(name: string): number {
  for (const [uid, known] of readUserNames()) if (known === name) return uid;
  if (/^\d{1,10}$/.test(name) && Number(name) <= LARGEST_UID) return Number(name);
  throw new UsageError(`--user: there is no user "${escapeText(name)}"`);
}
