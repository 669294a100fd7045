/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Hook set `cgroup`: neither trampolines nor kprobes. cgroup programs at the cgroup2 root for what happens to a
 * socket in its owner's context, BTF tracepoints for the rest, the exit of the system calls for their errno.
 *
 * cgroup programs have no recursion protection (bpf_prog_run_array_cg), so one of each is enough. Programs on
 * tracepoints have, so each fact has two. The exit of a system call cannot interrupt itself on a CPU where the
 * tracepoint runs with preemption off; where a later kernel lets it, its misses are counted as loss.
 *
 * Not seen: sockets that the kernel makes for itself (sk_kern_sock), 32-bit callers' errnos.
 */
#ifndef SOCKTRACE_HOOKS_CGROUP_BPF_H
#define SOCKTRACE_HOOKS_CGROUP_BPF_H

#include "handlers.bpf.h"

/* In a cgroup/sock program the context is the struct sock itself. */
static __always_inline __u64 sock_of(struct bpf_sock *ctx)
{
	return (__u64)ctx;
}

static __always_inline bool is_tcp(struct bpf_sock *ctx)
{
	return ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP &&
	       (ctx->family == AF_INET || ctx->family == AF_INET6);
}

SEC("cgroup/sock_create")
int cgroup_open(struct bpf_sock *ctx)
{
	if (tracing && is_tcp(ctx))
		on_open(sock_of(ctx), ctx->family, bpf_get_current_task_btf());
	return 1;
}

SEC("cgroup/sock_release")
int cgroup_release(struct bpf_sock *ctx)
{
	struct socket_row *row;

	if (!tracing || !is_tcp(ctx))
		return 1;
	row = table_lookup(sock_of(ctx));
	if (row)
		on_release(sock_of(ctx), row, bpf_get_current_task_btf());
	return 1;
}

SEC("cgroup/post_bind4")
int cgroup_bound4(struct bpf_sock *ctx)
{
	struct socket_row *row = tracing && is_tcp(ctx) ? table_lookup(sock_of(ctx)) : NULL;

	if (row) {
		*(__u32 *)row->local_address = ctx->src_ip4;
		on_bound(sock_of(ctx), row, ctx->src_port);
	}
	return 1;
}

SEC("cgroup/post_bind6")
int cgroup_bound6(struct bpf_sock *ctx)
{
	struct socket_row *row = tracing && is_tcp(ctx) ? table_lookup(sock_of(ctx)) : NULL;
	__u32 *address;

	if (row) {
		address = (__u32 *)row->local_address;
		address[0] = ctx->src_ip6[0];
		address[1] = ctx->src_ip6[1];
		address[2] = ctx->src_ip6[2];
		address[3] = ctx->src_ip6[3];
		on_bound(sock_of(ctx), row, ctx->src_port);
	}
	return 1;
}

/*
 * Counts a clone once, by either program. Exact: clones happen in softirq, which does not nest on one CPU, so no
 * other clone comes between the two programs of this one.
 */
static __always_inline void count_clone(__u64 sk, bool first)
{
	__u32 zero = 0;
	__u64 *counted = bpf_map_lookup_elem(&counted_clone, &zero);

	if (!counted)
		return;
	if (first || *counted != sk)
		table_count(COUNTER_HOST_CLONED);
	*counted = first ? sk : 0;
}

