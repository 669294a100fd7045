/* SPDX-License-Identifier: (GPL-2.0-only OR MIT) */
/*
 * The few kernel types socktrace looks at, as CO-RE views (libbpf matches members by name, so a view lists only
 * what is read), and one accessor for each difference between kernels or architectures.
 */
#ifndef SOCKTRACE_KERNEL_BPF_H
#define SOCKTRACE_KERNEL_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "records.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_TYPE_MASK 0xf
#define IPPROTO_TCP 6
#define IPPROTO_MPTCP 262
#define SOCKFS_MAGIC 0x534f434b
/* include/linux/sched.h */
#define PF_EXITING 0x00000004    /* getting shut down */
#define PF_IO_WORKER 0x00000010  /* a thread of io_uring's: it has no user stack */
#define PF_FORKNOEXEC 0x00000040 /* forked, and has not called exec yet */
#define PF_KTHREAD 0x00200000

#define PIDTYPE_TGID 1 /* include/linux/pid_types.h */

/* include/net/tcp_states.h */
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LISTEN 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	atomic_t refs;
} refcount_t;

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	refcount_t skc_refcnt;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

typedef struct {
	__u32 val;
} kuid_t;

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u16 sk_protocol;
	kuid_t sk_uid;
	__u8 sk_kern_sock : 1;
};

struct inet_sock {
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u64 tcp_mstamp; /* CLOCK_MONOTONIC us of its last segment, 0 for none */
	__u64 bytes_received;
	__u64 bytes_acked;
	__u32 segs_out;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 write_seq;
	__u32 snd_una;
};

/* An MPTCP socket; `first` is the TCP socket under it. */
struct mptcp_sock {
	struct sock *first;
};

struct socket {
	struct sock *sk;
};

struct sockaddr;

/* The arguments of accept in one struct: since 6.10. */
struct proto_accept_arg {
	int flags;
};

struct super_block {
	unsigned long s_magic;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct nsproxy {
	struct net *net_ns;
};

struct pid_namespace;

/* The number of a process in one of the pid namespaces that it is in. */
struct upid {
	int nr;
	struct pid_namespace *ns;
};

/* `numbers`: from the initial namespace on, `level` more. */
struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct signal_struct {
	atomic_t live;
	struct pid *pids[4]; /* by enum pid_type */
};

struct thread_info {
	__u32 status;
};

struct mm_struct {
	unsigned long start_stack;
};

struct cred {
	kuid_t uid;
	kuid_t euid;
};

struct kernfs_node {
	__u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	struct thread_info thread_info;
	void *stack;
	struct mm_struct *mm;
	unsigned int flags;
	int pid;
	int tgid;
	__u64 start_boottime;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	const struct cred *cred;
	struct css_set *cgroups;
	char comm[16];
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_map;

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 orig_x0;
	int syscallno;
};
#else
#error "socktrace knows the system call registers of x86_64 and arm64 only"
#endif

#pragma clang attribute pop

/* System call numbers and registers as tp_btf/sys_exit sees them. */
#if defined(__TARGET_ARCH_x86)

#define NR_SOCKET 41
#define NR_CONNECT 42
#define NR_ACCEPT 43
#define NR_BIND 49
#define NR_LISTEN 50
#define NR_ACCEPT4 288
#define TS_COMPAT 0x0002 /* arch/x86/include/asm/thread_info.h: 32 bit system call active */

static __always_inline long syscall_number(const struct pt_regs *regs)
{
	return regs->orig_ax;
}

static __always_inline __u64 syscall_argument_1(const struct pt_regs *regs)
{
	return regs->di;
}

static __always_inline __u64 syscall_argument_2(const struct pt_regs *regs)
{
	return regs->si;
}

static __always_inline __u64 syscall_argument_3(const struct pt_regs *regs)
{
	return regs->dx;
}

/* At the entry of a function. */
static __always_inline __u64 function_argument_1(const struct pt_regs *regs)
{
	return regs->di;
}

/* 32-bit system calls have numbers of their own, which would read as others'. */
static __always_inline bool in_compat_syscall(void)
{
	return bpf_get_current_task_btf()->thread_info.status & TS_COMPAT;
}

#elif defined(__TARGET_ARCH_arm64)

#define NR_SOCKET 198
#define NR_BIND 200
#define NR_LISTEN 201
#define NR_ACCEPT 202
#define NR_CONNECT 203
#define NR_ACCEPT4 242

static __always_inline long syscall_number(const struct pt_regs *regs)
{
	return regs->syscallno;
}

/* x0 holds the result by now. */
static __always_inline __u64 syscall_argument_1(const struct pt_regs *regs)
{
	return regs->orig_x0;
}

static __always_inline __u64 syscall_argument_2(const struct pt_regs *regs)
{
	return regs->regs[1];
}

static __always_inline __u64 syscall_argument_3(const struct pt_regs *regs)
{
	return regs->regs[2];
}

static __always_inline __u64 function_argument_1(const struct pt_regs *regs)
{
	return regs->regs[0];
}

static __always_inline bool in_compat_syscall(void)
{
	return false;
}

#endif

#define HAS_HELPER(name) bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_##name)

/* In the initial user namespace. The helper looks up the group too, through the maps of that namespace. */
static __always_inline __u32 current_uid(void)
{
	return HAS_HELPER(get_current_task_btf) ? bpf_get_current_task_btf()->cred->uid.val
						: (__u32)bpf_get_current_uid_gid();
}

/* A pid namespace, and how deep it lies below the initial one. */
struct pid_view {
	__u64 ns;
	__u32 level;
};

static __always_inline struct upid number_at(const struct task_struct *task, __u32 level)
{
	const struct pid *pid = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID]);
	struct upid number = {};

	if (pid && level <= BPF_CORE_READ(pid, level))
		bpf_probe_read_kernel(&number, sizeof(number), (const struct upid *)&pid->numbers + level);
	return number;
}

