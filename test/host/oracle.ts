// What the kernel says about a process's sockets by ways that socktrace does not use: ss, /proc/PID/fd and sockstat.
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * The process's TCP sockets by state, as `ss` names them (ESTAB, LISTEN, CLOSE-WAIT), in its own network namespace.
 * ss sees only what is in the kernel's hash tables: nothing in CLOSE, bound or not.
 */
export async function ssStates(pid: number): Promise<Record<string, number>> {
  const { stdout } = await run('nsenter', [`--net=/proc/${pid}/ns/net`, 'ss', '-tanpeOH'], { maxBuffer: 256 << 20 });
  const states: Record<string, number> = {};
  for (const line of stdout.split('\n')) {
    const state = /^\S+/.exec(line)?.[0];
    if (state !== undefined && line.includes(`pid=${pid},`)) states[state] = (states[state] ?? 0) + 1;
  }
  return states;
}

/** Inodes of all sockets that the process has descriptors for; one that it has twice is there twice. */
export async function heldSockets(pid: number): Promise<number[]> {
  const inodes: number[] = [];
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) inodes.push(Number(inode));
  }
  return inodes;
}

/** Column of the inode, from 0, in the tables of /proc/PID/net; MPTCP has none. */
const INODE_COLUMNS = {
  tcp: 9,
  tcp6: 9,
  udp: 9,
  udp6: 9,
  udplite: 9,
  udplite6: 9,
  raw: 9,
  raw6: 9,
  unix: 6,
  netlink: 9,
  packet: 8,
};

type Table = keyof typeof INODE_COLUMNS;

async function inodesIn(pid: number | 'self', table: Table): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/net/${table}`, 'utf8').catch(() => ''); // a protocol that is not built in
  const rows = text.split('\n').slice(1);
  return rows.flatMap((row) => {
    const inode = Number(row.trim().split(/\s+/)[INODE_COLUMNS[table]]);
    return inode > 0 ? [inode] : []; // 0: TIME_WAIT and orphans
  });
}

export interface HeldTcp {
  /** Distinct sockets that may be TCP: `hashed` and `unhashed`. */
  all: number[];
  /** Those in /proc/PID/net/tcp and tcp6. */
  hashed: number[];
  /** Those in no table: TCP in CLOSE, but also UDP that never got a port, and the socket of an MPTCP connection. */
  unhashed: number[];
}

/** The process's sockets less those that the tables of its network namespace, or of ours, know as something else. */
export async function heldTcpSockets(pid: number): Promise<HeldTcp> {
  const held = new Set(await heldSockets(pid));
  const tcp = new Set<number>();
  const other = new Set<number>();
  for (const table of Object.keys(INODE_COLUMNS) as Table[]) {
    const into = table === 'tcp' || table === 'tcp6' ? tcp : other;
    // What it was started with, such as the unix sockets that are its stdin and stdout, is in the namespace of this
    // process, which it may have left.
    for (const namespace of [pid, 'self'] as const)
      for (const inode of await inodesIn(namespace, table)) into.add(inode);
  }
  const all = [...held].filter((inode) => !other.has(inode));
  return {
    all,
    hashed: all.filter((inode) => tcp.has(inode)),
    unhashed: all.filter((inode) => !tcp.has(inode)),
  };
}

export interface Sockstat {
  /** Of the network namespace of the process: sockets of every family; hashed TCP sockets, v4 and v6; TIME_WAIT. */
  used: number;
  inuse: number;
  inuse6: number;
  tw: number;
  /** Of the host: */
  alloc: number;
  orphan: number;
  mem: number;
}

export async function sockstat(pid: number): Promise<Sockstat> {
  const text = await readFile(`/proc/${pid}/net/sockstat`, 'utf8');
  const text6 = await readFile(`/proc/${pid}/net/sockstat6`, 'utf8').catch(() => '');
  const read = (source: string, line: string, name: string): number => {
    const found = new RegExp(`^${line}:.*\\b${name} (\\d+)`, 'm').exec(source)?.[1];
    if (found === undefined) throw new Error(`sockstat of ${pid}: no ${line} ${name}`);
    return Number(found);
  };
  return {
    used: read(text, 'sockets', 'used'),
    inuse: read(text, 'TCP', 'inuse'),
    inuse6: text6 === '' ? 0 : read(text6, 'TCP6', 'inuse'),
    tw: read(text, 'TCP', 'tw'),
    alloc: read(text, 'TCP', 'alloc'),
    orphan: read(text, 'TCP', 'orphan'),
    mem: read(text, 'TCP', 'mem'),
  };
}
