// SPDX-License-Identifier: (GPL-2.0-only OR MIT)
// The floor that the benchmark measures socktrace against: the hooks of the set `cgroup`, with the programs empty but
// for one hash update when a TCP socket opens and one hash delete when it is destroyed. No tracer that keeps a row a
// socket on these hooks can cost less. Table and row are those of bpf/maps.bpf.h.

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "records.h"

#define SOCK_STREAM 1
#define IPPROTO_TCP 6

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, 1048576); // DEFAULT_MAX_SOCKETS
  __type(key, __u64);
  __type(value, struct socket_row);
} sockets SEC(".maps");

SEC("cgroup/sock_create")
int cgroup_open(struct bpf_sock *ctx) {
  struct socket_row row = {};
  __u64 sk = (__u64)ctx;

  if (ctx->type == SOCK_STREAM && ctx->protocol == IPPROTO_TCP)
    bpf_map_update_elem(&sockets, &sk, &row, BPF_ANY);
  return 1;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(destroy_first, const void *sk_pointer) {
  __u64 sk = (__u64)sk_pointer;

  bpf_map_delete_elem(&sockets, &sk);
  return 0;
}

#define EMPTY(section, name, result)                                                                         \
  SEC(section) int name(void *ctx) {                                                                         \
    return result;                                                                                           \
  }

EMPTY("cgroup/sock_release", cgroup_release, 1)
EMPTY("cgroup/post_bind4", cgroup_bound4, 1)
EMPTY("cgroup/post_bind6", cgroup_bound6, 1)
EMPTY("tp_btf/inet_sock_set_state", state_first, 0)
EMPTY("tp_btf/inet_sock_set_state", state_second, 0)
EMPTY("tp_btf/tcp_destroy_sock", destroy_second, 0)
EMPTY("tp_btf/sched_process_fork", fork_first, 0)
EMPTY("tp_btf/sched_process_fork", fork_second, 0)
EMPTY("tp_btf/sched_process_exec", exec_first, 0)
EMPTY("tp_btf/sched_process_exit", exit_first, 0)
EMPTY("tp_btf/sched_process_exit", exit_second, 0)
EMPTY("tp_btf/sys_exit", syscall_exit, 0)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
