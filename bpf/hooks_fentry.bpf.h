/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Hook set `fentry`: trampolines on the functions of the kernel themselves. Typed loads only, so that it works under
 * lockdown=confidentiality. It sees the sockets that the kernel makes too, and no system call tracepoint is needed.
 *
 * The kernel skips a trampoline program that already runs on that CPU, whether a softirq or another task comes between:
 * each fact about a socket has two programs or more. Failed calls are counted by one, and its misses are told as loss.
 */
#ifndef SOCKTRACE_HOOKS_FENTRY_BPF_H
#define SOCKTRACE_HOOKS_FENTRY_BPF_H

#include "calls.bpf.h"
#include "cgroup_sock.bpf.h"
#include "hooks_shared.bpf.h"

static __always_inline bool is_tcp_sock(const struct sock *sk)
{
	return sk->sk_protocol == IPPROTO_TCP;
}

static __always_inline struct socket_now look_at(struct sock *sk)
{
	struct socket_now now = {
		.sk = (__u64)sk,
		.family = sk->__sk_common.skc_family,
		.state = sk->__sk_common.skc_state,
		.port = sk->__sk_common.skc_num,
		.stale_port = stale_port(sk),
	};

	return now;
}

static __always_inline int initialized(const struct sock *sk, bool first)
{
	struct actor actor;

	if (!tracing || !is_tcp_sock(sk))
		return 0;
	actor = current_actor();
	on_open((__u64)sk, sk->__sk_common.skc_family, &actor, first);
	return 0;
}

SEC("fentry/tcp_v4_init_sock")
int BPF_PROG(fentry_init4, struct sock *sk)
{
	return initialized(sk, true);
}

SEC("fentry/tcp_v6_init_sock")
int BPF_PROG(fentry_init6, struct sock *sk)
{
	return initialized(sk, true);
}

/* Both families come here, and here `alloc` is raised. */
SEC("fentry/tcp_init_sock")
int BPF_PROG(fentry_init, struct sock *sk)
{
	if (tracing)
		table_count(COUNTER_HOST_OPENED);
	return initialized(sk, false);
}

/*
 * Where tasks preempt each other in the kernel, one may be in each of the two programs while a third opens a socket:
 * seen on 7.3. Programs on cgroup hooks are never skipped.
 */
SEC("cgroup/sock_create")
int fentry_create(struct bpf_sock *ctx)
{
	struct actor actor;

	if (!tracing || !is_tcp(ctx))
		return 1;
	actor = current_actor();
	on_open(sock_of(ctx), ctx->family, &actor, false);
	return 1;
}

static __always_inline int accepted(struct sock *sk)
{
	struct socket_now now;
	struct actor actor;

	if (!tracing || !sk || !is_tcp_sock(sk))
		return 0;
	now = look_at(sk);
	actor = current_actor();
	if (!on_accept(now.sk, now.family, now.state, now.port, &actor))
		return 0;
	/* A change between the reading and the insert had no row to go to. */
	if (sk->__sk_common.skc_state != now.state) {
		struct socket_now again = look_at(sk);

		missed_after_accept(&again, now.state);
	}
	return 0;
}

SEC("fexit/inet_csk_accept")
int fentry_accept(void *ctx)
{
	return accepted(accepted_sock(ctx));
}

SEC("fentry/security_sock_graft")
int BPF_PROG(fentry_graft, struct sock *sk, struct socket *parent)
{
	return accepted(sk);
}

SEC("fexit/inet_csk_get_port")
int BPF_PROG(fentry_get_port, struct sock *sk, unsigned short asked, int result)
{
	struct socket_row *row;
	struct actor actor;
	__u64 path;

	/* listen(2) asks for the port once more, in LISTEN. */
	if (!tracing || !is_tcp_sock(sk) || sk->__sk_common.skc_state != TCP_CLOSE)
		return 0;
	row = table_lookup((__u64)sk);
	if (result) {
		/* 1 before 6.1 */
		actor = current_actor();
		path = path_of_failure(&actor, PATH_BIND);
		count_failure(&actor, FAILED_BIND, EADDRINUSE, asked ? FAILURE_PORT_GIVEN : FAILURE_PORT_ZERO, path);
		if (row)
			on_bind_failed((__u64)sk, row, EADDRINUSE, path);
	} else if (row) {
		fill_endpoints(row, sk);
		on_bound((__u64)sk, row, sk->__sk_common.skc_num);
	}
	return 0;
}

