/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Hook set `cgroup`: neither trampolines nor kprobes. cgroup programs at the cgroup2 root for what happens to a
 * socket in its owner's context, BTF tracepoints for the rest, the exit of the system calls for their errno.
 *
 * cgroup programs have no recursion protection (bpf_prog_run_array_cg), so one of each is enough. The exit of a
 * system call cannot interrupt itself on a CPU where the tracepoint runs with preemption off; where a later kernel
 * lets it, its misses are counted as loss.
 *
 * Not seen: sockets that the kernel makes for itself (sk_kern_sock), 32-bit callers' errnos.
 */
#ifndef SOCKTRACE_HOOKS_CGROUP_BPF_H
#define SOCKTRACE_HOOKS_CGROUP_BPF_H

#include "calls.bpf.h"
#include "cgroup_sock.bpf.h"
#include "hooks_shared.bpf.h"

SEC("cgroup/sock_create")
int cgroup_open(struct bpf_sock *ctx)
{
	struct actor actor;

	if (!tracing || !is_tcp(ctx))
		return 1;
	table_count(COUNTER_HOST_OPENED);
	actor = current_actor();
	on_open(sock_of(ctx), ctx->family, &actor, true);
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
		on_release(sock_of(ctx), row);
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

/* Fills what can be read of the sock behind a descriptor of the current task, 0 for none. False when that is no TCP socket. */
static __always_inline bool look_at_socket(__u64 address, struct socket_now *seen)
{
	const struct sock *sk = (const struct sock *)address;

	if (!sk)
		return false;
	seen->sk = address;
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

SEC("tp_btf/sys_exit")
int BPF_PROG(syscall_exit, struct pt_regs *regs, long result)
{
	long number = syscall_number(regs);
	struct socket_now seen, again;
	struct actor actor;
	bool accepts, goes_on;
	__u64 path, sk;

	/* Runs at the exit of every system call of the host: leave at once. */
	accepts = number == NR_ACCEPT || number == NR_ACCEPT4;
	if (!accepts && number != NR_SOCKET && number != NR_CONNECT && number != NR_BIND && number != NR_LISTEN)
		return 0;
	/* Nothing to learn from these successes, and a look-up of the socket is a dozen probe reads. */
	if (!tracing || (number == NR_CONNECT && !result) || (number == NR_SOCKET && result >= 0))
		return 0;
	goes_on = number == NR_CONNECT && result == -EINPROGRESS;
	/* No outcome, as each time that a server finds nobody more to accept. */
	if (result < 0 && (accepts || number == NR_CONNECT) && !goes_on && !is_outcome(result))
		return 0;
	if (in_compat_syscall())
		return 0;
	actor = current_actor();
	if (!traced_process(&actor.process) && (result >= 0 || !config.count_victims))
		return 0;
	if (number == NR_SOCKET) {
		socket_failed(&actor, syscall_argument_1(regs), syscall_argument_2(regs), syscall_argument_3(regs),
			      result);
		return 0;
	}
	sk = current_socket(accepts && result >= 0 ? result : syscall_argument_1(regs));
	/* It tells of a row only. */
	if (goes_on && !table_lookup(sk))
		return 0;
	if (!look_at_socket(sk, &seen))
		return 0;
	if (number == NR_BIND) {
		path = result ? path_of_failure(&actor, PATH_BIND) : PATH_REF_NONE;
		if (result)
			count_failure(&actor, FAILED_BIND, -result, requested_port(syscall_argument_2(regs)), path);
		bind_returned(&seen, result, path);
	} else if (number == NR_CONNECT) {
		connect_returned(&actor, &seen, result);
	} else if (number == NR_LISTEN) {
		listen_returned(&actor, &seen, result);
	} else if (result < 0) {
		accept_failed(&actor, result);
	} else if (on_accept(seen.sk, seen.family, seen.state, seen.port, &actor)) {
		/* A change between the reading and the insert had no row to go to. */
		if (look_at_socket(current_socket(result), &again) && again.sk == seen.sk && again.state != seen.state)
			missed_after_accept(&again, seen.state);
	}
	return 0;
}

#endif
