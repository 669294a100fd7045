/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Every record and constant that crosses kernel -> native -> TypeScript.
 *
 * Compiled by the BPF programs (C) and by the addon (C++17). The addon exports the sizes and offsets of these
 * structs, and src/kernel/layout.ts refuses to decode when they differ from what it expects.
 * Times are CLOCK_MONOTONIC nanoseconds unless a name says otherwise. Ports are in host byte order.
 */
#ifndef SOCKTRACE_RECORDS_H
#define SOCKTRACE_RECORDS_H

#include <linux/types.h>

#include "callpath_records.h"

#define SOCKTRACE_COMM_LENGTH 16

/* Marks the pid of a process that is not in the tracer's pid namespace: it is that of the initial one. Pids have 22 bits. */
#define SOCKTRACE_PID_OUTSIDE 0x80000000U

/*
 * One row of the socket table. bpf/PROTOCOL.md says who writes which field, and when.
 * Facts are bytes of their own, not bits of one word: hooks on two CPUs may write two of them at once, and a
 * read-modify-write of a shared word would lose one (atomic OR needs 5.12).
 */
struct socket_row {
	__u64 birth_ns;       /* with the sk address: the socket's identity */
	__u64 version_ns;     /* time of the last change: written by hooks, after the facts */
	__u64 sent_ns;        /* version last given to user space, 0 for never: written by the sweep only */
	__u64 owner_start_ns; /* start_boottime of the owner's thread group leader */
	__u32 owner_tgid;     /* who opened or accepted it; for a seeded socket, who was seen to hold it */
	__u32 netns;          /* inode number of its network namespace */
	__u32 uid;            /* in the initial user namespace */
	__u16 local_port;     /* the port it holds, 0 for none */
	__u16 peer_port;
	__u16 bind_errno;     /* of the last bind(2), 0 when it succeeded or none was made */
	__u16 connect_errno;  /* of the last connect, synchronous or not */
	__u16 socket_errno;   /* sk_err at the last fall to CLOSE after having been established */
	__u8 family;          /* AF_INET or AF_INET6 */
	__u8 state;           /* TCP_ESTABLISHED.. of the kernel */
	__u8 release_state;   /* state when the last descriptor went, 0 before */
	__u8 ever_bound;      /* a bind(2) succeeded */
	__u8 ever_connecting; /* a connect(2) was tried, even one that failed before a SYN */
	__u8 ever_established;
	__u8 ever_listening;
	__u8 accepted;        /* came from accept(2), not from socket(2) */
	__u8 seeded;          /* first seen by a walk of descriptors: the tracing_phase of that moment, else 0 */
	__u8 history_unknown; /* seeded in CLOSE, and nothing seen to happen to it since */
	__u8 released;        /* the last descriptor is gone */
	__u8 held_at_exit;    /* released by an exiting task, in a wasteful state */
	__u8 connect_pending; /* connect(2) answered EINPROGRESS and the outcome is still open */
	__u8 late_failure;    /* that outcome was counted, and the next connect(2) will only repeat it */
	__u8 destroyed;       /* tcp_v4_destroy_sock has run: terminal */
	__u8 padding[3];
	__u8 local_address[16]; /* v4 in the first four bytes */
	__u8 peer_address[16];
	__u64 fence; /* target of the full barrier between `destroyed` and `sent_ns` */
	/* The birth whose sock was found freed although no destroy was seen. Its own field: equal to birth_ns or stale. */
	__u64 vanished_ns;
	/*
	 * References of call paths (PATH_REF_*): of the open or accept, of the bind that succeeded or first met bind_errno, of
	 * the last connect not done at once.
	 */
	__u64 open_path;
	__u64 bind_path;
	__u64 connect_path;
};

/* What the sweep of the socket table and the drain of the ended table emit. */
struct socket_record {
	__u64 sk;
	struct socket_row row;
};

/* Key of the ended table: an identity, never reused, so a drained entry can be deleted by key safely. */
struct socket_identity {
	__u64 sk;
	__u64 birth_ns;
};

