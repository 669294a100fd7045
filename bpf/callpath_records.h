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
/* The first chunk begins below the stack pointer, so one more than the bytes that are promised. */
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

/* A captured user stack. Memory from stack_start on, in chunks; `unread` has a bit for each chunk that could not be read. */
struct stack_sample {
	__u64 ref;
	__u64 at_ns;
	__u64 start_ns; /* start_boottime of the thread group leader: CLOCK_BOOTTIME */
	__u32 tgid;
	__u32 tid;
	__u32 execs; /* how often the process has called exec while traced */
	__u32 operation;
	__u64 fingerprint; /* key of the cache, with the process, its execs and the operation */
	__u64 cached_ref;  /* an audit: what the cache answered for this very stack; else 0 */
	__u64 stack_start; /* a multiple of STACK_CHUNK_BYTES, at or below the stack pointer */
	__u64 unread;
	__u32 chunks;
	__u32 compat; /* a 32-bit task */
	__u64 registers[MAX_REGISTERS];
	/* chunks * STACK_CHUNK_BYTES of memory follow */
};

#endif