/* The pid namespace of the current process. */
static __always_inline struct pid_view view_of_current(void)
{
	const struct task_struct *task = (const void *)bpf_get_current_task();
	struct pid_view view = { .level = BPF_CORE_READ(task, signal, pids[PIDTYPE_TGID], level) };

	view.ns = (__u64)number_at(task, view.level).ns;
	return view;
}

/* A process by its number there; one that is not there by that of the initial namespace, marked as such. */
static __always_inline __u32 tgid_in(const struct task_struct *task, const struct pid_view *view)
{
	struct upid number = number_at(task, view->level);

	return number.ns && (__u64)number.ns == view->ns ? number.nr
							 : SOCKTRACE_PID_OUTSIDE | BPF_CORE_READ(task, tgid);
}

/* The struct sock of a socket's file, 0 when it is no socket, by probe reads: for kernels without bpf_sock_from_file. */
static __always_inline __u64 socket_of_file(const struct file *file)
{
	struct socket *socket;

	/* An O_PATH descriptor of a unix socket's name has a socket inode but no socket. */
	if (BPF_CORE_READ(file, f_inode, i_sb, s_magic) != SOCKFS_MAGIC)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	return (__u64)BPF_CORE_READ(socket, sk);
}

/* The same of a descriptor of the current task: fdt->fd is a pointer to pointers, which BTF cannot walk. */
static __always_inline __u64 current_socket(__u32 fd)
{
	const struct task_struct *task = bpf_get_current_task_btf();
	struct fdtable *fdt = task->files ? task->files->fdt : NULL;
	struct file *file = NULL;

	if (!fdt || fd >= fdt->max_fds)
		return 0;
	if (bpf_probe_read_kernel(&file, sizeof(file), fdt->fd + fd) || !file)
		return 0;
	return socket_of_file(file);
}

/*
 * True when nothing refers to the sock at this address any more. A TCP sock has references from before its first hook
 * until it is freed, and its slab (SLAB_TYPESAFE_BY_RCU) keeps the count readable.
 */
static __always_inline bool sock_is_free(__u64 address)
{
	int references = 1;

	bpf_core_read(&references, sizeof(references),
		      &((const struct sock *)address)->__sk_common.skc_refcnt.refs.counter);
	return references == 0;
}

/* The port a socket asked for or has, stale or not (inet_sport): connect(2) leaves it alone when it finds none. */
static __always_inline __u16 stale_port(struct sock *sk)
{
	struct tcp_sock *tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);

	return tcp ? bpf_ntohs(tcp->inet_conn.icsk_inet.inet_sport) : 0;
}

/*
 * What inet_csk_accept returned: it has two arguments since 6.10, and had four before. Loaded by hand, since clang would
 * choose the address first and load then, which the verifier forbids of a context.
 */
