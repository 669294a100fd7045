/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Most of what the hooks see belongs to nobody who is traced. One load tells most of that: how many keys of a table fall
 * into each slot of a hash. Zero: the table has none of them, and need not be asked.
 *
 * A key is counted before it is inserted, and until after it has been deleted: whoever could find it finds its slot
 * counted. Whatever orders an event after the insert of its socket or process orders it after the count.
 */
#ifndef SOCKTRACE_KNOWN_BPF_H
#define SOCKTRACE_KNOWN_BPF_H

#include <linux/types.h>

#include <bpf/bpf_helpers.h>

/* 64 KiB a table: they stay in the caches, and a thousand sockets fill one slot in sixteen. */
#define KNOWN_BITS 14
#define KNOWN_SLOTS (1 << KNOWN_BITS)

__u32 known_sockets[KNOWN_SLOTS] SEC(".bss.known_socks") = {};
__u32 known_processes[KNOWN_SLOTS] SEC(".bss.known_procs") = {};

/*
 * Multiplicative hashing (Knuth): addresses and times differ in their middle bits. The verifier permits no arithmetic with
 * pointers, and takes the lower half of one for a number.
 */
static __always_inline __u32 known_slot(__u64 key)
{
	__u64 low;

	asm volatile("r0 = %1; w0 = w0; %0 = r0" : "=r"(low) : "r"(key) : "r0");
	return low * 0x9E3779B97F4A7C15ULL >> (64 - KNOWN_BITS);
}

static __always_inline bool may_be_known(const __u32 *counts, __u64 key)
{
	return *(const volatile __u32 *)&counts[known_slot(key)] != 0;
}

static __always_inline void count_known(__u32 *counts, __u64 key, __s32 by)
{
	__sync_fetch_and_add(&counts[known_slot(key)], by);
}

#endif
