/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* What the results of bind, connect, listen and accept tell, written once over flat values. */
#ifndef SOCKTRACE_CALLS_BPF_H
#define SOCKTRACE_CALLS_BPF_H

#include "handlers.bpf.h"

/* errno numbers of every architecture that socktrace knows (include/uapi/asm-generic/errno.h) */
#define EINTR 4
#define EAGAIN 11
#define EADDRINUSE 98
#define EALREADY 114
#define EINPROGRESS 115
#define ERESTARTSYS 512 /* this and those above never reach the caller */

/* A sock as a hook at the end of a call sees it. */
struct socket_now {
	__u64 sk;
	__u8 family;
	__u8 state;
	__u16 port;       /* held now */
	__u16 stale_port; /* held now or before its last connect failed */
};

static __always_inline bool is_outcome(long result)
{
	return result < 0 && result > -ERESTARTSYS && result != -EINTR && result != -EAGAIN && result != -EALREADY &&
	       result != -EINPROGRESS;
}

/* `path`: of a failed bind, 0 when nobody looked. */
static __always_inline void bind_returned(const struct socket_now *now, long result, __u64 path)
{
	struct socket_row *row = table_lookup(now->sk);

	if (!row)
		return;
	/* With IP_BIND_ADDRESS_NO_PORT nothing else tells of success: the port is left to connect(2). */
	if (result)
		on_bind_failed(now->sk, row, -result, path);
	else
		on_bound(now->sk, row, now->port);
}

static __always_inline void connect_returned(const struct actor *actor, const struct socket_now *now, long result)
{
	struct socket_row *row = table_lookup(now->sk);

	if (result == -EINPROGRESS && row)
		on_connect_pending(row);
	if (!is_outcome(result))
		return;
	/* The way to ask for the outcome of a non-blocking connect: it has been counted when it happened. */
	if (row && row->late_failure) {
		row->late_failure = 0;
		return;
	}
	/* connect(2) leaves inet_sport alone when it finds no port, and a bind before has set it. */
	count_failure(actor, FAILED_CONNECT, -result, now->stale_port ? FAILURE_BOUND : FAILURE_UNBOUND,
		      path_of_failure(actor, PATH_CONNECT));
	if (row)
		on_connect_failed(now->sk, row, -result, now->port);
}

static __always_inline void listen_returned(const struct actor *actor, const struct socket_now *now, long result)
{
	struct socket_row *row = table_lookup(now->sk);

	if (result)
		count_failure(actor, FAILED_LISTEN, -result, now->port ? FAILURE_BOUND : FAILURE_UNBOUND,
			      PATH_REF_NONE);
	if (!row)
		return;
	if (result) {
		on_listen_failed(now->sk, row, -result);
	} else if (row->local_port != now->port && row->state == TCP_LISTEN) {
		/* An unbound listener gets its port after the change of state. */
		row->local_port = now->port;
		row_changed(row);
	}
}

static __always_inline void accept_failed(const struct actor *actor, long result)
{
	if (is_outcome(result))
		count_failure(actor, FAILED_ACCEPT, -result, FAILURE_PLAIN, PATH_REF_NONE);
}

/* The state changed after the accepted sock had been read in `seen_state`, and before it had a row. */
static __always_inline void missed_after_accept(const struct socket_now *now, __u8 seen_state)
{
	struct socket_row *row = table_lookup(now->sk);

	if (!row || row->state != seen_state)
		return;
	row->state = now->state;
	row->local_port = now->port;
	row_changed(row);
}

/* socket(2) failed; `type` and `protocol` as it was asked for. */
static __always_inline void socket_failed(const struct actor *actor, __u64 family, __u64 type, __u64 protocol,
					  long result)
{
	if ((family == AF_INET || family == AF_INET6) && (type & SOCK_TYPE_MASK) == SOCK_STREAM &&
	    (!protocol || protocol == IPPROTO_TCP))
		count_failure(actor, FAILED_SOCKET, -result, FAILURE_PLAIN, path_of_failure(actor, PATH_OPEN));
}

#endif
