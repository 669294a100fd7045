/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What each fact does to the table, written once over flat values. The hook sets (socktrace.bpf.c) are shims that
 * fetch the values. Every handler is idempotent: a fact may arrive by two programs, since the kernel skips a
 * program that already runs on that CPU (bpf_prog_active of tracing programs, struct bpf_prog.active).
 */
#ifndef SOCKTRACE_HANDLERS_BPF_H
#define SOCKTRACE_HANDLERS_BPF_H

#include "failure.bpf.h"

static __always_inline void stream_event(__u32 type, __u64 sk, const struct socket_row *row, __u8 old_state,
					 __u16 error)
{
	struct event_record *event;

	if (!config.stream_events)
		return;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		table_count(COUNTER_LOSS_EVENT_RING);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->type = type;
	event->tgid = row->owner_tgid;
	event->at_ns = table_now();
	event->sk = sk;
	event->birth_ns = row->birth_ns;
	event->error = error;
	event->local_port = row->local_port;
	event->peer_port = row->peer_port;
	event->family = row->family;
	event->old_state = old_state;
	event->state = row->state;
	/* The tracer polls; a wakeup costs 4-5 us an event. */
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	table_count(COUNTER_EVENTS_SENT);
}

/* The row of a socket that the current task has just been given. */
static __always_inline void fill_row(struct socket_row *row, const struct actor *actor, __u8 family, __u8 state)
{
	row->birth_ns = table_now();
	row->version_ns = row->birth_ns;
	row->owner_start_ns = actor->process.start_ns;
	row->owner_tgid = actor->process.tgid;
	row->netns = actor->netns;
	row->uid = current_uid();
	row->family = family;
	row->state = state;
}

/* In every account that counts ends: of all, of its paths, of whoever opened or accepted it. */
static __always_inline void count_end(const struct socket_row *row)
{
	table_count(COUNTER_TRACKED_DESTROYED);
	paths_ended(row);
	count_for(owner_of(row), destroyed);
}

/*
 * The row belongs to a socket that is gone, though no destroy was seen: its address has been born again, or a
 * descriptor refers to it although the last one had been released.
 */
static __always_inline void forget_stale(__u64 sk, struct socket_row *row)
{
	if (!row->destroyed && !row_has_vanished(row)) {
		count_end(row);
		table_count(COUNTER_DESTROY_UNSEEN);
	}
	row_end_stale(sk, row);
}

/*
 * An sk was made, in the context of its owner: by socket(2), or by the kernel for what the owner asked of it. Only the
 * first of two programs may replace a row that it finds; the second leaves it alone.
 */
static __always_inline void on_open(__u64 sk, __u8 family, const struct actor *actor, bool first)
{
	struct socket_row *stale, row = {};
	struct process_row *process = traced_process(&actor->process);

	if (!process) {
		/* The address may have belonged to a traced socket. */
		stale = first ? table_lookup(sk) : NULL;
		if (stale)
			forget_stale(sk, stale);
		return;
	}
	/* The first program was here, and made the row. */
	if (!first && table_lookup(sk))
		return;
	fill_row(&row, actor, family, TCP_CLOSE);
	row.open_path = current_path(PATH_OPEN);
	if (table_insert(sk, &row)) {
		stale = first ? table_lookup(sk) : NULL;
		if (!stale) {
			/* One that cannot be followed was opened all the same. */
			if (first) {
				count_for(process, opened);
				count_path(row.open_path, COUNT(OPENED), 1);
			}
			return;
		}
		forget_stale(sk, stale);
		if (table_insert(sk, &row))
			return;
	}
	count_for(process, opened);
	count_path(row.open_path, COUNT(OPENED) | COUNT(SOCKETS), 1);
	/* Those that could not be followed are losses, and would be counted again when a walk finds room for them. */
	table_count(COUNTER_TRACKED_OPENED);
	stream_event(EVENT_OPENED, sk, &row, 0, 0);
}

/* State flags that a socket's present state proves. */
static __always_inline void learn_from_state(struct socket_row *row, __u8 state)
{
	if (state == TCP_LISTEN)
		row->ever_listening = 1;
	else if (state == TCP_SYN_SENT)
		row->ever_connecting = 1;
	else if (state != TCP_CLOSE)
		row->ever_established = 1;
}

