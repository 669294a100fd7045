/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Who is traced: identities of processes, kept through fork and exec, dropped after exit. */
#ifndef SOCKTRACE_TARGET_BPF_H
#define SOCKTRACE_TARGET_BPF_H

#include "selection.bpf.h"

static __always_inline struct process_row *traced_process(const struct process_key *key)
{
	return may_be_known(known_processes, key->start_ns) ? bpf_map_lookup_elem(&processes, key) : NULL;
}

static __always_inline struct process_row *owner_of(const struct socket_row *row)
{
	struct process_key key = { .start_ns = row->owner_start_ns, .tgid = row->owner_tgid };

	return bpf_map_lookup_elem(&processes, &key);
}

/* For what no count of it shows. */
static __always_inline void process_changed(struct process_row *process)
{
	barrier();
	/* Only compared with what was sent: one more costs less than reading the clock. */
	__sync_fetch_and_add(&process->version, 1);
	table_has_news(NEWS_PROCESSES);
}

/* Grows by each change: the counts are part of it, so that counting takes one atomic add and not two. */
static __always_inline __u64 changes_of(const struct process_row *process)
{
	return READ_ONCE(process->version) + READ_ONCE(process->opened) + READ_ONCE(process->accepted) +
	       READ_ONCE(process->bound) + READ_ONCE(process->connected) + READ_ONCE(process->listened) +
	       READ_ONCE(process->destroyed);
}

/* Adds one to a counter of the process, if it is still known. */
#define count_for(process, what)                                 \
	do {                                                     \
		struct process_row *counted = (process);         \
		if (counted) {                                   \
			__sync_fetch_and_add(&counted->what, 1); \
			table_has_news(NEWS_PROCESSES);          \
		}                                                \
	} while (0)

/* Takes one back that turned out not to have happened. The sum of the changes grows all the same. */
#define discount_for(process, what)                                 \
	do {                                                        \
		struct process_row *counted = (process);            \
		if (counted) {                                      \
			__sync_fetch_and_add(&counted->version, 2); \
			__sync_fetch_and_add(&counted->what, -1);   \
			table_has_news(NEWS_PROCESSES);             \
		}                                                   \
	} while (0)

/* Whose code a process runs that is in the table by `key`. */
static __always_inline struct code_identity code_of(const struct process_key *key, const struct process_row *process)
{
	struct code_identity own = { .start_ns = key->start_ns, .tgid = key->tgid, .execs = process->execs };

	return process->code.tgid ? process->code : own;
}

/* `code`: whose it runs if that is not its own. */
static __always_inline void trace_process(const struct task_struct *task, __u32 parent_tgid,
					  const struct code_identity *code)
{
	struct process_key key = process_key_of(task);
	struct process_row row = { .parent_tgid = parent_tgid };
	int error; /* not long: before 6.4 only its lower half is set (bpf_map_ops returned int) */

	row.version = 1;
	if (code)
		row.code = *code;
	__builtin_memcpy(row.comm, task->comm, sizeof(row.comm));
	count_known(known_processes, key.start_ns, 1);
	error = bpf_map_update_elem(&processes, &key, &row, BPF_NOEXIST);
	table_has_news(NEWS_PROCESSES);
	if (error)
		count_known(known_processes, key.start_ns, -1);
	if (error && error != -17 /* EEXIST */)
		table_count(COUNTER_LOSS_PROCESS_TABLE);
}

/* What happens to sockets that it has left no longer counts. */
static __always_inline void forget_process(const struct process_key *key)
{
	int error = bpf_map_delete_elem(&processes, key); /* not long, as above */

	if (!error)
		count_known(known_processes, key->start_ns, -1);
}

static __always_inline int on_fork(const struct task_struct *parent, const struct task_struct *child)
{
	struct process_row *process;
	struct code_identity code;
	struct process_key key;

	if (!tracing || child->tgid == parent->tgid)
		return 0;
	key = process_key_of(parent);
	process = config.follow_children ? traced_process(&key) : NULL;
	if (process) {
		code = code_of(&key, process);
		trace_process(child, tgid_of(parent), &code);
	} else if (is_selected(child)) {
		trace_process(child, 0, NULL);
	}
	return 0;
}

static __always_inline int on_exec(const struct task_struct *task)
{
	struct process_key key = process_key_of(task);
	struct process_row *process = tracing ? traced_process(&key) : NULL;

	if (!process) {
		if (tracing && is_selected(task))
			trace_process(task, 0, NULL);
		return 0;
	}
	__builtin_memcpy(process->comm, task->comm, sizeof(process->comm));
	process->execs++;
	process->code.tgid = 0;
	process_changed(process);
	return 0;
}

/* Descriptors are closed after this (do_exit calls exit_files later): the row stays a while for their counts. */
static __always_inline int on_exit(const struct task_struct *task)
{
	struct process_row *process;
	struct process_key key;

	if (!tracing || !whole_process_exits(task))
		return 0;
	key = process_key_of(task);
	process = traced_process(&key);
	if (!process || process->exited_ns)
		return 0;
	process->exited_ns = table_now();
	process_changed(process);
	return 0;
}

#endif