static __always_inline struct sock *accepted_sock(void *ctx)
{
	struct sock *sk;

	if (bpf_core_type_exists(struct proto_accept_arg))
		asm volatile("%0 = *(u64 *)(%1 + 16)" : "=r"(sk) : "r"(ctx));
	else
		asm volatile("%0 = *(u64 *)(%1 + 32)" : "=r"(sk) : "r"(ctx));
	return sk;
}

/* True when the last thread of the process is on its way out (do_exit has dropped signal->live). */
static __always_inline bool whole_process_exits(const struct task_struct *task)
{
	return task->signal->live.counter == 0;
}

/*
 * Whether a socket was connected since it was opened or disconnected, told by its counters. A SYN that was acknowledged is a
 * byte. Of what an accepted one has sent nothing need have been: it knows the peer's sequence number, which connect(2)
 * begins without (tcp_connect_init).
 */
static __always_inline bool was_connected(__u64 bytes_received, __u64 bytes_acked, __u32 segments_out, __u32 rcv_nxt)
{
	return bytes_received || bytes_acked || (segments_out && rcv_nxt);
}

/* Where the registers of the current task lie that it had in user space: at the top of its kernel stack. */
static __always_inline const struct pt_regs *user_registers(void)
{
	if (HAS_HELPER(task_pt_regs))
		return (const struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
#if defined(__TARGET_ARCH_x86)
	{
		const struct task_struct *task = (const void *)bpf_get_current_task();

		/* THREAD_SIZE of x86_64, whose TOP_OF_KERNEL_STACK_PADDING is 0 */
		return (const void *)(BPF_CORE_READ(task, stack) + (16 << 10) - sizeof(struct pt_regs));
	}
#else
	return NULL;
#endif
}

/* Typed loads of registers where there is a typed way to them. */
#define USER_REGISTER(registers, name) \
	(HAS_HELPER(task_pt_regs) ? (__u64)(registers)->name : (__u64)BPF_CORE_READ(registers, name))

#if defined(__TARGET_ARCH_x86)

#define USER_STACK_POINTER(registers) USER_REGISTER(registers, sp)
#define USER_INSTRUCTION(registers) USER_REGISTER(registers, ip)

/* In DWARF's order (System V ABI, x86_64, figure 3.36). */
static __always_inline void copy_user_registers(const struct pt_regs *registers, __u64 *to)
{
	to[0] = USER_REGISTER(registers, ax);
	to[1] = USER_REGISTER(registers, dx);
	to[2] = USER_REGISTER(registers, cx);
	to[3] = USER_REGISTER(registers, bx);
	to[4] = USER_REGISTER(registers, si);
	to[5] = USER_REGISTER(registers, di);
	to[6] = USER_REGISTER(registers, bp);
	to[7] = USER_REGISTER(registers, sp);
	to[8] = USER_REGISTER(registers, r8);
	to[9] = USER_REGISTER(registers, r9);
	to[10] = USER_REGISTER(registers, r10);
	to[11] = USER_REGISTER(registers, r11);
	to[12] = USER_REGISTER(registers, r12);
	to[13] = USER_REGISTER(registers, r13);
	to[14] = USER_REGISTER(registers, r14);
	to[15] = USER_REGISTER(registers, r15);
	to[16] = USER_REGISTER(registers, ip);
}

#elif defined(__TARGET_ARCH_arm64)

#define USER_STACK_POINTER(registers) USER_REGISTER(registers, sp)
#define USER_INSTRUCTION(registers) USER_REGISTER(registers, pc)

static __always_inline void copy_user_registers(const struct pt_regs *registers, __u64 *to)
{
	int i;

#pragma clang loop unroll(full)
	for (i = 0; i < 31; i++)
		to[i] = USER_REGISTER(registers, regs[i]);
	to[31] = USER_REGISTER(registers, sp);
	to[32] = USER_REGISTER(registers, pc);
}

#endif

/* Where the stack of the current process's first thread begins: its frames lie below. */
static __always_inline __u64 first_stack_start(void)
{
	if (HAS_HELPER(get_current_task_btf)) {
		const struct task_struct *task = bpf_get_current_task_btf();

		return task->mm ? task->mm->start_stack : 0;
	}
	return BPF_CORE_READ((const struct task_struct *)bpf_get_current_task(), mm, start_stack);
}

#endif
