/**
 * Where the fields of bpf/records.h lie. The addon exports what its compiler made of that header; nothing is decoded
 * unless both agree, since a record of the wrong stride looks exactly like lost data.
 */

/** [offset, size] in bytes */
type Place = readonly [number, number];

export interface RecordLayout {
  size: number;
  fields: Readonly<Record<string, Place>>;
}

export const SOCKET_RECORD = {
  size: 152,
  fields: {
    sk: [0, 8],
    birth_ns: [8, 8],
    version_ns: [16, 8],
    owner_start_ns: [32, 8],
    owner_tgid: [40, 4],
    netns: [44, 4],
    uid: [48, 4],
    local_port: [52, 2],
    peer_port: [54, 2],
    bind_errno: [56, 2],
    connect_errno: [58, 2],
    socket_errno: [60, 2],
    family: [62, 1],
    state: [63, 1],
    release_state: [64, 1],
    ever_bound: [65, 1],
    ever_connecting: [66, 1],
    ever_established: [67, 1],
    ever_listening: [68, 1],
    accepted: [69, 1],
    seeded: [70, 1],
    history_unknown: [71, 1],
    released: [72, 1],
    held_at_exit: [73, 1],
    destroyed: [76, 1],
    local_address: [80, 16],
    peer_address: [96, 16],
    open_path: [128, 8],
    bind_path: [136, 8],
  },
} as const satisfies RecordLayout;

export const HOLDER_RECORD = {
  size: 64,
  fields: {
    sk: [0, 8],
    birth_ns: [8, 8],
    start_ns: [16, 8],
    tgid: [24, 4],
    fd: [28, 4],
    inode: [32, 8],
    bytes_received: [40, 8],
    bytes_acked: [48, 8],
    receive_queue: [56, 4],
    send_queue: [60, 4],
  },
} as const satisfies RecordLayout;

export const PROCESS_RECORD = {
  size: 128,
  fields: {
    start_ns: [0, 8],
    tgid: [8, 4],
    exited_ns: [32, 8],
    opened: [40, 8],
    accepted: [48, 8],
    bound: [56, 8],
    connected: [64, 8],
    listened: [72, 8],
    destroyed: [80, 8],
    parent_tgid: [88, 4],
    execs: [92, 4],
    comm: [96, 16],
  },
} as const satisfies RecordLayout;

export const FAILURE_RECORD = {
  size: 80,
  fields: {
    start_ns: [0, 8],
    tgid: [8, 4],
    error: [12, 2],
    operation: [14, 1],
    detail: [15, 1],
    count: [16, 8],
    first_ns: [32, 8],
    last_ns: [40, 8],
    path: [48, 8],
    netns: [56, 4],
    uid: [60, 4],
    comm: [64, 16],
  },
} as const satisfies RecordLayout;

export const PATH_RECORD = {
  size: 120,
  fields: {
    ref: [0, 8],
    gone: [8, 8],
    counts: [40, 80],
  },
} as const satisfies RecordLayout;

export const EVENT_RECORD = {
  size: 48,
  fields: {
    type: [0, 4],
    tgid: [4, 4],
    at_ns: [8, 8],
    sk: [16, 8],
    birth_ns: [24, 8],
    error: [32, 2],
    local_port: [34, 2],
    peer_port: [36, 2],
    family: [38, 1],
    old_state: [39, 1],
    state: [40, 1],
  },
} as const satisfies RecordLayout;

/** One sock of a census: bpf/census_records.h. */
export const CENSUS_RECORD = {
  size: 128,
  fields: {
    sk: [0, 8],
    inode: [8, 8],
    via_inode: [16, 8],
    via_sk: [24, 8],
    active_us: [32, 8],
    bytes_received: [40, 8],
    bytes_acked: [48, 8],
    segments_out: [56, 4],
    netns: [60, 4],
    uid: [64, 4],
    receive_queue: [68, 4],
    send_queue: [72, 4],
    memory: [76, 4],
    local_port: [80, 2],
    stale_port: [82, 2],
    peer_port: [84, 2],
    error: [86, 2],
    family: [88, 1],
    state: [89, 1],
    ways: [90, 1],
    flags: [91, 1],
    local_address: [96, 16],
    peer_address: [112, 16],
  },
} as const satisfies RecordLayout;

