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
	if (row->sent_ns && bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;
	/* Of this birth only: should the element be another socket's by now, it means nothing there. */
	WRITE_ONCE(row->vanished_ns, record.row.birth_ns);
	table_count(COUNTER_TRACKED_DESTROYED);
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
	version = READ_ONCE(row->version);
	barrier();
	gone = row->exited_ns && now - row->exited_ns > 1000 * SETTLE_NS;
	if (version == row->sent && !gone)
		return 0;
	identity = *key;
	record.key = identity;
	record.row = *row;
	if (bpf_seq_write(ctx->meta->seq, &record, sizeof(record)))
		return 0;
	WRITE_ONCE(row->sent, version);
	if (gone)
		bpf_map_delete_elem(&processes, &identity);
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

	if (!key || !row || send_failure(ctx, key, row) || table_now() - row->last_ns < QUIET_NS)
		return 0;
	identity = *key;
	bpf_map_delete_elem(&victims, &identity);
	return 0;
}

/* The unit of /proc/PID/stat: USER_HZ is 100 everywhere. */
#define NS_PER_TICK 10000000ULL

static __always_inline bool is_wanted(const struct task_struct *task)
{
	__u32 tgid = task->tgid;
	__u64 *start_ticks = bpf_map_lookup_elem(&wanted, &tgid);

	return start_ticks && *start_ticks == task->group_leader->start_boottime / NS_PER_TICK;
}

/* Turns the processes in `wanted`, and with follow_children their descendants, into traced identities. */
SEC("iter/task")
int select_processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *ancestor = task;
	__u32 tgid;
	int depth;

	if (!task || task->pid != task->tgid)
		return 0;
	for (depth = 0; depth < MAX_ANCESTORS; depth++) {
		tgid = ancestor->tgid;
		if (is_wanted(ancestor)) {
			trace_process(task, depth ? task->real_parent->tgid : 0);
			return 0;
		}
		if (!config.follow_children || tgid <= 1)
			return 0;
		ancestor = ancestor->real_parent;
	}
	return 0;
}

/*
 * Every descriptor of every process. Seeds what a traced process holds and no row knows; mends rows that a lost
 * event left behind; and tells user space who holds the sockets it has been sent. The iterator holds a reference
 * to the file, so the sock cannot be destroyed meanwhile.
 */
SEC("iter/task_file")
int walk_descriptors(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct holder_record record = {};
	struct tcp_sock *tcp;
	struct process_key holder;
	struct socket_row *row;
	struct socket *socket;
	__u64 address, version;
	struct sock *sk;
	__u8 state;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || (sk->__sk_common.skc_family != AF_INET && sk->__sk_common.skc_family != AF_INET6))
		return 0;
	holder = process_key_of(task);
	if (sk->sk_protocol == IPPROTO_MPTCP && bpf_map_lookup_elem(&processes, &holder))
		table_count(COUNTER_MPTCP_HELD);
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	address = (__u64)sk;
	row = table_lookup(address);
	if (row && row->released) {
		forget_stale(address, row);
		row = NULL;
	}
	state = sk->__sk_common.skc_state;
	if (!row) {
		struct process_row *process = bpf_map_lookup_elem(&processes, &holder);
		struct socket_row seed = {};

		if (!process)
			return 0;
		seed.birth_ns = table_now();
		seed.version_ns = seed.birth_ns;
		seed.owner_start_ns = holder.start_ns;
		seed.owner_tgid = holder.tgid;
		seed.netns = sk->__sk_common.skc_net.net->ns.inum;
		seed.uid = sk->sk_uid.val;
		seed.family = sk->__sk_common.skc_family;
		seed.state = state;
		seed.local_port = sk->__sk_common.skc_num;
		seed.seeded = tracing;
		seed.history_unknown = state == TCP_CLOSE;
		learn_from_state(&seed, state);
		fill_endpoints(&seed, sk);
		if (table_insert(address, &seed))
			return 0;
		table_count(seed.seeded == TRACING_SEEDS ? COUNTER_TRACKED_SEEDED : COUNTER_TRACKED_ARRIVED);
		row = table_lookup(address);
		if (!row)
			return 0;
	}
	/*
	 * A difference that has lasted is a lost event, not one under way. The port of a connect in progress differs
	 * by nature: it is chosen after the change to SYN_SENT.
	 */
	version = READ_ONCE(row->version_ns);
	barrier();
	if (table_now() - version > 100 * SETTLE_NS &&
	    (row->state != state || row->local_port != sk->__sk_common.skc_num) && sk->__sk_common.skc_state == state &&
	    READ_ONCE(row->version_ns) == version) {
		if (row->state != state)
			table_count(COUNTER_CONFIRM_REPAIRED);
		row->state = state;
		row->local_port = sk->__sk_common.skc_num;
		learn_from_state(row, state);
		row_changed(row);
	}
	if (!row->sent_ns)
		return 0;
	record.sk = address;
	record.birth_ns = row->birth_ns;
	record.start_ns = holder.start_ns;
	record.tgid = holder.tgid;
	record.fd = ctx->fd;
	record.inode = file->f_inode->i_ino;
	tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
	if (tcp) {
		record.bytes_received = tcp->bytes_received;
		record.bytes_acked = tcp->bytes_acked;
		record.receive_queue = tcp->rcv_nxt - tcp->copied_seq;
		record.send_queue = tcp->write_seq - tcp->snd_una;
	}
	/* A failed write shows this descriptor again at the next read. */
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

#endif
