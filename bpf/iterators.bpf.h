/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Iterators: the way everything reaches user space. They write to the reader by bpf_seq_write, which has its own
 * back-pressure: an element that does not fit is shown again at the next read, so a program must change state only
 * after the write succeeded.
 */
#ifndef SOCKTRACE_ITERATORS_BPF_H
#define SOCKTRACE_ITERATORS_BPF_H

#include "handlers.bpf.h"

#define MAX_ANCESTORS 32

/* Rows that user space should know of. */
SEC("iter/bpf_map_elem")
int sweep_sockets(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_record record;
	struct socket_row *row = ctx->value;
	__u64 *sk = ctx->key, previous;

	if (!sk || !row || !row_claim(*sk, row, &record, table_now(), config.min_age_ns, &previous))
		return 0;
	if (bpf_seq_write(ctx->meta->seq, &record, sizeof(record))) {
		row_unclaim(row, previous);
		return 0;
	}
	table_count(COUNTER_SOCKETS_SENT);
	return 0;
}

/* Emptied as it is read: its keys are identities, which no later socket shares. */
SEC("iter/bpf_map_elem")
int drain_ended(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_identity *identity = ctx->key, key;
	struct socket_row *row = ctx->value;
	struct socket_record record;

	if (!identity || !row)
		return 0;
	key = *identity;
	record.sk = key.sk;
	record.row = *row;
	/* The element may have been given to another entry while it was copied: that one comes by itself. */
	if (record.row.birth_ns != key.birth_ns)
		return 0;
	if (bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;
	if (bpf_map_delete_elem(&ended, &key))
		table_count(COUNTER_LOSS_SOCKET_DELETE);
	table_count(COUNTER_ENDED_SENT);
	return 0;
}

/*
 * Rows whose sock has been freed without a destroy that any program saw: a program may be skipped uncounted (kernels
 * that run none in the context of protected tasks). Counted once, and told as ended if user space knows of it; the row
 * itself stays until its address is born again, since nobody could delete it here without racing with that.
 */
SEC("iter/bpf_map_elem")
int sweep_vanished(struct bpf_iter__bpf_map_elem *ctx)
{
	struct socket_row *row = ctx->value;
	struct socket_record record;
	__u64 *sk = ctx->key;

	if (!sk || !row || row->destroyed || row_has_vanished(row))
		return 0;
	record.sk = *sk;
	if (table_lookup(record.sk) != row)
		return 0;
	record.row = *row;
	/* The row of this birth stands before and after: it is this birth's sock that is free. */
	if (!sock_is_free(record.sk) || table_lookup(record.sk) != row || row->birth_ns != record.row.birth_ns)
		return 0;
	record.row.destroyed = 1;
	if ((row->sent_ns || row->held_at_exit) && bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;
	/* Of this birth only: should the element be another socket's by now, it means nothing there. */
	WRITE_ONCE(row->vanished_ns, record.row.birth_ns);
	count_end(&record.row);
	table_count(COUNTER_DESTROY_UNSEEN);
	return 0;
}

/* Processes whose counters moved. One that has exited goes once its descriptors have had time to be closed. */
SEC("iter/bpf_map_elem")
int sweep_processes(struct bpf_iter__bpf_map_elem *ctx)
{
	struct process_row *row = ctx->value;
	struct process_key *key = ctx->key, identity;
	struct process_record record;
	__u64 version, now = table_now();
	bool gone;

	if (!key || !row)
		return 0;
	version = changes_of(row);
	barrier();
	/* Another CPU may have stored a time later than `now`. */
	gone = row->exited_ns && now > row->exited_ns && now - row->exited_ns > 1000 * SETTLE_NS;
	if (version == row->sent && !gone)
		return 0;
	identity = *key;
	record.key = identity;
	record.row = *row;
	if (bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;
	WRITE_ONCE(row->sent, version);
	if (gone)
		forget_process(&identity);
	return 0;
}

/*
 * What became of each path's sockets, where that changed. A reference that no row and no cache names can get no more
 * counts, and goes.
 */
SEC("iter/bpf_map_elem")
int sweep_paths(struct bpf_iter__bpf_map_elem *ctx)
{
	struct path_row *row = ctx->value;
	struct path_record record = {};
	__u64 *ref = ctx->key, version, now = table_now();

	if (!ref || !row)
		return 0;
	version = READ_ONCE(row->version);
	barrier();
	record.ref = *ref;
	/* Another CPU may have stored a time later than `now`. A capture that is young may be on its way to its row. */
	record.gone = record.ref >= PATH_REF_FIRST && row->counts[PATH_SOCKETS] == row->counts[PATH_ENDED] &&
		      now > row->changed_ns && now - row->changed_ns > 1000 * SETTLE_NS &&
		      !bpf_map_lookup_elem(&verified_paths, &record.ref);
	if (version == row->sent && !record.gone)
		return 0;
	record.row = *row;
	if (bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;
	WRITE_ONCE(row->sent, version);
	if (record.gone)
		bpf_map_delete_elem(&paths, &record.ref);
	return 0;
}

/* Whether there was news; what was written to the reader is marked as sent. */
static __always_inline bool send_failure(struct bpf_iter__bpf_map_elem *ctx, const struct failure_key *key,
					 struct failure_row *row)
{
	struct failure_record record;
	__u64 count = READ_ONCE(row->count);

	if (count == row->sent_count)
		return false;
	record.key = *key;
	record.row = *row;
	record.row.count = count;
	if (!bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		row->sent_count = count;
	return true;
}

SEC("iter/bpf_map_elem")
int sweep_failures(struct bpf_iter__bpf_map_elem *ctx)
{
	struct failure_row *row = ctx->value;
	struct failure_key *key = ctx->key;

	if (key && row)
		send_failure(ctx, key, row);
	return 0;
}

/* Any number of programs may fail and end while a trace goes on: what has been quiet for QUIET_NS and is sent goes. */
#define QUIET_NS 30000000000ULL

SEC("iter/bpf_map_elem")
int sweep_victims(struct bpf_iter__bpf_map_elem *ctx)
{
	struct failure_row *row = ctx->value;
	struct failure_key *key = ctx->key, identity;
	__u64 last, now;

	if (!key || !row || send_failure(ctx, key, row))
		return 0;
	last = READ_ONCE(row->last_ns);
	now = table_now();
	if (now < last || now - last < QUIET_NS)
		return 0;
	identity = *key;
	bpf_map_delete_elem(&victims, &identity);
	return 0;
}

/* The unit of /proc/PID/stat: USER_HZ is 100 everywhere. */
#define NS_PER_TICK 10000000ULL

static __always_inline bool is_wanted(const struct task_struct *task)
{
	__u32 tgid = tgid_of(task);
	__u64 *start_ticks = bpf_map_lookup_elem(&wanted, &tgid);

	return start_ticks && *start_ticks == task->group_leader->start_boottime / NS_PER_TICK;
}

static __always_inline bool is_traced(const struct task_struct *task)
{
	struct process_key key = process_key_of(task);

	return traced_process(&key);
}

/*
 * Turns the processes in `wanted` and those that are selected, and with follow_children the descendants of what is
 * traced, into traced identities. Walked again and again it takes up what came to match without a fork or exec: a
 * move to another cgroup or namespace, another user.
 */
SEC("iter/task")
int select_processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *ancestor = task;
	int depth;

	if (config.nested_pids && !tracers_view.level)
		tracers_view = view_of_current();
	/* An end that has been seen stays one. */
	if (!task || task->pid != task->tgid || whole_process_exits(task) || is_traced(task))
		return 0;
	if (is_selected(task)) {
		trace_process(task, 0, NULL);
		return 0;
	}
	/* Unrolled: Linux 6.1 takes the way back from a helper call for an endless loop. */
#pragma clang loop unroll(full)
	for (depth = 0; depth < MAX_ANCESTORS; depth++) {
		if (is_wanted(ancestor) || (depth && is_traced(ancestor)))
			break;
		/* What the tracer starts for itself is no descendant of what it traces. */
		if (!config.follow_children || ancestor->tgid <= 1 || tgid_of(ancestor) == config.tracer_tgid)
			return 0;
		ancestor = ancestor->real_parent;
	}
	if (depth < MAX_ANCESTORS)
		trace_process(task, depth ? tgid_of(task->real_parent) : 0, NULL);
	return 0;
}

/* The TCP sock behind a descriptor, by typed loads (`sk`) or, where there is no typed way to it, by its address alone. */
struct found_socket {
	__u64 address;
	struct sock *sk;
	__u8 state;
	__u16 port;
};

static __always_inline bool is_inet(__u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool find_typed(struct sock *sk, struct found_socket *found)
{
	if (sk->sk_protocol != IPPROTO_TCP || !is_inet(sk->__sk_common.skc_family))
		return false;
	found->address = (__u64)sk;
	found->sk = sk;
	found->state = sk->__sk_common.skc_state;
	found->port = sk->__sk_common.skc_num;
	return true;
}

static __always_inline bool find_probed(__u64 address, struct found_socket *found)
{
	const struct sock *sk = (const void *)address;

	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP || !is_inet(BPF_CORE_READ(sk, __sk_common.skc_family)))
		return false;
	found->address = address;
	found->sk = NULL;
	found->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	found->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	return true;
}

/*
 * What a descriptor of an MPTCP socket stands for is the TCP socket under it: that is what is allocated, bound and
 * counted. Newer kernels make it with bind, listen or connect only.
 */
static __always_inline bool find_under_mptcp(__u64 address, struct found_socket *found)
{
	const struct mptcp_sock *mptcp = (const void *)address;
	const struct sock *first;

	if (!bpf_core_field_exists(mptcp->first))
		return false;
	first = BPF_CORE_READ(mptcp, first);
	return first && find_probed((__u64)first, found);
}

/* `probes`: reads of untyped memory are permitted. */
static __always_inline bool find_socket(struct file *file, const struct process_key *holder, bool probes,
					struct found_socket *found)
{
	const struct sock *untyped;
	struct socket *socket;
	__u16 protocol;
	__u64 address;

	if (HAS_HELPER(sock_from_file)) {
		socket = bpf_sock_from_file(file);
		if (!socket || !socket->sk)
			return false;
		if (find_typed(socket->sk, found))
			return true;
		protocol = socket->sk->sk_protocol;
		address = (__u64)socket->sk;
	} else if (probes) {
		address = socket_of_file(file);
		if (!address)
			return false;
		if (find_probed(address, found))
			return true;
		untyped = (const void *)address;
		protocol = BPF_CORE_READ(untyped, sk_protocol);
	} else {
		return false;
	}
	if (protocol != IPPROTO_MPTCP)
		return false;
	if (probes && find_under_mptcp(address, found))
		return true;
	if (traced_process(holder))
		table_count(COUNTER_MPTCP_HELD);
	return false;
}

/* What a connection's own counters tell of its past: since it was opened or disconnected. */
struct past {
	__u64 active_us;
	bool connected;
	bool sent; /* a SYN at least */
	__u16 error;
};

static __always_inline struct past past_of(const struct found_socket *found, bool probes)
{
	const struct sock *sk = (const void *)found->address;
	struct past past = {};
	struct tcp_sock *tcp;

	if (found->sk) {
		tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(found->sk);
		if (!tcp)
			return past;
		past.active_us = tcp->tcp_mstamp;
		past.connected = was_connected(tcp->bytes_received, tcp->bytes_acked, tcp->segs_out, tcp->rcv_nxt);
		past.sent = tcp->segs_out;
		past.error = found->sk->sk_err;
	} else if (probes) {
		tcp = (void *)found->address;
		past.active_us = BPF_CORE_READ(tcp, tcp_mstamp);
		past.connected = was_connected(BPF_CORE_READ(tcp, bytes_received), BPF_CORE_READ(tcp, bytes_acked),
					       BPF_CORE_READ(tcp, segs_out), BPF_CORE_READ(tcp, rcv_nxt));
		past.sent = BPF_CORE_READ(tcp, segs_out);
		past.error = BPF_CORE_READ(sk, sk_err);
	}
	return past;
}

/*
 * As a census takes it (src/accounting/remembered.ts): what a socket in CLOSE was, and that nothing has happened to it, or
 * to one in CLOSE_WAIT, since its last segment.
 */
static __always_inline void learn_from_past(struct socket_row *row, const struct past *past)
{
	if (row->state == TCP_CLOSE) {
		row->history_unknown = !past->connected && !past->sent;
		row->ever_connecting = past->sent;
		row->ever_established = past->connected;
		if (past->connected)
			row->socket_errno = past->error;
		else if (past->sent)
			row->connect_errno = past->error;
	}
	if (state_is_wasteful(row->state) && !row->history_unknown && past->active_us)
		row->version_ns = past->active_us * 1000;
}

/* What no row knows, held by a traced process. Returns its new row, NULL when it could not be inserted. */
static __always_inline struct socket_row *seed(const struct found_socket *found, const struct process_key *holder,
					       bool probes)
{
	struct past past = past_of(found, probes);
	struct socket_row row = {
		.owner_start_ns = holder->start_ns,
		.owner_tgid = holder->tgid,
		.state = found->state,
		.local_port = found->port,
	};

	row.birth_ns = table_now();
	row.version_ns = row.birth_ns;
	row.seeded = tracing;
	learn_from_state(&row, found->state);
	learn_from_past(&row, &past);
	if (found->sk) {
		row.netns = found->sk->__sk_common.skc_net.net->ns.inum;
		row.uid = found->sk->sk_uid.val;
		row.family = found->sk->__sk_common.skc_family;
		fill_endpoints(&row, found->sk);
	} else if (probes) {
		const struct sock *sk = (const void *)found->address;

		row.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
		row.uid = BPF_CORE_READ(sk, sk_uid.val);
		row.family = BPF_CORE_READ(sk, __sk_common.skc_family);
		row.peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	}
	if (table_insert(found->address, &row))
		return NULL;
	table_count(row.seeded == TRACING_SEEDS ? COUNTER_TRACKED_SEEDED : COUNTER_TRACKED_ARRIVED);
	return table_lookup(found->address);
}

static __always_inline __u8 state_now(const struct found_socket *found, bool probes)
{
	const struct sock *sk = (const void *)found->address;

	if (found->sk)
		return found->sk->__sk_common.skc_state;
	return probes ? BPF_CORE_READ(sk, __sk_common.skc_state) : found->state;
}

static __always_inline void fill_queues(struct holder_record *record, const struct found_socket *found, bool probes)
{
	struct tcp_sock *tcp;

	if (found->sk) {
		tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(found->sk);
		if (!tcp)
			return;
		record->bytes_received = tcp->bytes_received;
		record->bytes_acked = tcp->bytes_acked;
		record->receive_queue = tcp->rcv_nxt - tcp->copied_seq;
		record->send_queue = tcp->write_seq - tcp->snd_una;
	} else if (probes) {
		tcp = (void *)found->address;
		record->bytes_received = BPF_CORE_READ(tcp, bytes_received);
		record->bytes_acked = BPF_CORE_READ(tcp, bytes_acked);
		record->receive_queue = BPF_CORE_READ(tcp, rcv_nxt) - BPF_CORE_READ(tcp, copied_seq);
		record->send_queue = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);
	}
}

/*
 * Every descriptor of every process. Seeds what a traced process holds and no row knows; mends rows that a lost
 * event left behind; and tells user space who holds the sockets it has been sent. The iterator holds a reference
 * to the file, so the sock cannot be destroyed meanwhile.
 */
static __always_inline int walk(struct bpf_iter__task_file *ctx, bool probes)
{
	struct task_struct *task = ctx->task;
	struct holder_record record = {};
	struct file *file = ctx->file;
	struct found_socket found;
	struct process_key holder;
	struct socket_row *row;
	__u64 version;

	if (!task || !file)
		return 0;
	holder = process_key_of(task);
	if (!find_socket(file, &holder, probes, &found))
		return 0;
	row = table_lookup(found.address);
	if (row && row->released) {
		forget_stale(found.address, row);
		row = NULL;
	}
	if (!row) {
		if (!traced_process(&holder))
			return 0;
		row = seed(&found, &holder, probes);
		if (!row)
			return 0;
	}
	/*
	 * A difference that has lasted is a lost event, not one under way. The port of a connect in progress differs
	 * by nature: it is chosen after the change to SYN_SENT.
	 */
	version = READ_ONCE(row->version_ns);
	barrier();
	if (table_now() - version > 100 * SETTLE_NS && (row->state != found.state || row->local_port != found.port) &&
	    state_now(&found, probes) == found.state && READ_ONCE(row->version_ns) == version) {
		if (row->state != found.state)
			table_count(COUNTER_CONFIRM_REPAIRED);
		row->state = found.state;
		row->local_port = found.port;
		learn_from_state(row, found.state);
		row_changed(row);
	}
	if (!row->sent_ns)
		return 0;
	record.sk = found.address;
	record.birth_ns = row->birth_ns;
	record.start_ns = holder.start_ns;
	record.tgid = holder.tgid;
	record.fd = ctx->fd;
	record.inode = file->f_inode->i_ino;
	fill_queues(&record, &found, probes);
	/* A failed write shows this descriptor again at the next read. */
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

SEC("iter/task_file")
int walk_descriptors(struct bpf_iter__task_file *ctx)
{
	return walk(ctx, true);
}

/* For lockdown=confidentiality: MPTCP sockets cannot be followed then. */
SEC("iter/task_file")
int walk_descriptors_typed(struct bpf_iter__task_file *ctx)
{
	return walk(ctx, false);
}

#endif