export const CENSUS_DESCRIPTOR = {
  size: 32,
  fields: { sk: [0, 8], inode: [8, 8], start_ns: [16, 8], tgid: [24, 4], fd: [28, 4] },
} as const satisfies RecordLayout;

export const CENSUS_MINISOCK = {
  size: 48,
  fields: {
    netns: [0, 4],
    local_port: [4, 2],
    peer_port: [6, 2],
    family: [8, 1],
    state: [9, 1],
    local_address: [16, 16],
    peer_address: [32, 16],
  },
} as const satisfies RecordLayout;

/** enum census_counter, in its order */
export const CENSUS_COUNTERS = ['tableFull', 'unixQueuesCut', 'ioUringsCut', 'acceptQueuesCut', 'mptcpBare'] as const;

/** enum counter of bpf/records.h, in its order */
export const COUNTERS = [
  'host_opened',
  'host_cloned',
  'host_destroyed',
  'tracked_opened',
  'tracked_accepted',
  'tracked_seeded',
  'tracked_arrived',
  'tracked_destroyed',
  'sockets_sent',
  'ended_sent',
  'events_sent',
  'stale_replaced',
  'destroy_unseen',
  'mptcp_held',
  'confirm_repaired',
  'paths_sampled',
  'paths_cached',
  'paths_not_sampled',
  'loss_socket_table_full',
  'loss_socket_insert',
  'loss_socket_delete',
  'loss_ended_park',
  'loss_process_table',
  'loss_failure_table',
  'loss_victim_table',
  'loss_event_ring',
  'loss_sockaddr_unread',
  'loss_stack_ring',
  'loss_path_table',
] as const;

export type CounterName = (typeof COUNTERS)[number];

/** What the addon exports of its own layout. */
export interface NativeLayout {
  records: Record<string, RecordLayout>;
  counters: string[];
  censusCounters: string[];
}

const EXPECTED: Readonly<Record<string, RecordLayout>> = {
  socket: SOCKET_RECORD,
  holder: HOLDER_RECORD,
  process: PROCESS_RECORD,
  failure: FAILURE_RECORD,
  path: PATH_RECORD,
  event: EVENT_RECORD,
  census: CENSUS_RECORD,
  censusDescriptor: CENSUS_DESCRIPTOR,
  censusMinisock: CENSUS_MINISOCK,
};

/**
 * What differs between the addon and this file, one sentence each; empty when nothing does. A field that either
 * side lacks differs too.
 */
export function layoutDifferences(native: NativeLayout): string[] {
  const differences: string[] = [];
  for (const [name, expected] of Object.entries(EXPECTED)) {
    const actual = native.records[name];
    if (actual === undefined) {
      differences.push(`the addon has no record "${name}"`);
      continue;
    }
    if (actual.size !== expected.size)
      differences.push(`record "${name}" has ${actual.size} bytes, not ${expected.size}`);
    for (const field of new Set([...Object.keys(expected.fields), ...Object.keys(actual.fields)])) {
      const wanted = expected.fields[field]?.join('+') ?? 'absent';
      const got = actual.fields[field]?.join('+') ?? 'absent';
      if (wanted !== got) differences.push(`field "${name}.${field}" is at ${got}, not ${wanted}`);
    }
  }
  const counters = `${native.counters.join()};${native.censusCounters.join()}`;
  if (counters !== `${COUNTERS.join()};${CENSUS_COUNTERS.join()}`) differences.push('the counters differ');
  return differences;
}
