/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Call paths: the user stack at a call, captured in process context. A stack that the cache of verified paths knows costs
 * a few words; another is copied whole, as far as a budget allows, and unwound in user space. What became of the sockets
 * of each path is counted here, so that healthy ones count too.
 */
#ifndef SOCKTRACE_CALLPATH_BPF_H
#define SOCKTRACE_CALLPATH_BPF_H

#include "target.bpf.h"

/* Whole stacks a second: of a place in the program, a process, the host. */
#define CAPTURES_OF_PLACE 50
#define CAPTURES_OF_PROCESS 200
#define CAPTURES_OF_HOST 1000
/*
 * What is not taken is saved up to as many, and there from the start: the unwinder needs a moment to teach the cache. Of
 * the host, no more than the ring holds (STACK_RING_BYTES of session.ts).
 */
#define CAPTURES_SAVED 200
#define CAPTURES_SAVED_OF_HOST 800
/* A process's first captures are not weighed against what others took. */
#define CAPTURES_ALWAYS 64
/* One answer of the cache in so many is checked against a whole stack. */
#define AUDIT_INTERVAL 256

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} stacks SEC(".maps");

/* Reference -> what became of its sockets. The tracer sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, struct path_row);
} paths SEC(".maps");

/* The cache, written by user space only. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, struct path_key);
	__type(value, struct path_slots);
} path_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, struct verified_path);
} verified_paths SEC(".maps");

/* These two forget what has not been asked for longest: then a place is told apart less well, or copied less deep. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct path_key); /* of no fingerprint */
	__type(value, struct path_leaf);
} path_leaves SEC(".maps");

/* Whose stacks came back truncated: written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct code_identity);
	__type(value, __u64);
} deep_stacks SEC(".maps");

struct capture_budget {
	__u64 refilled_ns;
	__u64 taken;
	__u32 left;
	__u32 padding;
};

/* An LRU map: what it forgets is only how much was spent. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct path_key);
	__type(value, struct capture_budget);
} capture_budgets SEC(".maps");

/* Takes a capture from one budget. Two CPUs may take the same one: it bounds cost, it counts nothing. */
static __always_inline bool take_capture(const struct path_key *key, __u64 now, __u32 a_second, __u32 saved,
					 __u64 always)
{
	struct capture_budget *budget = bpf_map_lookup_elem(&capture_budgets, key);
	__u64 earned;

	if (!budget) {
		struct capture_budget fresh = { .refilled_ns = now, .taken = 1, .left = saved - 1 };

		bpf_map_update_elem(&capture_budgets, key, &fresh, BPF_ANY);
		return true;
	}
	if (now > budget->refilled_ns) {
		earned = (now - budget->refilled_ns) * a_second / 1000000000ULL;
		if (earned) {
			earned += budget->left;
			budget->left = earned > saved ? saved : earned;
			budget->refilled_ns = now;
		}
	}
	if (!budget->left && budget->taken >= always)
		return false;
	if (budget->left)
		budget->left--;
	budget->taken++;
	return true;
}

static __always_inline bool may_capture(const struct path_key *place, const struct process_key *process, __u64 now)
{
	struct path_key key = { .code.start_ns = process->start_ns, .code.tgid = process->tgid };
	struct capture_budget *taken;

	if (!take_capture(place, now, CAPTURES_OF_PLACE, CAPTURES_SAVED, 0))
		return false;
	if (!take_capture(&key, now, CAPTURES_OF_PROCESS, CAPTURES_SAVED, CAPTURES_ALWAYS))
		return false;
	taken = bpf_map_lookup_elem(&capture_budgets, &key);
	if (taken && taken->taken <= CAPTURES_ALWAYS)
		return true;
	/* Of nobody: the host. */
	key.code.start_ns = key.code.tgid = 0;
	return take_capture(&key, now, CAPTURES_OF_HOST, CAPTURES_SAVED_OF_HOST, 0);
}

