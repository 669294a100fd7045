// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * The census: every TCP sock of the host that can be reached from descriptors (by iter/task_file) and from the hash
 * tables (by iter/tcp, in each network namespace), once each in one table, with what the kernel remembers of it.
 *
 * All reads are probe reads: what hangs on another process's file may go away while it is looked at, and what is then
 * read is checked against itself before it counts.
 */
#include "kernel.bpf.h"

#include "census_records.h"

#define AF_UNIX 1
#define ANON_INODE_MAGIC 0x09041934
/* include/net/sock.h: enum sock_flags */
#define SOCK_DEAD_BIT 1
#define TCP_TIME_WAIT 6
#define TCP_NEW_SYN_RECV 12

/* A list is walked in strides of steps. The verifier walks through each turn of a loop, and through strides once. */
#define STEPS_A_STRIDE 64
#define MOST_STRIDES 64

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sk_buff {
	struct sk_buff *next;
	char cb[48];
};

struct sk_buff_head {
	struct sk_buff *next;
	__u32 qlen;
};

struct scm_fp_list {
	short count;
	struct file *fp[253];
};

struct unix_skb_parms {
	struct scm_fp_list *fp;
};

struct socket___census {
	struct file *file;
	struct sock *sk;
};

struct sock_common___census {
	unsigned long skc_flags;
};

struct sock_backlog___census {
	atomic_t rmem_alloc;
};

struct sock___census {
	struct sock_common___census __sk_common;
	struct socket___census *sk_socket;
	struct sk_buff_head sk_receive_queue;
	struct sock_backlog___census sk_backlog;
	int sk_wmem_queued;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
};

struct request_sock {
	struct request_sock *dl_next;
	struct sock *sk;
};

struct request_sock_queue {
	struct request_sock *rskq_accept_head;
};