/* accept(2) gave a traced process the sk of a connection. `state`, `port`: what was read before the call. */
static __always_inline struct socket_row *on_accept(__u64 sk, __u8 family, __u8 state, __u16 port,
						    const struct actor *actor)
{
	struct process_row *process = traced_process(&actor->process);
	struct socket_row *known, row = {};

	if (!process)
		return NULL;
	known = table_lookup(sk);
	if (known && known->released)
		forget_stale(sk, known);
	else if (known && !known->seeded)
		return NULL;
	fill_row(&row, actor, family, state);
	row.open_path = current_path(PATH_ACCEPT);
	row.local_port = port;
	row.accepted = 1;
	row.ever_established = 1;
	if (table_insert(sk, &row)) {
		/* A walk of descriptors saw the descriptor before this did, and took the socket for an older one. */
		known = table_lookup(sk);
		if (!known || !known->seeded)
			return NULL;
		table_discount(known->seeded == TRACING_SEEDS ? COUNTER_TRACKED_SEEDED : COUNTER_TRACKED_ARRIVED);
		known->accepted = 1;
		known->seeded = 0;
		known->open_path = row.open_path;
		row_changed(known);
	}
	table_count(COUNTER_TRACKED_ACCEPTED);
	count_for(process, accepted);
	count_path(row.open_path, COUNT(ACCEPTED) | COUNT(SOCKETS), 1);
	stream_event(EVENT_ACCEPTED, sk, &row, 0, 0);
	return table_lookup(sk);
}

/* A listener's child was cloned, in softirq: the address may have belonged to a traced socket. */
static __always_inline void on_clone(__u64 sk)
{
	struct socket_row *stale = table_lookup(sk);

	if (stale)
		forget_stale(sk, stale);
}

/* A bind(2) has succeeded, and the socket holds `port` (0 with IP_BIND_ADDRESS_NO_PORT). */
static __always_inline void on_bound(__u64 sk, struct socket_row *row, __u16 port)
{
	if (row->ever_bound && row->local_port == port && !row->bind_errno)
		return;
	if (!row->ever_bound)
		count_for(owner_of(row), bound);
	row->local_port = port;
	row->bind_errno = 0;
	row->history_unknown = 0;
	row->ever_bound = 1;
	row_takes_bind_path(row, current_path(PATH_BIND));
	count_paths(row, COUNT(BOUND), 1);
	row_changed(row);
	stream_event(EVENT_BIND, sk, row, row->state, 0);
}

/* `path`: 0 when nobody looked. */
static __always_inline void on_bind_failed(__u64 sk, struct socket_row *row, __u16 error, __u64 path)
{
	stream_event(EVENT_BIND, sk, row, row->state, error);
	if (row->bind_errno == error)
		return;
	row->bind_errno = error;
	row->history_unknown = 0;
	row_takes_bind_path(row, path);
	count_paths(row, COUNT(BIND_FAILED), 1);
	row_changed(row);
}

/* connect(2) has returned an error that is the connect's outcome. `port`: what the socket holds now. */
static __always_inline void on_connect_failed(__u64 sk, struct socket_row *row, __u16 error, __u16 port)
{
	stream_event(EVENT_CONNECT, sk, row, row->state, error);
	if (row->state != TCP_CLOSE)
		return;
	if (row->ever_connecting && row->connect_errno == error && row->local_port == port)
		return;
	row->connect_errno = error;
	row->local_port = port;
	row->history_unknown = 0;
	row->ever_connecting = 1;
	count_paths(row, COUNT(CONNECT_FAILED), 1);
	row_changed(row);
}

/* A non-blocking connect failed after connect(2) had returned. Counted once: the flag is taken back. */
static __always_inline void on_late_connect_failure(struct socket_row *row)
{
	struct process_key process = { .start_ns = row->owner_start_ns, .tgid = row->owner_tgid };
	struct process_row *known = bpf_map_lookup_elem(&processes, &process);

	row->connect_pending = 0;
	if (!row->connect_errno || row->late_failure)
		return;
	row->late_failure = 1;
	count_paths(row, COUNT(CONNECT_FAILED), 1);
	count_failure_of(process, true, FAILED_CONNECT, row->connect_errno, FAILURE_ASYNCHRONOUS, row->netns, row->uid,
			 known ? known->comm : NULL, row->connect_path);
}

/* connect(2) returned EINPROGRESS. Over loopback the outcome may be there already. */
static __always_inline void on_connect_pending(struct socket_row *row)
{
	row->connect_path = current_path(PATH_CONNECT);
	row->connect_pending = 1;
	barrier();
	if (row->state == TCP_CLOSE && row->ever_connecting)
		on_late_connect_failure(row);
}

/* listen(2) failed: the kernel passed through LISTEN on the way (inet_csk_listen_start). */
static __always_inline void on_listen_failed(__u64 sk, struct socket_row *row, __u16 error)
{
	stream_event(EVENT_LISTEN, sk, row, row->state, error);
	if (row->state != TCP_CLOSE || !row->ever_listening)
		return;
	row->ever_listening = 0;
	discount_for(owner_of(row), listened);
	count_paths(row, COUNT(LISTENED), -1);
	row_changed(row);
}