/* One descriptor that refers to a tracked socket, from the task_file iterator. */
struct holder_record {
	__u64 sk;
	__u64 birth_ns;
	__u64 start_ns; /* of the holder's thread group leader, CLOCK_BOOTTIME */
	__u32 tgid;
	__u32 fd;
	__u64 inode;
	__u64 bytes_received;
	__u64 bytes_acked;
	__u32 receive_queue; /* bytes the owner has not read */
	__u32 send_queue;    /* bytes the peer has not acknowledged */
};

struct process_key {
	__u64 start_ns; /* start_boottime of the thread group leader: CLOCK_BOOTTIME */
	__u32 tgid;
	__u32 padding;
};

/* A traced process and what it did while traced. */
struct process_row {
	__u64 version;   /* changes so far, but for those that the counts show (changes_of) */
	__u64 sent;      /* changes last given to user space: written by the sweep only */
	__u64 exited_ns; /* CLOCK_MONOTONIC, 0 while alive */
	__u64 opened;
	__u64 accepted;
	__u64 bound;
	__u64 connected; /* connects that established */
	__u64 listened;
	__u64 destroyed;
	__u32 parent_tgid; /* 0 when it was selected by pid */
	__u32 execs;
	char comm[SOCKTRACE_COMM_LENGTH];
	struct code_identity code;
};

struct process_record {
	struct process_key key;
	struct process_row row;
};

enum failed_operation {
	FAILED_SOCKET = 1,
	FAILED_BIND = 2,
	FAILED_CONNECT = 3,
	FAILED_LISTEN = 4,
	FAILED_ACCEPT = 5,
};

/* What else the cause of a failure hangs on. */
enum failure_detail {
	FAILURE_PLAIN = 0,
	FAILURE_PORT_ZERO = 1,    /* bind(2) asked for any port */
	FAILURE_PORT_GIVEN = 2,   /* bind(2) asked for one port */
	FAILURE_PORT_UNREAD = 3,  /* the sockaddr could not be read */
	FAILURE_UNBOUND = 4,      /* connect(2), listen(2) on a socket without a port */
	FAILURE_BOUND = 5,        /* the same on a socket that had one */
	FAILURE_ASYNCHRONOUS = 6, /* a non-blocking connect that failed later */
};

struct failure_key {
	__u64 start_ns;
	__u32 tgid;
	__u16 error; /* errno, positive */
	__u8 operation;
	__u8 detail;
};

/* A row of a process that nobody traces goes when it has been quiet for a while; first_ns tells its lives apart. */
struct failure_row {
	__u64 count;
	__u64 sent_count; /* written by the drain only */
	__u64 first_ns;
	__u64 last_ns;
	__u64 path; /* of the last of them that has one */
	__u32 netns;
	__u32 uid;
	char comm[SOCKTRACE_COMM_LENGTH];
};

struct failure_record {
	struct failure_key key;
	struct failure_row row;
};

enum event_type {
	EVENT_OPENED = 1,
	EVENT_ACCEPTED = 2,
	EVENT_BIND = 3,
	EVENT_CONNECT = 4,
	EVENT_LISTEN = 5,
	EVENT_STATE = 6,
	EVENT_RELEASED = 7,
	EVENT_DESTROYED = 8,
};

/* One change of one socket, for the strace-like view. This stream may lose (counted); the tables do not. */
struct event_record {
	__u32 type; /* enum event_type: each ring record begins with its type */
	__u32 tgid; /* of the socket's owner */
	__u64 at_ns;
	__u64 sk;
	__u64 birth_ns;
	__u16 error; /* errno, positive; 0 for success */
	__u16 local_port;
	__u16 peer_port;
	__u8 family;
	__u8 old_state;
	__u8 state;
	__u8 padding[7];
};

/* What the one switch says; 0 is off. */
enum tracing_phase {
	TRACING_SEEDS = 1, /* what a walk of descriptors finds existed before */
	TRACING_GOES_ON = 2,
};

/* What processes are selected by; a process that any selector matches is traced from then on. */
enum selector_type {
	SELECT_COMM = 1,   /* value: the name, padded with zeros */
	SELECT_CGROUP = 2, /* value: id of the cgroup or of an ancestor, 64 bits */
	SELECT_NETNS = 3,  /* value: inode number, 32 bits */
	SELECT_USER = 4,   /* value: effective uid in the initial user namespace, 32 bits */
};

