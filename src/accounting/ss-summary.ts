/** What `ss -s` prints of one network namespace, from the same files, and what its "closed" is made of. */
import type { Known } from '../ledger/types.ts';
import { parseCounters } from './sockstat.ts';

export interface Transport {
  name: 'RAW' | 'UDP' | 'TCP' | 'INET' | 'FRAG';
  v4: number;
  v6: number;
}

export interface SsSummary {
  total: number;
  tcp: number;
  estab: number;
  closed: number;
  orphaned: number;
  timewait: number;
  transports: Transport[];
}

/** Why "closed" is not the number of closed sockets. */
export interface ClosedParts {
  /** sockets that are in no hash table: what the word means */
  unhashed: number;
  /** TIME_WAIT, which `ss` adds though the kernel no longer counts them as in use */
  timewait: number;
  /** sockets in use in other network namespaces: `alloc` is of the whole host, "inuse" of one namespace */
  elsewhere: number;
}

/**
 * The formulas of iproute2's misc/ss.c (print_summary).
 * @param sockstat6 empty when the kernel has no IPv6
 * @param snmp /proc/net/snmp
 */
export function summarize(sockstat: string, sockstat6: string, snmp: string): Known<SsSummary> {
  const four = parseCounters(sockstat);
  const six = parseCounters(sockstat6);
  const missing: string[] = [];
  const count = (lines: typeof four, label: string, field: string): number => {
    const value = lines.get(label)?.get(field);
    if (value === undefined && lines === four) missing.push(`${label} ${field}`);
    return value ?? 0;
  };
  const estab = currEstab(snmp);
  const tcp = { v4: count(four, 'TCP', 'inuse'), v6: count(six, 'TCP6', 'inuse') };
  const udp = { v4: count(four, 'UDP', 'inuse'), v6: count(six, 'UDP6', 'inuse') };
  const raw = { v4: count(four, 'RAW', 'inuse'), v6: count(six, 'RAW6', 'inuse') };
  const frag = { v4: count(four, 'FRAG', 'inuse'), v6: count(six, 'FRAG6', 'inuse') };
  const alloc = count(four, 'TCP', 'alloc');
  const timewait = count(four, 'TCP', 'tw');
  const orphaned = count(four, 'TCP', 'orphan');
  const total = count(four, 'sockets', 'used');
  if (missing.length > 0 || estab === null)
    return {
      status: 'unavailable',
      reason: `not found: ${[...missing, ...(estab === null ? ['snmp CurrEstab'] : [])].join(', ')}`,
    };
  const inet = { v4: tcp.v4 + udp.v4 + raw.v4, v6: tcp.v6 + udp.v6 + raw.v6 };
  return {
    status: 'measured',
    value: {
      total,
      tcp: alloc + timewait,
      estab,
      closed: alloc - (tcp.v4 + tcp.v6 - timewait),
      orphaned,
      timewait,
      transports: [
        { name: 'RAW', ...raw },
        { name: 'UDP', ...udp },
        { name: 'TCP', ...tcp },
        { name: 'INET', ...inet },
        { name: 'FRAG', ...frag },
      ],
    },
  };
}

/** @param elsewhere sockets in use in other network namespaces */
export function partsOfClosed({ closed, timewait }: SsSummary, elsewhere: number): ClosedParts {
  return { unhashed: closed - timewait - elsewhere, timewait, elsewhere };
}

/** The second "Tcp:" line has the values of the names in the first. */
function currEstab(snmp: string): number | null {
  const [names, values] = snmp
    .split('\n')
    .filter((line) => line.startsWith('Tcp:'))
    .map((line) => line.split(/\s+/));
  const value = values?.[names?.indexOf('CurrEstab') ?? -1];
  return value !== undefined && /^\d{1,15}$/.test(value) ? Number(value) : null;
}
