/**
 * The recording of a service that is watched for a long time, made up line by line: sockets come, wait unused for a while
 * and are closed, some stay; connects fail; processes work; every hundredth of a second has its tick. Everything is as
 * `record` writes it.
 */

const BOOT = '0f5a7e0a-3c1f-4d2e-9a55-0123456789ab';
const OWNER = `${BOOT}:1234:5000`;
const known = (value) => ({ status: 'measured', value });
/** Sockets that stay. */
const LEAKED = 20_000;

const header = [
  { type: 'recording', version: 1, tool: { name: 'socktrace', version: '0.1.0' } },
  {
    type: 'session',
    session: {
      tool: { name: 'socktrace', version: '0.1.0' },
      host: {
        hostname: 'web7',
        bootId: BOOT,
        kernel: '6.18.44',
        hooks: { set: 'fentry', refused: [], blindSpots: [] },
      },
      target: { pids: [1234], processes: [OWNER], follow: true },
      thresholds: { minAgeMs: 5_000, leakAgeMs: 30_000, idleLeakAgeMs: 60_000, leakCount: 10 },
      clock: { monotonicMs: 0, wallMs: Date.UTC(2026, 10, 23, 3) },
      callPaths: known(true),
    },
  },
  {
    type: 'process',
    facts: {
      id: OWNER,
      pid: 1234,
      parentPid: 1,
      comm: 'leakyd',
      exe: known('/usr/sbin/leakyd'),
      cmdline: known(['/usr/sbin/leakyd', '--serve']),
      namespacePids: known([1234]),
      startTime: known('2026-11-22T20:00:00.000Z'),
      unit: known('leakyd.service'),
      container: known(null),
      netns: known(4026531840),
      exitedMs: null,
    },
    activity: known({ opened: 0, accepted: 0, bound: 0, connected: 0, listened: 0, destroyed: 0 }),
  },
];

function facts(n, atMs, changes) {
  const ns = `${Math.round(atMs * 1e6)}`;
  return {
    id: `${(0xffff888000000000n + BigInt(n % 60_000) * 0x40n).toString(16)}:${ns}`,
    origin: 'traced',
    accepted: known(false),
    owner: known(OWNER),
    openedMs: known(atMs),
    changedMs: atMs,
    version: ns,
    family: 4,
    state: 'CLOSE',
    port: 32_768 + (n % 28_000),
    ever: known({ bound: true, connecting: false, established: false, listening: false }),
    bindErrno: null,
    connectErrno: null,
    socketErrno: null,
    local: { address: '0.0.0.0', port: 32_768 + (n % 28_000) },
    peer: null,
    released: false,
    releaseState: null,
    heldAtExit: false,
    netns: 4026531840,
    uid: 33,
    openPath: { status: 'resolved', id: `p${n % 7}` },
    bindPath: { status: 'resolved', id: `b${n % 7}` },
    ...changes,
  };
}

/** Of ten lines: three sockets, three ends, a failure, an activity, two ticks; now and then what a second brings. */
function* linesOf(count) {
  yield* header;
  const counts = { opened: 0, accepted: 0, bound: 0, connected: 0, listened: 0, destroyed: 0 };
  const live = [];
  let n = 0;
  for (let made = header.length; made < count; ) {
    const atMs = 1_000 + n * 10;
    counts.opened += 1;
    const socket = facts(n, atMs);
    yield { type: 'socket', facts: socket };
    made += 1;
    n += 1;
    // Those that leak get addresses of their own, and stay.
    if (n % 50 === 0 && n / 50 < LEAKED) {
      yield { type: 'socket', facts: { ...facts(n, atMs), id: `${(0xffff999000000000n + BigInt(n)).toString(16)}:1` } };
      made += 1;
    }
    live.push(socket);
    if (live.length > 500) {
      for (const ended of live.splice(0, 400)) {
        counts.destroyed += 1;
        yield { type: 'closed', id: ended.id, atMs };
        made += 1;
      }
    }
    if (n % 3 === 0) {
      const failure = { process: OWNER, pid: 1234, comm: 'leakyd', operation: 'bind', errno: 'EADDRINUSE' };
      const total = { detail: 'port-zero', cause: 'no-free-port', count: n, firstMs: 1_000, lastMs: atMs };
      yield { type: 'failure', facts: { ...failure, ...total, netns: 4026531840, path: null } };
      yield { type: 'activity', process: OWNER, activity: known({ ...counts }) };
      made += 2;
    }
    yield { type: 'tick', atMs };
    made += 1;
  }
}

/** So many lines, in parts of about a megabyte. */
export function* recordedService(count) {
  let part = '';
  for (const line of linesOf(count)) {
    part += `${JSON.stringify(line)}\n`;
    if (part.length < 1 << 20) continue;
    yield part;
    part = '';
  }
  yield part;
}
