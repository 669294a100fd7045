#include "hooks.h"

#include <errno.h>

#include "cgroup_root.h"

namespace socktrace {
namespace {

HookSet cgroup_set() {
  return {"cgroup",
          "cgroup_open",
          {"cgroup_open", "cgroup_release", "cgroup_bound4", "cgroup_bound6", "state_first", "state_second",
           "destroy_first", "destroy_second", "fork_first", "fork_second", "exec_first", "exit_first",
           "exit_second", "syscall_exit"}};
}

} // namespace

Result<ChosenHooks> choose_hooks(const std::string &wanted) {
  ChosenHooks chosen{cgroup_set(), {}};
  // Sets that this version has no programs for are tried all the same, so that the reason given is the true one.
  const HookSet candidates[] = {{"fentry", "probe_fentry", {}}, {"kprobe", "probe_kprobe", {}}, cgroup_set()};
  bool known = wanted == "auto";
  for (const HookSet &candidate : candidates) {
    if (wanted != "auto" && wanted != candidate.name)
      continue;
    known = true;
    Status refused = try_program(candidate.probe);
    if (!refused && candidate.programs.empty())
      refused =
          Failure{"choose", 0, "the kernel takes it, but this version of socktrace has no programs for it"};
    if (!refused) {
      chosen.set = candidate;
      return chosen;
    }
    chosen.refused.push_back({candidate.name, *refused});
  }
  if (!known)
    return Failure{"choose the hook set " + wanted, EINVAL, "there is no such hook set"};
  return chosen.refused.back().failure;
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
