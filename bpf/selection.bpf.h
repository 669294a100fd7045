/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Which processes the selectors of the command line match: by name, cgroup, network namespace or user. */
#ifndef SOCKTRACE_SELECTION_BPF_H
#define SOCKTRACE_SELECTION_BPF_H

#include "actor.bpf.h"

/* Deeper cgroups are matched by their nearest ancestors only. */
#define MAX_CGROUP_DEPTH 24

static __always_inline bool selects(const struct selector *selector)
{
	return bpf_map_lookup_elem(&selectors, selector) != NULL;
}

static __always_inline bool has_selected_name(const struct task_struct *task)
{
	struct selector selector = { .type = SELECT_COMM };
	bool ended = false;
	int i;

	/* What follows the end of a name may be left from an earlier, longer one. */
#pragma clang loop unroll(full)
	for (i = 0; i < SOCKTRACE_COMM_LENGTH; i++) {
		char letter = task->comm[i];

		ended |= !letter;
		selector.value[i] = ended ? 0 : letter;
	}
	return selects(&selector);
}

static __always_inline bool is_in_selected_cgroup(const struct task_struct *task)
{
	struct cgroup_subsys_state *state = &task->cgroups->dfl_cgrp->self;
	int depth;

#pragma clang loop unroll(full)
	for (depth = 0; depth < MAX_CGROUP_DEPTH; depth++) {
		struct selector selector = { .type = SELECT_CGROUP };

		if (!state)
			return false;
		*(__u64 *)selector.value = state->cgroup->kn->id;
		if (selects(&selector))
			return true;
		state = state->parent;
	}
	return false;
}

static __always_inline bool is_in_selected_netns(const struct task_struct *task)
{
	struct selector selector = { .type = SELECT_NETNS };

	/* An exiting task has left its namespaces. */
	if (!task->nsproxy)
		return false;
	*(__u32 *)selector.value = task->nsproxy->net_ns->ns.inum;
	return selects(&selector);
}

static __always_inline bool has_selected_user(const struct task_struct *task)
{
	struct selector selector = { .type = SELECT_USER };

	*(__u32 *)selector.value = task->cred->euid.val;
	return selects(&selector);
}

/* The tracer, or its unwinder: a child of that name, or one that may become it. */
static __always_inline bool is_tracers_own(const struct task_struct *task)
{
	static const char helper[] = "socktrace-"; /* unwinder, reader */
	unsigned int i;

	if (tgid_of(task) == config.tracer_tgid)
		return true;
	if (tgid_of(task->group_leader->real_parent) != config.tracer_tgid)
		return false;
	if (task->flags & PF_FORKNOEXEC)
		return true;
#pragma clang loop unroll(full)
	for (i = 0; i < sizeof(helper) - 1; i++)
		if (task->comm[i] != helper[i])
			return false;
	return true;
}

/*
 * Whether a selector matches a process as it is now. Never the tracer, or what it has started for itself; nor what is
 * outside of its pid namespace, into whose descriptors no walk looks.
 */
static __always_inline bool is_selected(const struct task_struct *task)
{
	if (!config.select_all && !config.select_types)
		return false;
	if (task->flags & PF_KTHREAD || is_tracers_own(task))
		return false;
	if (config.nested_pids && tgid_of(task) & SOCKTRACE_PID_OUTSIDE)
		return false;
	if (config.select_all)
		return true;
	if (config.select_types & (1 << SELECT_COMM) && has_selected_name(task))
		return true;
	if (config.select_types & (1 << SELECT_USER) && has_selected_user(task))
		return true;
	if (config.select_types & (1 << SELECT_NETNS) && is_in_selected_netns(task))
		return true;
	return config.select_types & (1 << SELECT_CGROUP) && is_in_selected_cgroup(task);
}

#endif
