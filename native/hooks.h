// Hook sets: which programs observe, and how they are attached.
#pragma once

#include <string>
#include <vector>

#include "bpf_object.h"
#include "descriptor.h"
#include "kernel_types.h"
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
  const char *probe;                 // its first: what the kernel says of it, when it refuses the whole
  std::vector<std::string> programs; // in the order of attaching: of two programs for a fact, the first leads
  std::vector<OptionalProgram> optional; // some of `programs`
  Result<Descriptor> (*try_empty)(
      const KernelTypes &); // tells whether to load this set; null when nothing else is left
};

struct RefusedSet {
  std::string set;
  Failure failure;
};

struct ChosenHooks {
  HookSet set;
  std::vector<RefusedSet> refused;
  Descriptor tried; // what told that the kernel takes it, kept attached: see empty_hooks.h
};

// `wanted` is "auto" or the name of a set. "auto" tries fentry, then kprobe, by really attaching an empty program, and
// then takes cgroup. Whether the kernel takes the programs of a set, loading them tells. Errors: an unknown name (EINVAL).
Result<ChosenHooks> choose_hooks(const std::string &wanted, const KernelTypes &types);

// Attached programs of one object; detached when this goes.
class AttachedHooks {
public:
  Status attach(const BpfObject &object, const HookSet &set);

private:
  Descriptor cgroup_root_;
  std::vector<BpfLink> links_;
};

} // namespace socktrace