/*
 * Whether the stack at `sp` has the words of a path at their places: 1 or 0. A global function, as known_path() is:
 * verified once, not for each place in the slots.
 */
int __attribute__((noinline)) came_by(__u64 ref, __u64 instruction, __u64 sp)
{
	struct verified_path *path;
	__u64 word;
	__u32 i;

	/* Before 6.8 a global function is verified though nothing calls it: where user memory cannot be read, it must be empty. */
	if (!config.call_paths)
		return 0;
	path = bpf_map_lookup_elem(&verified_paths, &ref);
	if (!path || path->instruction != instruction)
		return 0;
	for (i = 0; i < MAX_VERIFIED_WORDS; i++) {
		if (i >= path->count)
			break;
		if (bpf_probe_read_user(&word, sizeof(word), (void *)(sp + path->words[i].offset)) ||
		    word != path->words[i].word)
			return 0;
	}
	return 1;
}

/* Only in the first thread is the beginning of the stack known. `depth` is 0 in others. */
static __always_inline __u64 stack_depth(__u64 sp)
{
	__u64 start = first_stack_start();

	return start > sp && start - sp < (1ULL << 30) ? start - sp : 0;
}

/* Where in its program the current task makes a call, and what tells of its stack. */
struct call_site {
	struct path_key place;
	const struct pt_regs *registers;
	__u64 instruction;
	__u64 sp;
	__u64 depth;
	struct process_key process;
	__u32 execs;
};

/*
 * Tells places apart: the instruction, how deep the stack is, and the word that the caller's address lies at. The place has
 * no fingerprint yet.
 */
static __always_inline __u64 fingerprint_of(const struct call_site *site)
{
	struct path_leaf *leaf = bpf_map_lookup_elem(&path_leaves, &site->place);
	__u64 word = 0;

	if (leaf && leaf->instruction == site->instruction)
		bpf_probe_read_user(&word, sizeof(word), (void *)(site->sp + leaf->offset));
	return path_fingerprint(site->instruction, word, site->depth, site->sp);
}

/* Of a task of user space. False when its registers cannot be had. */
static __always_inline bool find_call_site(const struct actor *actor, __u32 operation, struct call_site *site)
{
	const struct pt_regs *registers = user_registers();
	struct process_row *process;

	if (!registers)
		return false;
	site->registers = registers;
	site->process = actor->process;
	site->place.operation = operation;
	process = traced_process(&actor->process);
	if (process) {
		site->place.code = code_of(&actor->process, process);
		site->execs = process->execs;
	} else {
		site->place.code.start_ns = actor->process.start_ns;
		site->place.code.tgid = actor->process.tgid;
	}
	site->instruction = USER_INSTRUCTION(registers);
	site->sp = USER_STACK_POINTER(registers);
	site->depth = stack_depth(site->sp);
	site->place.fingerprint = fingerprint_of(site);
	return true;
}

static __always_inline __u64 cached_path(const struct call_site *site)
{
	struct path_slots *slots = bpf_map_lookup_elem(&path_slots, &site->place);
	__u64 ref;
	__u32 i;

	if (!slots)
		return 0;
	for (i = 0; i < PATH_SLOTS; i++) {
		ref = slots->refs[i];
		if (!ref)
			break;
		if (came_by(ref, site->instruction, site->sp))
			return ref;
	}
	return 0;
}

struct capture {
	__u64 ref;
	__u64 cached_ref; /* an audit: what the cache answered; else 0 */
	__u64 at_ns;
};

