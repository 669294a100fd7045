/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * Call paths: what the programs capture of a user stack, and what the unwinder gives back for the cache of verified
 * paths. Compiled by the BPF programs (C), the addon and the unwinder (C++17).
 */
#ifndef SOCKTRACE_CALLPATH_RECORDS_H
#define SOCKTRACE_CALLPATH_RECORDS_H

#include <linux/types.h>

/* Stacks are copied in aligned pieces: one that is not resident costs itself, not the rest. */
#define STACK_CHUNK_BYTES 1024
/*
 * The first chunk begins below the stack pointer, so one more than the bytes that are promised. Most stacks of first
 * threads are shallow, which is known beforehand: the ring then holds more of them.
 */
#define STACK_CHUNKS_SHALLOW 4
#define STACK_CHUNKS_USUAL 9
#define STACK_CHUNKS_DEEP 33

/* A reference names a capture; captures that unwind to the same frames are one path. */
#define PATH_REF_NONE 0        /* nobody looked: paths are off, or it is older than the trace */
#define PATH_REF_NOT_SAMPLED 1 /* the token bucket or the ring was spent */
#define PATH_REF_KERNEL 2      /* a kernel thread did it: there is no user stack */
#define PATH_REF_FIRST 256     /* those below name no capture */

enum path_operation {
	PATH_OPEN = 1,
	PATH_BIND = 2, /* successful or not */
	PATH_ACCEPT = 3,
	PATH_CONNECT = 4, /* failed ones */
};

/* In DWARF's numbering: x86_64 has rax rdx rcx rbx rsi rdi rbp rsp r8-r15 rip (17), arm64 x0-x30 sp pc (33). */
#define MAX_REGISTERS 33

/* Paths of more frames are captured whole each time. */
#define MAX_VERIFIED_WORDS 96
#define PATH_SLOTS 16

/*
 * Whose code a process runs: its own since its last exec, or, of one that has forked and called none, that of the
 * process that did. Those that share it have it at the same addresses: they share what the cache knows.
 */
struct code_identity {
	__u64 start_ns;
	__u32 tgid;
	__u32 execs;
};

/* A captured user stack. Memory from stack_start on, in chunks; `unread` has a bit for each chunk that could not be read. */
struct stack_sample {
	__u64 ref;
	__u64 at_ns;
	__u64 start_ns; /* start_boottime of the thread group leader: CLOCK_BOOTTIME */
	__u32 tgid;
	__u32 tid;
	__u32 execs; /* how often the process has called exec while traced */
	__u32 operation;
	struct code_identity code;
	__u64 fingerprint; /* key of the cache, with the process, its execs and the operation */
	__u64 cached_ref;  /* an audit: what the cache answered for this very stack; else 0 */
	__u64 stack_start; /* a multiple of STACK_CHUNK_BYTES, at or below the stack pointer */
	__u64 unread;
	__u64 depth; /* from the stack pointer to where the first thread's stack begins; 0 in other threads */
	__u32 chunks;
	__u32 compat; /* a 32-bit task */
	__u64 registers[MAX_REGISTERS];
	__u8 stack[]; /* chunks * STACK_CHUNK_BYTES */
};

/* What the cache is asked by: where in the program, as far as it costs nearly nothing to tell. */
struct path_key {
	struct code_identity code;
	__u64 fingerprint;
	__u32 operation;
	__u32 padding;
};

/*
 * `word` is what lies where the caller's address is, 0 while that is not known; `depth` is 0 where it is not known, but the
 * stacks of threads and goroutines begin at multiples of 2 KiB (or at the same distance from one). The multipliers
 * spread the bits.
 */
static inline __u64 path_fingerprint(__u64 instruction, __u64 word, __u64 depth, __u64 sp)
{
	if (!depth)
		depth = sp & 0x7ff;
	return (instruction * 0x9e3779b97f4a7c15ULL) ^ (word * 0xc2b2ae3d27d4eb4fULL) ^ (depth * 0x165667b19e3779f9ULL);
}

/* Paths that were unwound for a key, written by user space: the latest first, 0 for none. */
struct path_slots {
	__u64 refs[PATH_SLOTS];
};

/*
 * A path that was unwound: where its return addresses lay, from the stack pointer on. A stack that has the same words
 * at the same places came the same way.
 */
struct verified_path {
	__u64 instruction; /* user instruction pointer: of the system call */
	__u32 count;
	__u32 padding;
	struct {
		__u64 offset;
		__u64 word;
	} words[MAX_VERIFIED_WORDS];
};

/* Where the caller's address lies for the instruction that makes the system call, written by user space. */
struct path_leaf {
	__u64 instruction;
	__u64 offset;
};

enum path_count {
	PATH_SOCKETS, /* whose rows have named the reference */
	PATH_ENDED,   /* of these: destroyed, or bound by another path since */
	PATH_OPENED,
	PATH_ACCEPTED,
	PATH_BOUND,
	PATH_BIND_FAILED,
	PATH_CONNECTED,
	PATH_CONNECT_FAILED,
	PATH_LISTENED,
	PATH_CLOSED_UNUSED, /* destroyed without ever having been connected or listening */
	PATH_COUNT_COUNT,
};

/* What became of the sockets of one reference. */
struct path_row {
	__u64 version; /* changes so far */
	__u64 sent;    /* version last given to user space: written by the sweep only */
	__u64 changed_ns;
	__u64 counts[PATH_COUNT_COUNT];
};

struct path_record {
	__u64 ref;
	__u64 gone; /* nothing refers to it any more: these are its last totals */
	struct path_row row;
};

#endif
