/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Hook set `kprobe`: where trampolines do not attach (arm64 before 6.6). It is the set `cgroup`, whose hooks cannot be
 * skipped, and kprobes for what that does not see: the sockets that the kernel makes. All kprobe programs of a CPU
 * share one counter (bpf_prog_active) that any bpf(2) call raises, and older kernels do not count what they skip: a
 * second kprobe would be no second chance.
 */
#ifndef SOCKTRACE_HOOKS_KPROBE_BPF_H
#define SOCKTRACE_HOOKS_KPROBE_BPF_H

#include "hooks_shared.bpf.h"

SEC("kprobe/tcp_init_sock")
int kprobe_init(struct pt_regs *ctx)
{
	const struct sock *sk = (const void *)function_argument_1(ctx);
	struct actor actor;

	/* socket(2)'s go through cgroup/sock_create. */
	if (!tracing || !BPF_CORE_READ_BITFIELD_PROBED(sk, sk_kern_sock))
		return 0;
	table_count(COUNTER_HOST_OPENED);
	actor = current_actor();
	on_open((__u64)sk, BPF_CORE_READ(sk, __sk_common.skc_family), &actor, true);
	return 0;
}

#endif