/* Gives a whole stack to user space. `most` is a constant. False when the ring is full. */
static __always_inline bool send_stack(const struct call_site *site, const struct capture *capture, const __u32 most)
{
	__u64 used = ~0ULL;
	struct stack_sample *sample;
	__u32 i;

	sample = bpf_ringbuf_reserve(&stacks, sizeof(*sample) + most * STACK_CHUNK_BYTES, 0);
	if (!sample)
		return false;
	sample->ref = capture->ref;
	sample->at_ns = capture->at_ns;
	sample->start_ns = site->process.start_ns;
	sample->tgid = site->process.tgid;
	sample->tid = (__u32)bpf_get_current_pid_tgid();
	sample->execs = site->execs;
	sample->operation = site->place.operation;
	sample->fingerprint = site->place.fingerprint;
	sample->cached_ref = capture->cached_ref;
	sample->code = site->place.code;
	sample->depth = site->depth;
	sample->compat = HAS_HELPER(get_current_task_btf) && in_compat_syscall();
	copy_user_registers(site->registers, sample->registers);
	sample->stack_start = site->sp & ~(STACK_CHUNK_BYTES - 1ULL);
	sample->unread = 0;
	/* Up to and with the word at the first frame; argc and what follows is no frame. */
	if (site->depth)
		used = (site->sp - sample->stack_start + site->depth) / STACK_CHUNK_BYTES + 1;
	for (i = 0; i < most; i++) {
		if (i >= used)
			break;
		if (bpf_probe_read_user(sample->stack + i * STACK_CHUNK_BYTES, STACK_CHUNK_BYTES,
					(void *)(sample->stack_start + i * STACK_CHUNK_BYTES)))
			sample->unread |= 1ULL << i;
	}
	sample->chunks = i;
	bpf_ringbuf_submit(sample, BPF_RB_NO_WAKEUP);
	return true;
}

static __always_inline bool send_whole(const struct call_site *site, const struct capture *capture)
{
	if (bpf_map_lookup_elem(&deep_stacks, &site->place.code))
		return send_stack(site, capture, STACK_CHUNKS_DEEP);
	if (site->depth && site->depth <= (STACK_CHUNKS_SHALLOW - 2) * STACK_CHUNK_BYTES)
		return send_stack(site, capture, STACK_CHUNKS_SHALLOW);
	return send_stack(site, capture, STACK_CHUNKS_USUAL);
}

/*
 * A name for a capture without an atomic counter (fetching atomics need 5.12): a capture takes longer than a microsecond,
 * so the clock and the CPU tell two apart.
 */
static __always_inline __u64 new_reference(__u64 now)
{
	return ((now >> 10) << 8 | (bpf_get_smp_processor_id() & 0xff)) + PATH_REF_FIRST;
}

/*
 * The reference by which the cache knows the current task's user stack, 0 when it does not. This and sample_path() are
 * global functions: each is verified for itself once, whatever calls it, and they are never on the kernel's stack together.
 */
__u64 __attribute__((noinline)) known_path(__u32 operation)
{
	struct call_site site = {};
	struct actor actor;
	__u64 ref;

	if (!config.call_paths)
		return 0;
	actor = current_actor();
	/* Threads of the kernel, and io_uring's in its name, have no user stack that led here. */
	if (actor.flags & (PF_KTHREAD | PF_IO_WORKER))
		return PATH_REF_KERNEL;
	if (!find_call_site(&actor, operation, &site))
		return PATH_REF_NOT_SAMPLED;
	ref = config.every_stack ? 0 : cached_path(&site);
	if (ref)
		table_count(COUNTER_PATHS_CACHED);
	return ref;
}

/* The same by a copy of the stack, if that may be taken now. `known`: what the cache answered, 0 for nothing. */
__u64 __attribute__((noinline)) sample_path(__u32 operation, __u64 known)
{
	struct capture capture = { .cached_ref = known };
	struct call_site site = {};
	struct actor actor;

	if (!config.call_paths)
		return 0;
	actor = current_actor();
	capture.at_ns = table_now();
	capture.ref = new_reference(capture.at_ns);
	if (!find_call_site(&actor, operation, &site) ||
	    (!config.every_stack && !may_capture(&site.place, &actor.process, capture.at_ns))) {
		if (!known)
			table_count(COUNTER_PATHS_NOT_SAMPLED);
		return known ? known : PATH_REF_NOT_SAMPLED;
	}
	if (!send_whole(&site, &capture)) {
		table_count(COUNTER_LOSS_STACK_RING);
		return known ? known : PATH_REF_NOT_SAMPLED;
	}
	table_count(COUNTER_PATHS_SAMPLED);
	return known ? known : capture.ref;
}

