/** Descriptors beyond the standard ones that this process was started with: they belong to the command of `run`. */
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PROC_ROOT, readLink, readText } from './read.ts';
import { readStat } from './stat.ts';

export interface OpenDescriptor {
  number: number;
  /** such as `pipe:[1234]`, `/dev/null` */
  file: string;
  readOnly: boolean;
}

const FIRST = 3;
const MOST_SOCKETS_BYTES = 64 << 20;
const ACCESS_MODE = 0o3;
/** Pids that are reused while they are read could make a loop. */
const MOST_ANCESTORS = 64;

// As the program begins: later its terminals, files and BPF objects are among them.
const AT_START = ownDescriptors();

/** Their numbers, ascending. */
export function inheritedDescriptors(): number[] {
  const streams = nodesStreams();
  return inheritedOf(AT_START, ancestorsFiles(), nodesFiles()).filter((number) => !streams.has(number));
}

/** What Node writes to a terminal by: a descriptor of its own, open from the start where a preloaded module has written. */
function nodesStreams(): Set<number | undefined> {
  const streams = [process.stdout, process.stderr] as { _handle?: { fd?: number } }[];
  return new Set(streams.map(({ _handle }) => _handle?.fd));
}

/**
 * Node has marked all of them to be closed at an exec and added its own, which no mark tells from the others: event
 * queues, /dev/null, and pipes to itself. A pipe of which both ends are here was inherited when a process that
 * started this one has it open too, as make has its job server.
 * @param elsewhere files that those processes have open
 * @param nodes what else Node is known to have opened
 */
export function inheritedOf(
  open: readonly OpenDescriptor[],
  elsewhere: ReadonlySet<string>,
  nodes: ReadonlySet<string> = new Set(),
): number[] {
  const ends = new Map<string, number>();
  for (const { file } of open) ends.set(file, (ends.get(file) ?? 0) + 1);
  const isNodes = ({ file, readOnly }: OpenDescriptor): boolean => {
    if (nodes.has(file) || isLogOf(process.pid, file)) return true;
    if (file.startsWith('pipe:')) return (ends.get(file) ?? 0) > 1 && !elsewhere.has(file);
    return file.startsWith('anon_inode:') || (file === '/dev/null' && readOnly);
  };
  return open.filter((descriptor) => !isNodes(descriptor)).map(({ number }) => number);
}

/** What V8 writes for profilers. */
function isLogOf(pid: number, file: string): boolean {
  return new RegExp(`/(?:perf-${pid}\\.map|jit-${pid}\\.dump|isolate-?0x[0-9a-f]+-${pid}-v8\\.log)$`).test(file);
}

/** The sockets of --inspect, and of a parent that is Node. */
function nodesFiles(): Set<string> {
  const files = new Set(socketsAtPort(inspectorPort()).map((inode) => `socket:[${inode}]`));
  const channel = (process.channel as { fd?: number } | undefined)?.fd;
  const link = channel === undefined ? undefined : readLink(`${PROC_ROOT}/self/fd/${channel}`);
  if (link?.status === 'measured') files.add(link.value);
  return files;
}

function inspectorPort(): number | null {
  if (!process.features.inspector) return null;
  const { url } = createRequire(import.meta.url)('node:inspector') as typeof import('node:inspector');
  return Number(new URL(url() ?? 'ws://none:0').port) || null;
}

/** Inode numbers of the TCP sockets of this network namespace with that port of their own. */
function socketsAtPort(port: number | null): string[] {
  if (port === null) return [];
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6'].flatMap((name) => {
    const list = readText(`${PROC_ROOT}/self/net/${name}`, MOST_SOCKETS_BYTES);
    const rows = list.status === 'measured' ? list.value.split('\n').map((line) => line.trim().split(/\s+/)) : [];
    return rows.flatMap(([, address, , , , , , , , inode]) =>
      address?.endsWith(local) && inode !== undefined ? [inode] : [],
    );
  });
}

function ownDescriptors(): OpenDescriptor[] {
  return numbersOf('self').flatMap((number) => {
    const file = readLink(`${PROC_ROOT}/self/fd/${number}`);
    const info = readText(`${PROC_ROOT}/self/fdinfo/${number}`, 4096);
    // That of the list itself is closed by now.
    if (number < FIRST || file.status === 'unavailable' || info.status === 'unavailable') return [];
    const flags = Number.parseInt(/^flags:\s*([0-7]+)$/m.exec(info.value)?.[1] ?? '0', 8);
    return [{ number, file: file.value, readOnly: (flags & ACCESS_MODE) === 0 }];
  });
}

function ancestorsFiles(): Set<string> {
  const files = new Set<string>();
  let pid = process.ppid;
  for (let i = 0; i < MOST_ANCESTORS && pid > 0; i++) {
    for (const number of numbersOf(pid)) {
      const file = readLink(`${PROC_ROOT}/${pid}/fd/${number}`);
      if (file.status === 'measured') files.add(file.value);
    }
    const stat = readStat(`${PROC_ROOT}/${pid}`);
    pid = stat.status === 'measured' ? stat.value.parentPid : 0;
  }
  return files;
}

function numbersOf(pid: number | 'self'): number[] {
  try {
    return readdirSync(`${PROC_ROOT}/${pid}/fd`)
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return []; // it has ended, or is not ours to look at
  }
}
