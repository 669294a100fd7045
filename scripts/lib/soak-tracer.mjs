/** The processes that `npm run soak` holds against each other: a session, and censuses of the host, each answering by IPC. */
import { readdirSync, readFileSync } from 'node:fs';
import { classOf } from '../../dist/accounting/classes.js';
import { shownKind } from '../../dist/ledger/entry.js';
import { isWasteful } from '../../dist/ledger/kinds.js';
import { readBootId } from '../../dist/procfs/boot.js';
import { checkTarget } from '../../dist/procfs/target.js';
import { readCensus } from '../../dist/session/census.js';
import { Session } from '../../dist/session/session.js';

const pollMs = 50;

function targetOf(pid) {
  const target = checkTarget(pid);
  if (target.is !== 'process') throw new Error(`${pid} cannot be traced: ${target.is}`);
  return target;
}

/** Readings of the tables, and walks of all descriptors, so far. */
const readings = { sweeps: 0, walks: 0 };

function count({ type }) {
  if (type === 'loss') readings.sweeps++;
  if (type === 'holders') readings.walks++;
}

const openSession = (pids) =>
  Session.open(
    {
      targets: pids.map(targetOf),
      follow: true,
      thresholds: { minAgeMs: 500, leakAgeMs: 30_000, idleLeakAgeMs: 60_000, leakCount: 10 },
      hooks: 'auto',
      // Failed calls of others of this host have no model here.
      victims: false,
      callPaths: true,
      hideArguments: false,
      maxSockets: 262_144,
      maxProcesses: 65_536,
      sweepMs: 100,
      confirmMs: 500,
      eventRingBytes: null,
    },
    { input: count },
  );

const pidOf = (process) => Number(process.split(':')[1]);

/** What the ledger holds now, in numbers and names that other ways give too. */
function seen(session) {
  const sockets = [];
  let heldAtExit = 0;
  for (const entry of session.ledger.sockets()) {
    const kind = shownKind(entry);
    if (entry.endedMs !== null) heldAtExit++;
    else if (isWasteful(kind) || kind === 'released')
      sockets.push({ inode: entry.inode, kind, holders: entry.holders === null ? null : entry.holders.map(pidOf) });
  }
  for (const { count } of session.ledger.exitSums()) heldAtExit += count;
  const failures = {};
  for (const { operation, errno, count } of session.ledger.failures())
    failures[`${operation} ${errno}`] = (failures[`${operation} ${errno}`] ?? 0) + count;
  session.report();
  return {
    sockets,
    heldAtExit,
    failures,
    tracked: session.ledger.lastSample?.tracked,
    held: session.held,
    losses: session.ledger.losses(),
    ...readings,
  };
}

/** A number of this name in a file of lines; 0: there is none, or no such file any more. */
function numberIn(path, name) {
  try {
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(path, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

const rssBytes = (pid) => 1024 * numberIn(`/proc/${pid}/status`, 'VmRSS');

/** Of the unwinder and the code readers. */
function helperBytes() {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ');
  return children.filter((pid) => pid !== '').reduce((sum, pid) => sum + rssBytes(pid), 0);
}

/** Of all maps and programs that this process has, as the kernel accounts for them. */
function bpfBytes() {
  return readdirSync('/proc/self/fdinfo').reduce((sum, fd) => sum + numberIn(`/proc/self/fdinfo/${fd}`, 'memlock'), 0);
}

/**
 * Resident memory by itself says little of a run of minutes: V8 gives the young objects up to 32 MiB while there is much
 * to do, and takes them back when there is less. So what is outside of its heap, and what lives in it, stand apart.
 */
function memory() {
  const { rss, heapTotal } = process.memoryUsage();
  // Before the collection, which gives much of it back.
  const bytes = { rss, outside: rss - heapTotal, helpers: helperBytes(), bpf: bpfBytes() };
  globalThis.gc();
  return { ...bytes, live: process.memoryUsage().heapUsed };
}

function census() {
  const bootId = readBootId();
  if (bootId.status === 'unavailable') throw new Error(bootId.reason);
  const { sockets } = readCensus(bootId.value);
  return sockets.map((socket) => ({
    inode: socket.inode,
    netns: socket.netns,
    family: socket.family,
    state: socket.state,
    class: classOf(socket),
    hashed: socket.ways.includes('hash'),
    holders: socket.holders.map(({ pid }) => pid),
  }));
}

let session = null;
const answers = {
  open({ pids }) {
    session = openSession(pids);
    setInterval(() => session.poll(), pollMs);
    return true;
  },
  look: () => seen(session),
  memory,
  census,
};

process.on('message', ({ id, ask, ...more }) => process.send({ id, answer: answers[ask](more) }));
process.on('disconnect', () => {
  session?.close();
  process.exit(0);
});