struct inet_connection_sock___census {
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_sock___census {
	struct inet_connection_sock___census inet_conn;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct qstr d_name;
};

struct path {
	struct dentry *dentry;
};

struct file___census {
	struct path f_path;
};

/* Fixed files of an io_uring: three layouts. */
struct fixed_file_table {
	struct file **files;
};

struct fixed_file_data {
	struct fixed_file_table *table;
};

struct io_ring_ctx___chunks { /* 5.10 */
	struct fixed_file_data *file_data;
	unsigned int nr_user_files;
};

struct io_fixed_file {
	unsigned long file_ptr;
};

struct io_file_table___array {
	struct io_fixed_file *files;
};

struct io_ring_ctx___array { /* to 6.12 */
	struct io_file_table___array file_table;
	unsigned int nr_user_files;
};

struct io_rsrc_node {
	unsigned long file_ptr;
};

struct io_rsrc_data___nodes {
	unsigned int nr;
	struct io_rsrc_node **nodes;
};

struct io_file_table___nodes {
	struct io_rsrc_data___nodes data;
};

struct io_ring_ctx___nodes { /* from 6.13 */
	struct io_file_table___nodes file_table;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct census_row);
} census SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CENSUS_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} census_counters SEC(".maps");

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&census_counters, &counter);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline bool is_inet(__u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_tcp(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP && is_inet(BPF_CORE_READ(sk, __sk_common.skc_family));
}

/* `local` and `peer`, each 16 bytes; for minisocks as well, which begin alike. */
static __always_inline void read_addresses(const struct sock_common *common, __u16 family, __u8 *local, __u8 *peer)
{
	if (family == AF_INET6) {
		bpf_core_read(local, 16, &common->skc_v6_rcv_saddr);
		bpf_core_read(peer, 16, &common->skc_v6_daddr);
	} else {
		bpf_core_read(local, 4, &common->skc_rcv_saddr);
		bpf_core_read(peer, 4, &common->skc_daddr);
	}
}

static __always_inline void describe(const struct sock *sk, struct census_row *row)
{
	const struct sock___census *more = (const void *)sk;
	const struct tcp_sock *tcp = (const void *)sk;
	struct socket___census *socket = BPF_CORE_READ(more, sk_socket);
	struct file *file = NULL;

	row->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	row->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	row->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	row->stale_port = bpf_ntohs(BPF_CORE_READ(tcp, inet_conn.icsk_inet.inet_sport));
	row->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	row->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	row->uid = BPF_CORE_READ(sk, sk_uid.val);
	row->error = BPF_CORE_READ(sk, sk_err);
	row->active_us = BPF_CORE_READ(tcp, tcp_mstamp);
	row->segments_out = BPF_CORE_READ(tcp, segs_out);
	row->bytes_received = BPF_CORE_READ(tcp, bytes_received);
	row->bytes_acked = BPF_CORE_READ(tcp, bytes_acked);
	if (was_connected(row->bytes_received, row->bytes_acked, row->segments_out, BPF_CORE_READ(tcp, rcv_nxt)))
		row->flags |= CENSUS_WAS_CONNECTED;
	row->memory = BPF_CORE_READ(more, sk_backlog.rmem_alloc.counter) + BPF_CORE_READ(more, sk_wmem_queued);
	if (row->state == TCP_LISTEN) {
		row->receive_queue = BPF_CORE_READ(more, sk_ack_backlog);
		row->send_queue = BPF_CORE_READ(more, sk_max_ack_backlog);
	} else {
		row->receive_queue = BPF_CORE_READ(tcp, rcv_nxt) - BPF_CORE_READ(tcp, copied_seq);
		row->send_queue = BPF_CORE_READ(tcp, write_seq) - BPF_CORE_READ(tcp, snd_una);
	}
	read_addresses(&sk->__sk_common, row->family, row->local_address, row->peer_address);
	if (BPF_CORE_READ(more, __sk_common.skc_flags) & SOCK_DEAD_BIT)
		row->flags |= CENSUS_DEAD;
	if (!socket)
		return;
	row->flags |= CENSUS_HAS_SOCKET;
	file = BPF_CORE_READ(socket, file);
	if (!file)
		return;
	row->flags |= CENSUS_HAS_FILE;
	row->inode = BPF_CORE_READ(file, f_inode, i_ino);
}

/* Enters a sock, and how it was reached. Idempotent: an iterator may show an object again. */
static __always_inline void enter(const struct sock *sk, __u8 way, __u64 via_sk, __u64 via_inode)
{
	__u64 address = (__u64)sk;
	struct census_row *known = bpf_map_lookup_elem(&census, &address), row = {};

	describe(sk, &row);
	row.ways = way;
	row.via_sk = via_sk;
	row.via_inode = via_inode;
	/* The same socket, reached again; a slab address may also be another's by now, which replaces it. */
	if (known && known->inode == row.inode && known->netns == row.netns) {
		row.ways |= known->ways;
		row.via_sk = via_sk ?: known->via_sk;
		row.via_inode = via_inode ?: known->via_inode;
	}
	if (bpf_map_update_elem(&census, &address, &row, BPF_ANY))
		count(CENSUS_LOSS_TABLE);
}

/*
 * The TCP sock of a file, NULL when there is none: its own, or the first under an MPTCP socket. `file` may be stale; a
 * socket's file and its socket must name each other.
 */
static __always_inline const struct sock *tcp_of_file(const struct file *file, bool *bare_mptcp)
{
	const struct socket___census *socket;
	const struct mptcp_sock *mptcp;
	const struct sock *sk;

	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	if (!socket || BPF_CORE_READ(socket, file) != file)
		return NULL;
	sk = BPF_CORE_READ(socket, sk);
	if (!sk)
		return NULL;
	if (is_tcp(sk))
		return sk;
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_MPTCP || !is_inet(BPF_CORE_READ(sk, __sk_common.skc_family)))
		return NULL;
	mptcp = (const void *)sk;
	sk = bpf_core_field_exists(mptcp->first) ? BPF_CORE_READ(mptcp, first) : NULL;
	*bare_mptcp = !sk;
	return sk && is_tcp(sk) ? sk : NULL;
}

static __always_inline void enter_file(const struct file *file, __u8 way, __u64 via_inode)
{
	bool bare_mptcp = false;
	const struct sock *sk = tcp_of_file(file, &bare_mptcp);

	if (sk)
		enter(sk, way, 0, via_inode);
}

/*
 * Lists are walked by global functions for a step and a stride, which are verified once, with their state in a map, of
 * which the verifier tracks nothing: so thousands of steps cost it a few hundred instructions. One walk at a time.
 */
struct walk {
	__u64 at; /* the element that comes next, or an index */
	__u64 end;
	__u64 origin; /* in which list: a listener's sock or an io_uring's context */
	__u64 inode;  /* of the unix socket or io_uring */
	__u64 list;   /* struct scm_fp_list of the packet */
	__u64 left;   /* descriptors of it that are still to be seen */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct walk);
} walks SEC(".maps");

static __always_inline struct walk *this_walk(void)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(&walks, &only);
}

static __always_inline void begin_walk(const struct walk *walk)
{
	__u32 only = 0;

	bpf_map_update_elem(&walks, &only, walk, BPF_ANY);
}

