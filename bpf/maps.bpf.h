/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* The maps, the configuration that the tracer sets before loading, and the primitives that table.bpf.h stands on. */
#ifndef SOCKTRACE_MAPS_BPF_H
#define SOCKTRACE_MAPS_BPF_H

#include "kernel.bpf.h"
#include "known.bpf.h"
#include "records.h"

/* Sizes here are placeholders: the tracer sets max_entries before loading. */

/* sk address -> row: the truth. Never an LRU map, eviction would hide leaks. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct socket_row);
} sockets SEC(".maps");

/* Rows of destroyed sockets that user space has to hear of. As large as the table: it cannot fill before it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct socket_identity);
	__type(value, struct socket_row);
} ended SEC(".maps");

/* Traced processes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct process_key);
	__type(value, struct process_row);
} processes SEC(".maps");

/* Processes asked for: tgid to its start in ticks, as /proc/PID/stat gives it, so that a reused pid is not taken. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} wanted SEC(".maps");

/* Entries are added while a trace goes on: a service that is started again has another cgroup. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct selector);
	__type(value, __u8);
} selectors SEC(".maps");

struct failure_table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct failure_key);
	__type(value, struct failure_row);
};

/* Failed calls of traced processes, and of all others: however many of those there are, they cannot crowd these out. */
struct failure_table failures SEC(".maps");
struct failure_table victims SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counter_values);
} counters SEC(".maps");

/* The child that the first state program counted last on this CPU: the second counts what the first missed. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counted_clone SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

const volatile struct tracer_config config SEC(".rodata.config") = {};

/* The one switch: every hook is attached before anything is recorded. */
volatile __u64 tracing SEC(".data.tracing") = 0;

/* By enum news. The tracer maps it into its memory. */
volatile __u64 news[NEWS_COUNT] SEC(".data.news") = {};

__u64 sweep_fence = 0;

static __always_inline __u64 table_now(void)
{
	return bpf_ktime_get_ns();
}

/* xadd, so that a softirq in between cannot lose the count. */
static __always_inline void add_to_counter(enum counter counter, __u64 by)
{
	__u32 zero = 0;
	struct counter_values *all = bpf_map_lookup_elem(&counters, &zero);

	if (all)
		__sync_fetch_and_add(&all->values[counter], by);
}

static __always_inline void table_count(__u32 counter)
{
	add_to_counter(counter, 1);
}

/* Takes a count back. */
static __always_inline void table_discount(__u32 counter)
{
	add_to_counter(counter, -1);
}

/* Looked at first: the line is shared by all CPUs, and while it only is read that costs next to nothing. */
static __always_inline void table_has_news(__u32 which)
{
	if (!news[which])
		news[which] = 1;
}

/*
 * A locked add of nothing: a full barrier on x86, with no fetching atomics (5.12) needed. The nothing is hidden from
 * clang, which would make a locked OR of it, and that needs 5.12 too.
 */
static __always_inline void table_full_barrier(__u64 *word)
{
	__u64 nothing = 0;

	asm volatile("" : "+r"(nothing));
	__sync_fetch_and_add(word, nothing);
}

static __always_inline __u64 *table_sweep_fence(void)
{
	return &sweep_fence;
}

static __always_inline long table_park_ended(const struct socket_identity *identity, const struct socket_row *row)
{
	table_has_news(NEWS_ENDED);
	return bpf_map_update_elem(&ended, identity, row, BPF_ANY);
}

static __always_inline long table_delete(__u64 sk)
{
	int error = bpf_map_delete_elem(&sockets, &sk); /* not long: see table_insert */

	if (!error)
		count_known(known_sockets, sk, -1);
	return error;
}

#include "table.bpf.h"

static __always_inline struct socket_row *table_lookup(__u64 sk)
{
	return may_be_known(known_sockets, sk) ? bpf_map_lookup_elem(&sockets, &sk) : NULL;
}

/* Inserts a row where there is none. Returns 0, or a negative errno that has been counted (EEXIST is no loss). */
static __always_inline int table_insert(__u64 sk, const struct socket_row *row)
{
	int error; /* not long: before 6.4 only its lower half is set (bpf_map_ops returned int) */

	count_known(known_sockets, sk, 1);
	error = bpf_map_update_elem(&sockets, &sk, row, BPF_NOEXIST);
	if (error)
		count_known(known_sockets, sk, -1);
	if (error == -7 /* E2BIG */)
		table_count(COUNTER_LOSS_SOCKET_TABLE_FULL);
	else if (error && error != -17 /* EEXIST */)
		table_count(COUNTER_LOSS_SOCKET_INSERT);
	else
		table_has_news(NEWS_SOCKETS);
	return error;
}

#endif
