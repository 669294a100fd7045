/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/* Who does something: processes by the numbers that the pid namespace of the tracer has for them. */
#ifndef SOCKTRACE_ACTOR_BPF_H
#define SOCKTRACE_ACTOR_BPF_H

#include "maps.bpf.h"

/* Of the tracer, once it has walked the tasks; 0 is the initial one. */
struct pid_view tracers_view = {};

static __always_inline __u32 tgid_of(const struct task_struct *task)
{
	return config.nested_pids ? tgid_in(task, &tracers_view) : task->tgid;
}

static __always_inline struct process_key process_key_of(const struct task_struct *task)
{
	struct process_key key = { .start_ns = task->group_leader->start_boottime, .tgid = tgid_of(task) };

	return key;
}

/* Who makes a call: only to be asked for in process context. */
struct actor {
	struct process_key process;
	__u32 netns;
	__u32 flags; /* PF_* */
};

/* Typed loads where the kernel gives a typed current (5.11): they work under lockdown=confidentiality too. */
static __always_inline struct actor current_actor(void)
{
	struct actor actor = {};

	if (HAS_HELPER(get_current_task_btf)) {
		const struct task_struct *task = bpf_get_current_task_btf();

		actor.process = process_key_of(task);
		actor.flags = task->flags;
		if (task->nsproxy)
			actor.netns = task->nsproxy->net_ns->ns.inum;
	} else {
		const struct task_struct *task = (const void *)bpf_get_current_task();

		actor.process.tgid =
			config.nested_pids ? tgid_in(task, &tracers_view) : bpf_get_current_pid_tgid() >> 32;
		actor.process.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
		actor.flags = BPF_CORE_READ(task, flags);
		actor.netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	}
	return actor;
}

#endif
