/** The kernel's own socket counters: their text, and whether they moved as the hooks counted. */
import type { HostCounters, Known, Sockstat } from '../ledger/types.ts';
import type { AllocMovement } from '../report/types.ts';

/** The files have a dozen short lines; whatever is longer is not them. */
const LONGEST_TEXT = 64 * 1024;

/** Line label and field of each counter in /proc/net/sockstat. */
const FIELDS = {
  socketsUsed: ['sockets', 'used'],
  tcpInuse: ['TCP', 'inuse'],
  orphan: ['TCP', 'orphan'],
  timeWait: ['TCP', 'tw'],
  alloc: ['TCP', 'alloc'],
  memPages: ['TCP', 'mem'],
} as const satisfies Partial<Record<keyof Sockstat, readonly [string, string]>>;

/**
 * Reads the text of /proc/net/sockstat and sockstat6 of one network namespace.
 * @param text6 null when the kernel has no IPv6: then there are no such sockets, and `tcp6Inuse` is 0
 * @returns unavailable, with the field that is missing or no count, when the text is not what the kernel writes
 */
export function parseSockstat(text4: string, text6: string | null): Known<Sockstat> {
  const counters: Partial<Record<keyof Sockstat, number>> = {};
  const lines = parseCounters(text4);
  for (const name of Object.keys(FIELDS) as (keyof typeof FIELDS)[]) {
    const [label, field] = FIELDS[name];
    const value = lines.get(label)?.get(field);
    if (value === undefined)
      return { status: 'unavailable', reason: `sockstat has no count "${field}" for "${label}"` };
    counters[name] = value;
  }
  const tcp6Inuse = text6 === null ? 0 : parseCounters(text6).get('TCP6')?.get('inuse');
  if (tcp6Inuse === undefined) return { status: 'unavailable', reason: 'sockstat6 has no count "inuse" for "TCP6"' };
  return { status: 'measured', value: { ...(counters as Record<keyof typeof FIELDS, number>), tcp6Inuse } };
}

/** How `alloc` moved between two readings, against what the hooks counted between the same two. */
export function allocMovement(
  before: Sockstat,
  after: Sockstat,
  countersBefore: HostCounters,
  countersAfter: HostCounters,
): AllocMovement {
  const alloc = after.alloc - before.alloc;
  const opened = countersAfter.opened - countersBefore.opened;
  const cloned = countersAfter.cloned - countersBefore.cloned;
  const destroyed = countersAfter.destroyed - countersBefore.destroyed;
  return { alloc, opened, cloned, destroyed, unexplained: alloc - (opened + cloned - destroyed) };
}

/** `TCP: inuse 81 orphan 0` to label, field, count; what is no such line or count is left out. */
export function parseCounters(text: string): Map<string, Map<string, number>> {
  const lines = new Map<string, Map<string, number>>();
  if (text.length > LONGEST_TEXT) return lines;
  for (const line of text.split('\n')) {
    const [label, ...words] = line.trim().split(/\s+/);
    if (label === undefined || !label.endsWith(':')) continue;
    const fields = new Map<string, number>();
    for (let i = 0; i + 1 < words.length; i += 2) {
      const value = parseCount(words[i + 1] ?? '');
      if (value !== null) fields.set(words[i] ?? '', value);
    }
    lines.set(label.slice(0, -1), fields);
  }
  return lines;
}

function parseCount(word: string): number | null {
  if (!/^\d{1,16}$/.test(word)) return null;
  const count = Number(word);
  return Number.isSafeInteger(count) ? count : null;
}
