/** Finds cgroups (version 2) by path, container or systemd unit, and what the kernel calls them. */
import { readdirSync, statSync } from 'node:fs';
import { parseCgroup } from './cgroup.ts';
import { PROC_ROOT, readText } from './read.ts';

const LONGEST_MOUNTS = 4 * 1024 * 1024;
/** A host has some hundreds, a large one some thousands. */
const MOST_CGROUPS = 100_000;
/** What docker and podman print is the first twelve digits. */
const CONTAINER_PREFIX = /^[0-9a-f]{12,64}$/;

/** Where cgroup2 is mounted; null when it is not. */
export function cgroupMount(procRoot: string = PROC_ROOT): string | null {
  const mounts = readText(`${procRoot}/self/mounts`, LONGEST_MOUNTS);
  if (mounts.status === 'unavailable') return null;
  for (const line of mounts.value.split('\n')) {
    const [, path = '', type] = line.split(' ');
    // proc(5): blanks in paths are octal escapes.
    if (type === 'cgroup2') return path.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(parseInt(octal, 8)));
  }
  return null;
}

/**
 * The directories of the cgroups that a user means: a path (below `mount` or absolute), the id of a container or its
 * first twelve digits or more, or the name of a systemd unit. Empty when there is none.
 */
export function findCgroups(wanted: string, mount: string): string[] {
  if (wanted.startsWith('/')) {
    const path = wanted === mount || wanted.startsWith(`${mount}/`) ? wanted : `${mount}${wanted}`;
    return cgroupId(path) === null ? [] : [path];
  }
  const found: string[] = [];
  for (const path of cgroupsBelow(mount)) if (isCalled(path, wanted)) found.push(path);
  return found;
}

/** The kernel's id of the cgroup at this path now: the inode number of its directory. Null when there is none. */
export function cgroupId(path: string): bigint | null {
  try {
    const about = statSync(path, { bigint: true });
    return about.isDirectory() ? about.ino : null;
  } catch {
    return null;
  }
}

function isCalled(path: string, wanted: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1);
  if (name === wanted || name === `${wanted}.service`) return true;
  return CONTAINER_PREFIX.test(wanted) && (parseCgroup(`0::/${name}`).container?.startsWith(wanted) ?? false);
}

function* cgroupsBelow(mount: string): Generator<string> {
  const left = [mount];
  for (let seen = 0; seen < MOST_CGROUPS; seen++) {
    const directory = left.pop();
    if (directory === undefined) return;
    for (const child of childrenOf(directory)) {
      const path = `${directory}/${child}`;
      left.push(path);
      yield path;
    }
  }
}

/** Empty for one that has been removed meanwhile. */
function childrenOf(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return [];
  }
}
