/** What each hook set sees and counts: facts about the programs of native/hooks.cc. */
import type { HookSetName } from './binding.ts';

/** The one program of a set that counts every event of the host, so that its misses can be added. */
export interface CountingPrograms {
  /** null: programs on cgroup hooks are never skipped */
  opened: string | null;
  destroyed: string;
}

export const COUNTING_PROGRAMS: Readonly<Record<HookSetName, CountingPrograms>> = {
  fentry: { opened: 'fentry_init', destroyed: 'fentry_destroy' },
  kprobe: { opened: null, destroyed: 'destroy_first' },
  cgroup: { opened: null, destroyed: 'destroy_first' },
};

/** Programs that report failed calls alone: when one is skipped, nobody else brings the errno. */
export const CALL_PROGRAMS = [
  'syscall_exit',
  'fentry_get_port',
  'fentry_bind4',
  'fentry_bind6',
  'fentry_listen',
  'fentry_connect',
  'fentry_socket_call',
] as const;

const LATE_FAILURES = 'connects of other programs that fail after connect() has returned (non-blocking ones)';

const MPTCP =
  'failed calls on MPTCP sockets, and what a process still held of them when it exited (Linux 6.6 and later)';

/** What a set cannot see, in words. */
export const BLIND_SPOTS: Readonly<Record<HookSetName, readonly string[]>> = {
  fentry: [
    LATE_FAILURES,
    MPTCP,
    'calls refused before they reach the socket (by a security module, or for a bad address)',
  ],
  kprobe: [LATE_FAILURES, MPTCP, 'errnos of 32-bit programs and of io_uring requests'],
  cgroup: [
    'sockets that the kernel makes for itself (NFS, ...; those under MPTCP sockets until the next walk of descriptors)',
    'errnos of 32-bit programs and of io_uring requests',
    LATE_FAILURES,
    MPTCP,
  ],
};
