// Hook sets: which programs observe, and how they are attached.
#pragma once

#include <string>
#include <vector>

#include "bpf_object.h"
#include "descriptor.h"
#include "result.h"

namespace socktrace {

// A program that a trace can do without, and what is not seen then.
struct OptionalProgram {
  std::string name;
  std::string unseen;
  bool tells_failures = false; // alone: without it failed calls are not known
};

struct HookSet {
  const char *name;
  const char *probe; // a program that tells by being attached whether the kernel takes this set
  std::vector<std::string> programs; // in the order of attaching: of two programs for a fact, the first leads
  std::vector<OptionalProgram> optional; // some of `programs`
};

struct RefusedSet {
  std::string set;
  Failure failure;
};

struct ChosenHooks {
  HookSet set;
  std::vector<RefusedSet> refused;
};

// `wanted` is "auto" or the name of a set. "auto" tries fentry, then kprobe, then cgroup, by really attaching one
// tiny program. Errors: an unknown name (EINVAL), or the kernel's reason for refusing the last set tried.
Result<ChosenHooks> choose_hooks(const std::string &wanted);

// Attached programs of one object; detached when this goes.
class AttachedHooks {
public:
  Status attach(const BpfObject &object, const HookSet &set);

private:
  Descriptor cgroup_root_;
  std::vector<BpfLink> links_;
};

} // namespace socktrace
