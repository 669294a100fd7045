/** Network namespaces that can be entered by a path: those of processes, and those that are mounted (`ip netns`). */
import { readdirSync } from 'node:fs';
import { hidesProcesses } from './pid-namespace.ts';
import { PROC_ROOT, readLink, readText } from './read.ts';

export interface NamespacePath {
  inode: number;
  path: string;
}

/** By `ip netns add`: a name that people know. */
const NAMED = /^(?:\/var)?\/run\/netns\/[^/]+$/;
const LONGEST_MOUNTINFO = 4 * 1024 * 1024;

export interface NamespaceList {
  namespaces: NamespacePath[];
  /** pids whose namespace could not be read for want of permission; those that ended are not among them */
  unread: number[];
  /** /proc does not even list the processes of others (mount option hidepid) */
  hidden: boolean;
}

/**
 * One path for each namespace, the initial one's first: the one that `ip netns` gave it, where it has one.
 * @param hold called with the path that is about to be taken for a namespace; false: it is none any more
 */
export function listNetNamespaces(
  procRoot: string = PROC_ROOT,
  hold: (path: string) => boolean = () => true,
): NamespaceList {
  const found = new Map<number, string>();
  const unread: number[] = [];
  for (const pid of processIds(procRoot)) {
    const path = `${procRoot}/${pid}/ns/net`;
    const link = readLink(path);
    if (link.status === 'measured') add(found, link.value, path, hold);
    else if (link.reason.endsWith('permission denied')) unread.push(pid);
  }
  const mounts = readText(`${procRoot}/self/mountinfo`, LONGEST_MOUNTINFO);
  if (mounts.status === 'measured')
    for (const { root, path } of namespaceMounts(mounts.value)) add(found, root, path, hold, NAMED.test(path));
  const namespaces = [...found].map(([inode, path]) => ({ inode, path }));
  return { namespaces, unread, hidden: hidesProcesses(procRoot) };
}

/** The namespaces in which single threads of a process are, e.g. after unshare(2) in a thread. */
export function threadNamespaces(pid: number, procRoot: string = PROC_ROOT): NamespacePath[] {
  const found = new Map<number, string>();
  for (const tid of processIds(`${procRoot}/${pid}/task`)) {
    const path = `${procRoot}/${pid}/task/${tid}/ns/net`;
    const link = readLink(path);
    if (link.status === 'measured') add(found, link.value, path, () => true);
  }
  return [...found].map(([inode, path]) => ({ inode, path }));
}

function processIds(folder: string): number[] {
  try {
    return readdirSync(folder)
      .filter((name) => /^[1-9]\d{0,9}$/.test(name))
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

/** Lines of mountinfo(5) like `581 24 0:4 net:[4026532288] /run/netns/blue rw shared:9 - nsfs nsfs rw`. */
function namespaceMounts(text: string): { root: string; path: string }[] {
  return text.split('\n').flatMap((line) => {
    const [, , , root, path] = line.split(' ');
    if (root === undefined || path === undefined || !root.startsWith('net:[') || !line.includes(' - nsfs ')) return [];
    return [
      {
        root,
        path: path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
      },
    ];
  });
}

function add(
  found: Map<number, string>,
  link: string,
  path: string,
  hold: (path: string) => boolean,
  preferred = false,
): void {
  const inode = /^net:\[(\d{1,10})\]$/.exec(link)?.[1];
  if (inode === undefined || (found.has(Number(inode)) && !preferred)) return;
  if (hold(path)) found.set(Number(inode), path);
}