static __always_inline void state_changes(const struct sock *sk, int old, int new, bool first)
{
	struct socket_row *row;

	/* SCTP, DCCP and MPTCP fire this tracepoint too. */
	if (!tracing || sk->sk_protocol != IPPROTO_TCP)
		return;
	if (old == TCP_LISTEN && new == TCP_SYN_RECV) {
		count_clone((__u64)sk, first);
		on_clone((__u64)sk);
		return;
	}
	row = table_lookup((__u64)sk);
	if (row)
		on_state(sk, row, old, new);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_first, const struct sock *sk, int old, int new)
{
	state_changes(sk, old, new, true);
	return 0;
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(state_second, const struct sock *sk, int old, int new)
{
	state_changes(sk, old, new, false);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy_first, const struct sock *sk)
{
	if (!tracing)
		return 0;
	table_count(COUNTER_HOST_DESTROYED);
	on_destroy((__u64)sk);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy_second, const struct sock *sk)
{
	if (tracing)
		on_destroy((__u64)sk);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_first, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(parent, child);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_second, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(parent, child);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_first, struct task_struct *task)
{
	return on_exec(task);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_first, struct task_struct *task)
{
	return on_exit(task);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_second, struct task_struct *task)
{
	return on_exit(task);
}

/* What sys_exit can read of the sock behind a descriptor. */
struct seen_socket {
	__u64 sk;
	__u8 family;
	__u8 state;
	__u16 port;       /* held now */
	__u16 stale_port; /* held now or before its last connect failed */
};

static __always_inline bool look_up_socket(const struct task_struct *task, __u32 fd, struct seen_socket *seen)
{
	const struct sock *sk;

	seen->sk = current_socket(task, fd);
	if (!seen->sk)
		return false;
	sk = (const struct sock *)seen->sk;
	seen->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if (seen->family != AF_INET && seen->family != AF_INET6)
		return false;
	if (BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return false;
	seen->state = BPF_CORE_READ(sk, __sk_common.skc_state);
	seen->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	seen->stale_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	return true;
}

/* Port 0 or a given one, from the sockaddr the caller passed (the port lies at the same place in v4 and v6). */
static __always_inline __u8 requested_port(__u64 address)
{
	__be16 port;

	if (bpf_probe_read_user(&port, sizeof(port), (void *)(address + 2))) {
		table_count(COUNTER_LOSS_SOCKADDR_UNREAD);
		return FAILURE_PORT_UNREAD;
	}
	return port ? FAILURE_PORT_GIVEN : FAILURE_PORT_ZERO;
}

/* EINTR and the like are no outcome; ERESTARTSYS (512) and up never reach the caller. */
static __always_inline bool is_outcome(__u32 error)
{
	return error != 4 /* EINTR */ && error != 11 /* EAGAIN */ && error != 114 /* EALREADY */ &&
	       error != 115 /* EINPROGRESS */ && error < 512;
}

/* `row` is that of `seen`, NULL when it is not traced. */
static __always_inline void bind_returned(const struct task_struct *task, const struct seen_socket *seen,
					  struct socket_row *row, __u64 address, long result)
{
	/* post_bind has been here, unless the port was left to connect(2) (IP_BIND_ADDRESS_NO_PORT). */
	if (!result && row)
		on_bound(seen->sk, row, seen->port);
	if (!result)
		return;
	count_failure(task, FAILED_BIND, -result, requested_port(address));
	if (row)
		on_bind_failed(seen->sk, row, -result);
}

static __always_inline void connect_returned(const struct task_struct *task, const struct seen_socket *seen,
					     struct socket_row *row, long result)
{
	if (result == -115 /* EINPROGRESS */ && row)
		on_connect_pending(row);
	if (!result || !is_outcome(-result))
		return;
	/* The way to ask for the outcome of a non-blocking connect: it has been counted when it happened. */
	if (row && row->late_failure) {
		row->late_failure = 0;
		return;
	}
	/* connect(2) leaves inet_sport alone when it finds no port, and a bind before has set it. */
	count_failure(task, FAILED_CONNECT, -result, seen->stale_port ? FAILURE_BOUND : FAILURE_UNBOUND);
	if (row)
		on_connect_failed(seen->sk, row, -result, seen->port);
}

static __always_inline void listen_returned(const struct task_struct *task, const struct seen_socket *seen,
					    struct socket_row *row, long result)
{
	/* An unbound listener gets its port after the change of state. */
	if (!result && row && row->local_port != seen->port && row->state == TCP_LISTEN) {
		row->local_port = seen->port;
		row_changed(row);
	}
	if (!result)
		return;
	count_failure(task, FAILED_LISTEN, -result, seen->port ? FAILURE_BOUND : FAILURE_UNBOUND);
	if (row)
		on_listen_failed(seen->sk, row, -result);
}

/* `seen` is the accepted socket, or of a failed accept(2) the listener. */
static __always_inline void accept_returned(const struct task_struct *task, const struct seen_socket *seen, long result)
{
	const struct sock *sk = (const struct sock *)seen->sk;
	struct seen_socket again;
	struct socket_row *row;

	if (result < 0) {
		if (is_outcome(-result))
			count_failure(task, FAILED_ACCEPT, -result, FAILURE_PLAIN);
		return;
	}
	row = on_accept(seen->sk, seen->family, seen->state, seen->port, task);
	if (!row)
		return;
	/* A change between the reading and the insert had no row to go to. */
	if (BPF_CORE_READ(sk, __sk_common.skc_state) != seen->state && look_up_socket(task, result, &again) &&
	    again.sk == seen->sk && again.state != seen->state && row->state == seen->state) {
		row->state = again.state;
		row->local_port = again.port;
		row_changed(row);
	}
}

static __always_inline void socket_returned(const struct task_struct *task, const struct pt_regs *regs, long result)
{
	__u64 family = syscall_argument_1(regs), protocol = syscall_argument_3(regs);

	if (result >= 0 || (family != AF_INET && family != AF_INET6) ||
	    (syscall_argument_2(regs) & SOCK_TYPE_MASK) != SOCK_STREAM || (protocol && protocol != IPPROTO_TCP))
		return;
	count_failure(task, FAILED_SOCKET, -result, FAILURE_PLAIN);
}

SEC("tp_btf/sys_exit")
int BPF_PROG(syscall_exit, struct pt_regs *regs, long result)
{
	long number = syscall_number(regs);
	struct task_struct *task;
	struct seen_socket seen;
	struct socket_row *row;
	bool accepts;

	/* Runs at the exit of every system call of the host: leave at once. */
	accepts = number == NR_ACCEPT || number == NR_ACCEPT4;
	if (!accepts && number != NR_SOCKET && number != NR_CONNECT && number != NR_BIND && number != NR_LISTEN)
		return 0;
	/* Nothing to learn from these successes, and a look-up of the socket is a dozen probe reads. */
	if (!tracing || (number == NR_CONNECT && !result) || (number == NR_SOCKET && result >= 0))
		return 0;
	task = bpf_get_current_task_btf();
	if (in_compat_syscall(task))
		return 0;
	if (!traced_process(task) && (result >= 0 || !config.count_victims))
		return 0;
	if (number == NR_SOCKET) {
		socket_returned(task, regs, result);
		return 0;
	}
	if (!look_up_socket(task, accepts && result >= 0 ? result : syscall_argument_1(regs), &seen))
		return 0;
	if (accepts) {
		accept_returned(task, &seen, result);
		return 0;
	}
	row = table_lookup(seen.sk);
	if (number == NR_BIND)
		bind_returned(task, &seen, row, syscall_argument_2(regs), result);
	else if (number == NR_CONNECT)
		connect_returned(task, &seen, row, result);
	else
		listen_returned(task, &seen, row, result);
	return 0;
}

#endif