#define SELECTOR_VALUE_LENGTH SOCKTRACE_COMM_LENGTH

struct selector {
	__u64 type; /* enum selector_type */
	__u8 value[SELECTOR_VALUE_LENGTH];
};

/* What the tracer decides before loading; constants to the programs, so what is off is not even compiled in. */
struct tracer_config {
	__u64 min_age_ns;
	__u8 follow_children;
	__u8 count_victims; /* failures of every process, not only of traced ones */
	__u8 stream_events;
	__u8 call_paths;
	__u8 every_stack;  /* neither cache nor budget: the benchmark's measure of a capture */
	__u8 select_all;   /* every process but the tracer's own */
	__u8 select_types; /* 1 << enum selector_type: those that `selectors` may have */
	__u8 nested_pids;  /* the tracer is in a pid namespace of its own */
	__u32 tracer_tgid; /* its own process, which no selector matches */
	__u32 padding2;
};

/* Per-CPU counters. Those of the host count every TCP socket, traced or not. */
enum counter {
	COUNTER_HOST_OPENED,
	COUNTER_HOST_CLONED,
	COUNTER_HOST_DESTROYED,
	COUNTER_TRACKED_OPENED,
	COUNTER_TRACKED_ACCEPTED,
	COUNTER_TRACKED_SEEDED,
	COUNTER_TRACKED_ARRIVED, /* first seen by a later walk: passed in, or accepted where no hook looks */
	COUNTER_TRACKED_DESTROYED,
	COUNTER_SOCKETS_SENT, /* records that the sweep emitted */
	COUNTER_ENDED_SENT,
	COUNTER_EVENTS_SENT,
	COUNTER_STALE_ROW_REPLACED, /* a row was still there when its address was born again */
	COUNTER_DESTROY_UNSEEN,     /* traced sockets whose end no program saw, found by its consequences */
	COUNTER_MPTCP_HELD,         /* descriptors of MPTCP sockets that the walks saw in traced processes */
	COUNTER_CONFIRM_REPAIRED,   /* the confirm pass found a state or port that no hook had reported */
	COUNTER_PATHS_SAMPLED,      /* whole stacks given to the unwinder */
	COUNTER_PATHS_CACHED,       /* stacks that the cache of verified paths knew */
	COUNTER_PATHS_NOT_SAMPLED,  /* stacks over the budget of captures */
	COUNTER_LOSS_FIRST,
	COUNTER_LOSS_SOCKET_TABLE_FULL = COUNTER_LOSS_FIRST,
	COUNTER_LOSS_SOCKET_INSERT, /* EBUSY or ENOMEM of the socket table */
	COUNTER_LOSS_SOCKET_DELETE,
	COUNTER_LOSS_ENDED_PARK, /* the ended table refused a row: it stays, marked destroyed */
	COUNTER_LOSS_PROCESS_TABLE,
	COUNTER_LOSS_FAILURE_TABLE,
	COUNTER_LOSS_VICTIM_TABLE,
	COUNTER_LOSS_EVENT_RING,
	COUNTER_LOSS_SOCKADDR_UNREAD,
	COUNTER_LOSS_STACK_RING,
	COUNTER_LOSS_PATH_TABLE, /* sockets that are missing in the counts of their path */
	COUNTER_COUNT,
};

/* All of them in one entry: one call reads them as of (nearly) one instant. */
struct counter_values {
	__u64 values[COUNTER_COUNT];
};

/*
 * Tables in which something may have changed since the tracer last looked. A hint that saves walks, written by hooks and
 * taken back by the tracer with nothing to keep them in order: it may be lost, and PROTOCOL.md says why that is harmless.
 */
enum news {
	NEWS_SOCKETS,
	NEWS_ENDED,
	NEWS_PROCESSES,
	NEWS_FAILURES,
	NEWS_VICTIMS,
	NEWS_PATHS,
	NEWS_COUNT,
};

#endif
