/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The context of programs on the socket hooks of a cgroup. */
#ifndef SOCKTRACE_CGROUP_SOCK_BPF_H
#define SOCKTRACE_CGROUP_SOCK_BPF_H

#include "kernel.bpf.h"

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

#endif