/* Descriptors that were sent to a unix socket and wait there (SCM_RIGHTS): one of them, or the next packet. */
__noinline int step_unix_queue(void)
{
	struct walk *walk = this_walk();
	const struct unix_skb_parms *parameters;
	const struct scm_fp_list *list;
	const struct sk_buff *packet;
	struct file *file = NULL;

	if (!walk)
		return 1;
	if (walk->left > 0) {
		walk->left--;
		bpf_probe_read_kernel(&file, sizeof(file),
				      (const void *)walk->list + bpf_core_field_offset(struct scm_fp_list, fp) +
					      (walk->left & 0xff) * sizeof(file));
		if (file)
			enter_file(file, BY_FLIGHT, walk->inode);
		return 0;
	}
	packet = (const void *)walk->at;
	if (!packet || walk->at == walk->end)
		return 1;
	parameters = (const void *)packet + bpf_core_field_offset(struct sk_buff, cb);
	list = BPF_CORE_READ(parameters, fp);
	walk->list = (__u64)list;
	walk->left = list ? BPF_CORE_READ(list, count) : 0;
	walk->at = (__u64)BPF_CORE_READ(packet, next);
	return 0;
}

__noinline int stride_unix_queue(void)
{
	for (int i = 0; i < STEPS_A_STRIDE; i++)
		if (step_unix_queue())
			return 1;
	return 0;
}

static __always_inline void walk_unix_queue(const struct sock___census *sk, __u64 inode)
{
	struct walk walk = { .inode = inode };

	if (!bpf_core_type_exists(struct unix_skb_parms) || !BPF_CORE_READ(sk, sk_receive_queue.qlen))
		return;
	walk.at = (__u64)BPF_CORE_READ(sk, sk_receive_queue.next);
	walk.end = (__u64)&sk->sk_receive_queue;
	begin_walk(&walk);
	for (int i = 0; i < MOST_STRIDES; i++)
		if (stride_unix_queue())
			return;
	count(CENSUS_LOSS_UNIX_QUEUE);
}

/* Barriers keep clang from moving a field's offset out of the branch that knows that it exists. */
static __always_inline struct file *fixed_file(const void *ring, __u32 i)
{
	const struct io_ring_ctx___nodes *nodes = ring;
	const struct io_ring_ctx___array *array = ring;
	const struct io_ring_ctx___chunks *chunks = ring;
	unsigned long pointer = 0;

	if (bpf_core_field_exists(nodes->file_table.data)) {
		struct io_rsrc_node **list, *node = NULL;

		barrier_var(nodes);
		list = BPF_CORE_READ(nodes, file_table.data.nodes);
		bpf_probe_read_kernel(&node, sizeof(node), list + i);
		pointer = node ? BPF_CORE_READ(node, file_ptr) : 0;
	} else if (bpf_core_field_exists(array->file_table)) {
		struct io_fixed_file *list;

		barrier_var(array);
		list = BPF_CORE_READ(array, file_table.files);
		bpf_probe_read_kernel(&pointer, sizeof(pointer),
				      (const void *)list + i * bpf_core_type_size(struct io_fixed_file));
	} else if (bpf_core_field_exists(chunks->file_data)) {
		/* io_uring.c: IORING_FILE_TABLE_SHIFT */
		struct fixed_file_table *table;
		struct file **list = NULL;

		barrier_var(chunks);
		table = BPF_CORE_READ(chunks, file_data, table);
		bpf_probe_read_kernel(&list, sizeof(list), table + (i >> 9));
		bpf_probe_read_kernel(&pointer, sizeof(pointer), list + (i & 511));
	}
	/* The low bits are flags. */
	return (struct file *)(pointer & ~7UL);
}

static __always_inline __u32 fixed_file_count(const void *ring)
{
	const struct io_ring_ctx___nodes *nodes = ring;
	const struct io_ring_ctx___array *array = ring;

	if (bpf_core_field_exists(nodes->file_table.data))
		return BPF_CORE_READ(nodes, file_table.data.nr);
	return bpf_core_field_exists(array->nr_user_files) ? BPF_CORE_READ(array, nr_user_files) : 0;
}

static __always_inline bool is_io_uring(const struct file *file)
{
	const struct file___census *named = (const void *)file;
	const unsigned char *name;
	union {
		char text[16];
		__u64 words[2];
	} is = {}, wanted = { "[io_uring]" };

	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != ANON_INODE_MAGIC)
		return false;
	name = BPF_CORE_READ(named, f_path.dentry, d_name.name);
	bpf_probe_read_kernel(is.text, sizeof("[io_uring]"), name);
	return is.words[0] == wanted.words[0] && is.words[1] == wanted.words[1];
}

__noinline int step_io_uring(void)
{
	struct walk *walk = this_walk();
	struct file *file;

	if (!walk || walk->at >= walk->end)
		return 1;
	file = fixed_file((const void *)walk->origin, walk->at++);
	if (file)
		enter_file(file, BY_IO_URING, walk->inode);
	return 0;
}

