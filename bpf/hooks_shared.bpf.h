/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * What every hook set takes from BTF tracepoints: changes of state, destroys, processes. The kernel skips a program on
 * a tracepoint or trampoline that already runs on that CPU, so each fact has two programs.
 */
#ifndef SOCKTRACE_HOOKS_SHARED_BPF_H
#define SOCKTRACE_HOOKS_SHARED_BPF_H

#include "handlers.bpf.h"

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

#endif
