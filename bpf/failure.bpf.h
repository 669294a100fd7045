/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Failed operations, counted by process, operation, errno and detail: a table, so a count is never lost. */
#ifndef SOCKTRACE_FAILURE_BPF_H
#define SOCKTRACE_FAILURE_BPF_H

#include "callpath.bpf.h"

static __always_inline void count_failure_of(struct process_key process, bool traced, __u8 operation, __u16 error,
					     __u8 detail, __u32 netns, __u32 uid, const char *comm, __u64 path)
{
	void *table = traced ? (void *)&failures : (void *)&victims;
	struct failure_key key = {
		.start_ns = process.start_ns,
		.tgid = process.tgid,
		.error = error,
		.operation = operation,
		.detail = detail,
	};
	struct failure_row *known = bpf_map_lookup_elem(table, &key);

	if (!known) {
		struct failure_row first = { .netns = netns, .uid = uid };
		long refused;

		first.first_ns = first.last_ns = table_now();
		if (comm)
			__builtin_memcpy(first.comm, comm, sizeof(first.comm));
		/* Count 0 and then the same atomic add as ever: two CPUs may both come first. */
		refused = bpf_map_update_elem(table, &key, &first, BPF_NOEXIST);
		known = bpf_map_lookup_elem(table, &key);
		if (!known) {
			if (refused)
				table_count(traced ? COUNTER_LOSS_FAILURE_TABLE : COUNTER_LOSS_VICTIM_TABLE);
			return;
		}
	}
	WRITE_ONCE(known->last_ns, table_now());
	if (path)
		WRITE_ONCE(known->path, path);
	__sync_fetch_and_add(&known->count, 1);
	table_has_news(traced ? NEWS_FAILURES : NEWS_VICTIMS);
}

/*
 * A failure of the current process. The kernel's own threads are nobody's victims. `path`: 0 when nobody looked. Not
 * inlined: programs that capture a path as well would need more stack than there is.
 */
static __attribute__((noinline)) void count_failure(const struct actor *actor, __u8 operation, __u16 error, __u8 detail,
						    __u64 path)
{
	bool traced = traced_process(&actor->process) != NULL;
	char comm[SOCKTRACE_COMM_LENGTH];

	if (actor->flags & PF_KTHREAD || (!traced && !config.count_victims))
		return;
	bpf_get_current_comm(comm, sizeof(comm));
	count_failure_of(actor->process, traced, operation, error, detail, actor->netns, current_uid(), comm, path);
}

#endif