__noinline int stride_io_uring(void)
{
	for (int i = 0; i < STEPS_A_STRIDE; i++)
		if (step_io_uring())
			return 1;
	return 0;
}

static __always_inline void walk_io_uring(const struct file *file)
{
	const void *ring = BPF_CORE_READ(file, private_data);
	struct walk walk = { .origin = (__u64)ring, .end = fixed_file_count(ring) };

	walk.inode = BPF_CORE_READ(file, f_inode, i_ino);
	begin_walk(&walk);
	for (int i = 0; i < MOST_STRIDES; i++)
		if (stride_io_uring())
			return;
	count(CENSUS_LOSS_IO_URING);
}

/* Whoever takes the census walks here itself. */
static __always_inline __u32 tgid_for_reader(const struct task_struct *task)
{
	struct pid_view view = view_of_current();

	return view.level ? tgid_in(task, &view) : task->tgid;
}

SEC("iter/task_file")
int census_descriptors(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct census_descriptor record = {};
	const struct sock___census *unix_sk;
	const struct sock *sk;
	bool bare_mptcp = false;

	if (!task || !file)
		return 0;
	sk = tcp_of_file(file, &bare_mptcp);
	if (bare_mptcp)
		count(CENSUS_MPTCP_BARE);
	if (!sk) {
		if (is_io_uring(file)) {
			walk_io_uring(file);
			return 0;
		}
		sk = (const void *)socket_of_file(file);
		if (!sk || BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX)
			return 0;
		unix_sk = (const void *)sk;
		walk_unix_queue(unix_sk, BPF_CORE_READ(file, f_inode, i_ino));
		return 0;
	}
	enter(sk, BY_DESCRIPTOR, 0, 0);
	record.sk = (__u64)sk;
	record.inode = BPF_CORE_READ(file, f_inode, i_ino);
	record.start_ns = task->group_leader->start_boottime;
	record.tgid = tgid_for_reader(task);
	record.fd = ctx->fd;
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

/* Connections that a peer has reset before they were accepted: unhashed, and nowhere else to be seen. */
__noinline int step_accept_queue(void)
{
	struct walk *walk = this_walk();
	const struct request_sock *request;
	const struct sock *child;

	if (!walk || !walk->at)
		return 1;
	request = (const void *)walk->at;
	child = BPF_CORE_READ(request, sk);
	if (child && is_tcp(child))
		enter(child, BY_ACCEPT_QUEUE, walk->origin, 0);
	walk->at = (__u64)BPF_CORE_READ(request, dl_next);
	return 0;
}

__noinline int stride_accept_queue(void)
{
	for (int i = 0; i < STEPS_A_STRIDE; i++)
		if (step_accept_queue())
			return 1;
	return 0;
}

static __always_inline void walk_accept_queue(const struct sock *listener)
{
	const struct tcp_sock___census *tcp = (const void *)listener;
	struct walk walk = { .origin = (__u64)listener };

	walk.at = (__u64)BPF_CORE_READ(tcp, inet_conn.icsk_accept_queue.rskq_accept_head);
	begin_walk(&walk);
	for (int i = 0; i < MOST_STRIDES; i++)
		if (stride_accept_queue())
			return;
	count(CENSUS_LOSS_ACCEPT);
}

/* As a number, by way of the stack: the verifier stores no typed pointers in maps. */
static __always_inline __u64 number_of(const void *pointer)
{
	__u64 number = 0;

	bpf_probe_read_kernel(&number, sizeof(number), &pointer);
	return number;
}

/* In the network namespace in which the iterator was made. */
SEC("iter/tcp")
int census_hashed(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct census_minisock record = {};
	const struct sock *sk;

	if (!common)
		return 0;
	sk = (const void *)number_of(common);
	record.state = common->skc_state;
	if (record.state == TCP_TIME_WAIT || record.state == TCP_NEW_SYN_RECV) {
		record.netns = common->skc_net.net->ns.inum;
		record.local_port = common->skc_num;
		record.peer_port = bpf_ntohs(common->skc_dport);
		record.family = common->skc_family;
		read_addresses(common, record.family, record.local_address, record.peer_address);
		bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
		return 0;
	}
	enter(sk, BY_HASH, 0, 0);
	if (record.state == TCP_LISTEN)
		walk_accept_queue(sk);
	return 0;
}

SEC("iter/bpf_map_elem")
int census_rows(struct bpf_iter__bpf_map_elem *ctx)
{
	struct census_row *row = ctx->value;
	__u64 *address = ctx->key;
	struct census_record record;

	if (!address || !row)
		return 0;
	record.sk = *address;
	record.row = *row;
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