static __always_inline int bound(struct socket *socket, int result)
{
	struct sock *sk = socket->sk;
	struct socket_now now;
	struct actor actor;
	__u64 path = PATH_REF_NONE;

	if (!tracing || !sk || !is_tcp_sock(sk))
		return 0;
	if (result && result != -EADDRINUSE) {
		actor = current_actor();
		path = path_of_failure(&actor, PATH_BIND);
		count_failure(&actor, FAILED_BIND, -result, FAILURE_PLAIN, path);
	}
	now = look_at(sk);
	bind_returned(&now, result, path);
	return 0;
}

SEC("fexit/inet_bind")
int BPF_PROG(fentry_bind4, struct socket *socket, struct sockaddr *address, int length, int result)
{
	return bound(socket, result);
}

SEC("fexit/inet6_bind")
int BPF_PROG(fentry_bind6, struct socket *socket, struct sockaddr *address, int length, int result)
{
	return bound(socket, result);
}

SEC("fexit/inet_listen")
int BPF_PROG(fentry_listen, struct socket *socket, int backlog, int result)
{
	struct sock *sk = socket->sk;
	struct socket_now now;
	struct actor actor;

	if (!tracing || !sk || !is_tcp_sock(sk))
		return 0;
	now = look_at(sk);
	actor = current_actor();
	listen_returned(&actor, &now, result);
	return 0;
}

SEC("fexit/inet_stream_connect")
int BPF_PROG(fentry_connect, struct socket *socket, struct sockaddr *address, int length, int flags, int result)
{
	struct sock *sk = socket->sk;
	struct socket_now now;
	struct actor actor;

	/* Nothing to learn from success. */
	if (!tracing || !result || !sk || !is_tcp_sock(sk))
		return 0;
	now = look_at(sk);
	actor = current_actor();
	connect_returned(&actor, &now, result);
	return 0;
}

static __always_inline int released(struct sock *sk)
{
	struct socket_row *row = tracing && sk && is_tcp_sock(sk) ? table_lookup((__u64)sk) : NULL;

	if (row)
		on_release((__u64)sk, row);
	return 0;
}

/* Before tcp_close: the state is still the one that the descriptor was left in. */
SEC("fentry/inet_release")
int BPF_PROG(fentry_release, struct socket *socket)
{
	return released(socket->sk);
}

SEC("fentry/tcp_close")
int BPF_PROG(fentry_close, struct sock *sk, long timeout)
{
	return released(sk);
}

SEC("fentry/tcp_v4_destroy_sock")
int BPF_PROG(fentry_destroy, struct sock *sk)
{
	if (!tracing)
		return 0;
	table_count(COUNTER_HOST_DESTROYED);
	on_destroy((__u64)sk);
	return 0;
}

#if defined(__TARGET_ARCH_x86)
#define SYSCALL(name) "__x64_sys_" #name
#elif defined(__TARGET_ARCH_arm64)
#define SYSCALL(name) "__arm64_sys_" #name
#endif

/* The descriptor limit refuses before or after there was a sock: only the call itself knows. */
SEC("fexit/" SYSCALL(socket))
int BPF_PROG(fentry_socket_call, const struct pt_regs *regs, long result)
{
	struct actor actor;

	if (!tracing || result >= 0)
		return 0;
	actor = current_actor();
	socket_failed(&actor, syscall_argument_1(regs), syscall_argument_2(regs), syscall_argument_3(regs), result);
	return 0;
}

#endif
