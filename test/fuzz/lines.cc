// The debugging information of a file: which function and line an address belongs to.
#include "lines.h"

#include "elf_module.h"
#include "targets.h"

namespace socktrace::fuzz {

namespace {

constexpr size_t kLookedAt = 32;

} // namespace

void lines(const uint8_t *bytes, size_t size) {
  std::shared_ptr<unwinder::ElfModule> module =
      unwinder::ElfModule::open(file_of(bytes, size).release(), "/usr/bin/fuzzed", false);
  if (!module->is_elf())
    return;
  unwinder::Lines found(*module);
  size_t step = size / kLookedAt + 1;
  for (uint64_t offset = 0, address = 0; offset < size; offset += step)
    if (module->address_of(offset, &address))
      found.find(address);
}

} // namespace socktrace::fuzz
