// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
/* The one object that the addon loads. Programs of hook sets that are not chosen are not loaded. */
#include "iterators.bpf.h"
#include "hooks_cgroup.bpf.h"
#include "hooks_fentry.bpf.h"
#include "hooks_kprobe.bpf.h"

/* For doctor: a ring can be made and asked. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(probe_ring)
{
	bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	return 0;
}

/* "Dual MIT/GPL" is what the kernel accepts for GPL-only helpers. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";
