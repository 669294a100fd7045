#include "targets.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

namespace socktrace::fuzz {

namespace {

struct Named {
  std::string_view name;
  Target target;
};

constexpr Named kTargets[] = {{"elf", elf},
                              {"lines", lines},
                              {"go-table", go_table},
                              {"perf-map", perf_map},
                              {"maps", maps},
                              {"to-unwinder", to_unwinder},
                              {"to-client", to_client},
                              {"from-helpers", from_helpers}};

} // namespace

Target target_of(std::string_view name) {
  for (const Named &one : kTargets)
    if (one.name == name)
      return one.target;
  return nullptr;
}

Descriptor file_of(const void *bytes, size_t size) {
  Descriptor file(memfd_create("fuzzed", MFD_CLOEXEC));
  if (!file.valid() || write(file.get(), bytes, size) != static_cast<ssize_t>(size))
    abort();
  return file;
}

} // namespace socktrace::fuzz
