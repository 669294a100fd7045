/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What a census brings to user space: every TCP sock of the host that can be reached without having been traced.
 * As in records.h, the addon exports the layout, and TypeScript refuses to decode another one.
 */
#ifndef SOCKTRACE_CENSUS_RECORDS_H
#define SOCKTRACE_CENSUS_RECORDS_H

#include <linux/types.h>

/* By which ways a sock was reached; bits. */
enum census_way {
	BY_DESCRIPTOR = 1,   /* a process has it open */
	BY_HASH = 2,         /* the tables that /proc/net/tcp and ss show */
	BY_ACCEPT_QUEUE = 4, /* not yet accepted, and in no table any more: reset by its peer */
	BY_FLIGHT = 8,       /* sent over a unix socket and not received */
	BY_IO_URING = 16,    /* a fixed file of an io_uring */
};

enum census_flag {
	CENSUS_DEAD = 1,          /* SOCK_DEAD: its socket has been closed */
	CENSUS_HAS_SOCKET = 2,    /* sk_socket */
	CENSUS_HAS_FILE = 4,      /* sk_socket->file */
	CENSUS_WAS_CONNECTED = 8, /* since it was opened or disconnected */
};

struct census_row {
	__u64 inode;     /* of its socket, 0 when it has no file */
	__u64 via_inode; /* of the unix socket or io_uring by which it was reached */
	__u64 via_sk;    /* the listener in whose queue it waits */
	__u64 active_us; /* CLOCK_MONOTONIC of its last segment (tcp_mstamp), 0 for none */
	__u64 bytes_received;
	__u64 bytes_acked;
	__u32 segments_out;  /* 0: not even a SYN, since it was opened or disconnected */
	__u32 netns;         /* inode number */
	__u32 uid;           /* in the initial user namespace */
	__u32 receive_queue; /* bytes not read; of a listener, connections not accepted */
	__u32 send_queue;    /* bytes not acknowledged; of a listener, the longest its queue may get */
	__u32 memory;        /* bytes of buffers charged to it */
	__u16 local_port;    /* the port it holds, 0 for none */
	__u16 stale_port;    /* the port that getsockname(2) shows */
	__u16 peer_port;
	__u16 error; /* sk_err */
	__u8 family;
	__u8 state;
	__u8 ways;
	__u8 flags;
	__u8 padding[4];
	__u8 local_address[16]; /* v4 in the first four bytes */
	__u8 peer_address[16];
};

struct census_record {
	__u64 sk;
	struct census_row row;
};

/* One descriptor of one process. MPTCP: `sk` is the first TCP sock under it; others share the inode. */
struct census_descriptor {
	__u64 sk;
	__u64 inode;
	__u64 start_ns; /* of the holder's thread group leader, CLOCK_BOOTTIME */
	__u32 tgid;
	__u32 fd;
};

/* TIME_WAIT and NEW_SYN_RECV: no sock, not in `alloc`, but the first holds a port. */
struct census_minisock {
	__u32 netns;
	__u16 local_port;
	__u16 peer_port;
	__u8 family;
	__u8 state;
	__u8 padding[6];
	__u8 local_address[16];
	__u8 peer_address[16];
};

enum census_counter {
	CENSUS_LOSS_TABLE,      /* socks that the table did not take */
	CENSUS_LOSS_UNIX_QUEUE, /* queues of unix sockets that were not read to their end */
	CENSUS_LOSS_IO_URING,   /* io_urings with more fixed files than are looked at */
	CENSUS_LOSS_ACCEPT,     /* accept queues that were not read to their end */
	CENSUS_MPTCP_BARE,      /* descriptors of MPTCP sockets without a TCP sock */
	CENSUS_COUNTER_COUNT,
};

#endif
