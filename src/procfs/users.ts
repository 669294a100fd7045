/** The names of users, as the host's own passwd file has them. */
import { PROC_ROOT, readText } from './read.ts';

const LONGEST_PASSWD = 4 * 1024 * 1024;
const LONGEST_NAME = 64;

/**
 * Names by uid of the initial user namespace. A container of ours may have a passwd file of its own, so it is read where
 * the first process or the first kernel thread is; where neither may be looked into, there are no names.
 */
export function readUserNames(procRoot: string = PROC_ROOT): ReadonlyMap<number, string> {
  for (const pid of [1, 2]) {
    const text = readText(`${procRoot}/${pid}/root/etc/passwd`, LONGEST_PASSWD);
    if (text.status === 'measured') return parsePasswd(text.value);
  }
  return new Map();
}

/** Lines of passwd(5) like `www-data:x:33:33:...`; of several names of one uid the first, as getpwuid(3). */
export function parsePasswd(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [name = '', , uid = ''] = line.split(':', 3);
    if (name === '' || name.length > LONGEST_NAME || name.startsWith('#') || !/^\d{1,10}$/.test(uid)) continue;
    if (!names.has(Number(uid))) names.set(Number(uid), name);
  }
  return names;
}
