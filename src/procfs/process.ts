/** Who a process is, from /proc. */
import type { Known, ProcessFacts, ProcessId } from '../ledger/types.ts';
import { parseCgroup } from './cgroup.ts';
import { decodeText, PROC_ROOT, readLink, readText } from './read.ts';
import { type ProcessStat, readStat } from './stat.ts';

/** USER_HZ is 100 on every Linux: the unit in which /proc/PID/stat gives the start. */
const NS_PER_TICK = 10_000_000n;
const MS_PER_TICK = 10;

/** `bootId:pid:startTicks`, from the kernel's `start_boottime` in ns. Equal to what /proc tells of the same process. */
export function processIdFor(bootId: string, pid: number, startNsBoottime: bigint): ProcessId {
  return `${bootId}:${pid}:${startNsBoottime / NS_PER_TICK}`;
}

/** Which boot the pids belong to; see boot.ts. */
export interface BootClock {
  bootId: string;
  bootTimeMs: Known<number>;
}

/**
 * Reads what /proc tells of a living process.
 * @param argumentsOf how to get its command line: whoever reads /proc/PID/cmdline may wait for ever, for a lock that the process holds
 * @returns unavailable when there is no such process, or when its pid went to another while it was read. A caller
 * that expects a certain process compares `id`.
 */
export function readProcess(
  pid: number,
  boot: BootClock,
  argumentsOf: (pid: number) => Known<Buffer>,
  procRoot: string = PROC_ROOT,
): Known<ProcessFacts> {
  const root = `${procRoot}/${pid}`;
  const stat = readStat(root);
  if (stat.status === 'unavailable') return stat;
  const { comm, parentPid, startTicks } = stat.value;
  const cgroup = readText(`${root}/cgroup`, 64 * 1024);
  const membership = map(cgroup, parseCgroup);
  const facts: ProcessFacts = {
    id: `${boot.bootId}:${pid}:${startTicks}`,
    pid,
    parentPid,
    comm,
    exe: readLink(`${root}/exe`),
    cmdline: splitArguments(argumentsOf(pid)),
    namespacePids: readNamespacePids(root),
    startTime: startTimeOf(boot.bootTimeMs, startTicks),
    unit: map(membership, ({ unit }) => unit),
    container: map(membership, ({ container }) => container),
    netns: readNetns(root),
    exitedMs: null,
  };
  return isStill(stat.value, readStat(root))
    ? { status: 'measured', value: facts }
    : { status: 'unavailable', reason: `process ${pid} ended while it was examined` };
}

function isStill(before: ProcessStat, after: Known<ProcessStat>): boolean {
  return after.status === 'measured' && after.value.startTicks === before.startTicks;
}

/** A file system that only looks like /proc may say any number. */
function startTimeOf(bootTimeMs: Known<number>, ticks: string): Known<string> {
  if (bootTimeMs.status === 'unavailable') return bootTimeMs;
  const date = new Date(bootTimeMs.value + Number(ticks) * MS_PER_TICK);
  if (Number.isNaN(date.getTime())) return { status: 'unavailable', reason: 'the start time is beyond any date' };
  return { status: 'measured', value: date.toISOString() };
}

function splitArguments(bytes: Known<Buffer>): Known<string[]> {
  if (bytes.status === 'unavailable') return bytes;
  if (bytes.value.length === 0) return { status: 'unavailable', reason: 'it has none, or has ended' };
  const words = decodeText(bytes.value).split('\0');
  // Each argument ends with a NUL, unless the text was cut or overwritten.
  if (words.at(-1) === '') words.pop();
  return { status: 'measured', value: words };
}

/** `NSpid:` of status; kernels without pid namespaces have no such line. */
export function readNamespacePids(root: string): Known<number[]> {
  const status = readText(`${root}/status`, 16 * 1024);
  if (status.status === 'unavailable') return status;
  const pids = /^NSpid:((?:\s+\d{1,10})+)$/m.exec(status.value)?.[1];
  if (pids === undefined) return { status: 'unavailable', reason: 'status has no NSpid line' };
  return { status: 'measured', value: pids.trim().split(/\s+/).map(Number) };
}

/** Inode number of the network namespace that a process is in. */
export function netnsOf(pid: number, procRoot: string = PROC_ROOT): Known<number> {
  return readNetns(`${procRoot}/${pid}`);
}

function readNetns(root: string): Known<number> {
  const link = readLink(`${root}/ns/net`);
  if (link.status === 'unavailable') return link;
  const inode = /^net:\[(\d{1,10})\]$/.exec(link.value)?.[1];
  if (inode === undefined) return { status: 'unavailable', reason: 'ns/net names no network namespace' };
  return { status: 'measured', value: Number(inode) };
}

function map<T, U>(known: Known<T>, to: (value: T) => U): Known<U> {
  return known.status === 'measured' ? { status: 'measured', value: to(known.value) } : known;
}
