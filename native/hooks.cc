#include "hooks.h"

#include <errno.h>

#include <array>

#include "cgroup_root.h"
#include "empty_hooks.h"

namespace socktrace {
namespace {

// Adds the tracepoints that every set stands on. Of two programs on one tracepoint, the first attached runs first.
std::vector<std::string> with_shared(std::vector<std::string> programs) {
  for (const char *name : {"state_first", "state_second", "destroy_second", "fork_first", "fork_second",
                           "exec_first", "exit_first", "exit_second"})
    programs.push_back(name);
  return programs;
}

HookSet fentry_set() {
  return {
      "fentry",
      "fentry_init",
      with_shared({"fentry_init4", "fentry_init6", "fentry_init", "fentry_accept", "fentry_graft",
                   "fentry_get_port", "fentry_bind4", "fentry_bind6", "fentry_listen", "fentry_connect",
                   "fentry_release", "fentry_close", "fentry_destroy", "fentry_socket_call",
                   "fentry_create"}),
      // Without security hooks in the kernel there is no sock_graft, without cgroup2 no hook of it: both facts
      // have other programs.
      {{"fentry_graft", ""}, {"fentry_create", ""}, {"fentry_socket_call", "socket() calls that fail"}},
      try_empty_fentry};
}

HookSet cgroup_set() {
  return {"cgroup",
          "cgroup_open",
          with_shared({"cgroup_open", "cgroup_release", "cgroup_bound4", "cgroup_bound6", "destroy_first",
                       "syscall_exit"}),
          // It reads the sockets behind descriptors, which lockdown=confidentiality forbids.
          {{"syscall_exit", "failed calls, and who accepted a connection until the next walk of descriptors",
            true}},
          nullptr};
}

HookSet kprobe_set() {
  HookSet set = cgroup_set();
  set.name = "kprobe";
  set.probe = "kprobe_init";
  set.try_empty = try_empty_kprobe;
  set.programs.insert(set.programs.begin(), "kprobe_init");
  return set;
}

} // namespace

Result<ChosenHooks> choose_hooks(const std::string &wanted, const KernelTypes &types) {
  std::vector<RefusedSet> refused;
  for (HookSet &candidate : std::array{fentry_set(), kprobe_set(), cgroup_set()}) {
    if (wanted != "auto" && wanted != candidate.name)
      continue;
    if (wanted != "auto" || !candidate.try_empty)
      return ChosenHooks{std::move(candidate), std::move(refused), Descriptor()};
    Result<Descriptor> tried = candidate.try_empty(types);
    if (tried.ok())
      return ChosenHooks{std::move(candidate), std::move(refused), std::move(tried.value())};
    refused.push_back({candidate.name, tried.failure()});
  }
  return Failure{"choose the hook set " + wanted, EINVAL, "there is no such hook set"};
}

Status AttachedHooks::attach(const BpfObject &object, const HookSet &set) {
  for (const std::string &name : set.programs) {
    bpf_program *program = find_program(object, name);
    if (!program)
      return Failure{"find the program " + name, ENOENT, ""};
    LibbpfLog log;
    BpfLink link;
    if (bpf_program__type(program) == BPF_PROG_TYPE_CGROUP_SOCK) {
      if (!cgroup_root_.valid()) {
        Result<Descriptor> root = open_cgroup_root();
        if (!root.ok())
          return root.failure();
        cgroup_root_ = std::move(root.value());
      }
      link.reset(bpf_program__attach_cgroup(program, cgroup_root_.get()));
    } else {
      link.reset(bpf_program__attach(program));
    }
    if (!link)
      return Failure{"attach " + name, errno, log.telling_line()};
    links_.push_back(std::move(link));
  }
  return std::nullopt;
}

} // namespace socktrace
