// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* The one object that the addon loads. Programs of hook sets that are not chosen are not loaded. */
#include "iterators.bpf.h"
#include "hooks_cgroup.bpf.h"

/* Never attached for long: `--hooks auto` and doctor load it to hear whether the kernel takes trampolines. */
SEC("fentry/tcp_v4_init_sock")
int BPF_PROG(probe_fentry)
{
	return 0;
}

SEC("kprobe/tcp_v4_init_sock")
int probe_kprobe(void *ctx)
{
	return 0;
}

/* For doctor: a ring can be made and asked. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(probe_ring)
{
	bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	return 0;
}

/* "Dual MIT/GPL" is what the kernel accepts for GPL-only helpers. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