/* Copies the addresses and the peer's port from a sock that BTF knows: no probe reads. */
static __always_inline void fill_endpoints(struct socket_row *row, const struct sock *sk)
{
	__be32 *local = (__be32 *)row->local_address, *peer = (__be32 *)row->peer_address;
	const struct sock_common *common = &sk->__sk_common;

	row->peer_port = bpf_ntohs(common->skc_dport);
	if (row->family == AF_INET) {
		local[0] = common->skc_rcv_saddr;
		peer[0] = common->skc_daddr;
		return;
	}
	local[0] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[0];
	local[1] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[1];
	local[2] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[2];
	local[3] = common->skc_v6_rcv_saddr.in6_u.u6_addr32[3];
	peer[0] = common->skc_v6_daddr.in6_u.u6_addr32[0];
	peer[1] = common->skc_v6_daddr.in6_u.u6_addr32[1];
	peer[2] = common->skc_v6_daddr.in6_u.u6_addr32[2];
	peer[3] = common->skc_v6_daddr.in6_u.u6_addr32[3];
}

/*
 * The state changes to `new`. At the tracepoint sk_state is still the old one, but at CLOSE the port has already
 * been put back, so skc_num is what the socket goes on holding.
 */
static __always_inline void on_state(const struct sock *sk, struct socket_row *row, __u8 old, __u8 new)
{
	__u16 sk_err = sk->sk_err;
	struct process_row *process;

	if (row->state == new) /* the other program was here */
		return;
	/* Before the state, so that nobody takes the new one for old (leaks_at_exit); and the errno, for on_connect_pending. */
	row_changed(row);
	if (new == TCP_CLOSE && old == TCP_SYN_SENT &&sk_err)
		row->connect_errno = sk_err;
	barrier();
	row->state = new;
	/* What a process exited with is told as it was then. */
	if (!row->held_at_exit)
		row->local_port = sk->__sk_common.skc_num;
	row->history_unknown = 0;
	switch (new) {
	case TCP_SYN_SENT:
		row->ever_connecting = 1;
		row->connect_errno = 0;
		row->connect_pending = 0;
		row->late_failure = 0;
		break;
	case TCP_ESTABLISHED:
		row->ever_established = 1;
		row->connect_pending = 0;
		row->connect_errno = 0;
		if (old == TCP_SYN_SENT) {
			process = owner_of(row);
			count_for(process, connected);
			count_paths(row, COUNT(CONNECTED), 1);
		}
		break;
	case TCP_LISTEN:
		row->ever_listening = 1;
		process = owner_of(row);
		count_for(process, listened);
		count_paths(row, COUNT(LISTENED), 1);
		break;
	case TCP_CLOSE:
		if (old != TCP_SYN_SENT && old != TCP_LISTEN)
			row->socket_errno = sk_err;
		break;
	}
	if (new == TCP_SYN_SENT || new == TCP_ESTABLISHED || new == TCP_LISTEN)
		fill_endpoints(row, sk);
	if (new == TCP_CLOSE && old == TCP_SYN_SENT && row->connect_pending)
		on_late_connect_failure(row);
	row_changed(row);
	stream_event(EVENT_STATE, (__u64)sk, row, old, sk_err);
}

/*
 * Whether a task that exits leaks what it leaves to exit(2) to close. A connection that the peer has only just ended
 * is no leak: a process that serves one connection exits upon its end.
 */
static __always_inline bool leaks_at_exit(const struct socket_row *row, const struct actor *actor)
{
	__u8 state = READ_ONCE(row->state);
	bool was_used = state == TCP_CLOSE_WAIT || row->ever_established || row->ever_listening;
	__u64 version, now;

	if (!(actor->flags & PF_EXITING) || !state_is_wasteful(state))
		return false;
	barrier();
	version = READ_ONCE(row->version_ns);
	now = table_now();
	return !was_used || (now > version && now - version >= config.min_age_ns);
}

/* The last descriptor is gone (inet_release), in the context of whoever closed it. */
static __always_inline void on_release(__u64 sk, struct socket_row *row)
{
	struct actor actor;
	bool leaks;

	if (row->released)
		return;
	actor = current_actor();
	leaks = leaks_at_exit(row, &actor);
	row->release_state = row->state;
	row->released = 1;
	/* Last: a reader takes it as terminal, so whatever it is copied with must be complete. */
	barrier();
	row->held_at_exit = leaks;
	/* In CLOSE the destroy follows at once, and is the change of both. */
	if (leaks || row->release_state != TCP_CLOSE)
		row_changed(row);
	stream_event(EVENT_RELEASED, sk, row, row->state, 0);
}

static __always_inline void on_destroy(__u64 sk)
{
	struct socket_row *row = table_lookup(sk);

	if (!row || row->destroyed)
		return;
	if (!row_has_vanished(row))
		count_end(row);
	stream_event(EVENT_DESTROYED, sk, row, row->state, 0);
	row_end(sk, row);
}

#endif