/*
 * The reference of the current task's user stack. Only in process context. `config` is constant when the programs load:
 * switched off, this is no code at all.
 */
static __always_inline __u64 current_path(__u32 operation)
{
	__u64 known;

	if (!config.call_paths)
		return PATH_REF_NONE;
	known = known_path(operation);
	if (known && (known < PATH_REF_FIRST || bpf_get_prandom_u32() % AUDIT_INTERVAL))
		return known;
	return sample_path(operation, known);
}

/* Of a call that failed: strangers' paths are nobody's question. */
static __always_inline __u64 path_of_failure(const struct actor *actor, __u32 operation)
{
	return config.call_paths && traced_process(&actor->process) ? current_path(operation) : PATH_REF_NONE;
}

#define COUNT(which) (1U << PATH_##which)

/*
 * Adds `by` to those counts of a path that `which` has a bit for. A global function, like known_path(): hooks have many
 * of these.
 */
int __attribute__((noinline)) add_to_path(__u64 ref, __u32 which, __u64 by)
{
	struct path_row *path = bpf_map_lookup_elem(&paths, &ref);
	__u32 count;

	if (!path) {
		struct path_row fresh = {};

		bpf_map_update_elem(&paths, &ref, &fresh, BPF_NOEXIST);
		path = bpf_map_lookup_elem(&paths, &ref);
	}
	if (!path) {
		table_count(COUNTER_LOSS_PATH_TABLE);
		return 0;
	}
#pragma clang loop unroll(full)
	for (count = 0; count < PATH_COUNT_COUNT; count++)
		if (which & 1U << count)
			__sync_fetch_and_add(&path->counts[count], by);
	/* Only the sockets that name it decide when it goes. */
	if (which & (COUNT(SOCKETS) | COUNT(ENDED)))
		path->changed_ns = table_now();
	__sync_fetch_and_add(&path->version, 1);
	table_has_news(NEWS_PATHS);
	return 0;
}

static __always_inline void count_path(__u64 ref, __u32 which, __u64 by)
{
	if (config.call_paths && ref != PATH_REF_NONE)
		add_to_path(ref, which, by);
}

/* The same of the path that bound a socket, unless it is what opened it: that has it already (PATH_REF_NOT_SAMPLED). */
static __always_inline void count_bind_path(const struct socket_row *row, __u32 which, __u64 by)
{
	if (row->bind_path != row->open_path)
		count_path(row->bind_path, which, by);
}

/* The same of both paths of a socket: the one that opened it and the one that bound it. */
static __always_inline void count_paths(const struct socket_row *row, __u32 which, __u64 by)
{
	count_path(row->open_path, which, by);
	count_bind_path(row, which, by);
}

/* A socket is bound by a path from now on, or tried to be. `ref` 0: nobody looked. */
static __always_inline void row_takes_bind_path(struct socket_row *row, __u64 ref)
{
	if (!config.call_paths || row->bind_path == ref)
		return;
	count_bind_path(row, COUNT(ENDED), 1);
	row->bind_path = ref;
	count_bind_path(row, COUNT(SOCKETS), 1);
}

/* The socket of this row is gone. */
static __always_inline void paths_ended(const struct socket_row *row)
{
	if (!config.call_paths)
		return;
	count_paths(row, COUNT(ENDED) | (row->ever_established || row->ever_listening ? 0 : COUNT(CLOSED_UNUSED)), 1);
}

#endif
