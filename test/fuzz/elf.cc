// A program's file as the unwinder reads it: headers, symbols, call frame information, Go's table; and a stack walked by them.
#include <vector>

#include "elf_module.h"
#include "names.h"
#include "process.h"
#include "stack.h"
#include "targets.h"
#include "unwind.h"

namespace socktrace::fuzz {

namespace {

using namespace unwinder;

constexpr uint64_t kLoadedAt = 0x400000;
constexpr uint64_t kStackAt = 0x7ffd00000000;
constexpr uint32_t kChunks = 4;
constexpr size_t kLookedAt = 64;

// A stack on which everything looks like a return address, each into another part of the file.
std::vector<uint64_t> sample_in(size_t size, uint64_t first) {
  std::vector<uint64_t> words((sizeof(stack_sample) + size_t{kChunks} * STACK_CHUNK_BYTES) / 8);
  auto *sample = reinterpret_cast<stack_sample *>(words.data());
  sample->stack_start = kStackAt;
  sample->chunks = kChunks;
  for (auto &number : sample->registers)
    number = kStackAt + 64;
  sample->registers[kProgramCounter] = kLoadedAt + first;
  for (size_t i = sizeof(stack_sample) / 8; i < words.size(); i++)
    words[i] = i % 3 == 0 ? kStackAt + (i % 64) * 8 : kLoadedAt + (first + i * 37) % (size + 1);
  return words;
}

} // namespace

void elf(const uint8_t *bytes, size_t size) {
  std::shared_ptr<ElfModule> module =
      ElfModule::open(file_of(bytes, size).release(), "/usr/bin/fuzzed", false);
  size_t step = size / kLookedAt + 1;
  Process process(0, 0, -1, 0);
  process.add({kLoadedAt, kLoadedAt + size + 1, 0, module, false});
  process.finish();
  Paths paths;
  for (uint64_t offset = 0; offset < size; offset += step) {
    uint64_t address = 0;
    if (!module->is_elf() || !module->address_of(offset, &address))
      continue;
    module->symbol(address);
    module->go_table().find(address);
    std::vector<uint64_t> sample = sample_in(size, offset);
    Unwound unwound = unwind(reinterpret_cast<const stack_sample *>(sample.data()), process);
    if (unwound.frames.empty())
      continue;
    uint64_t path = path_fingerprint(unwound.frames);
    paths.add(path, unwound);
    paths.names_of(*paths.find(path));
  }
}

} // namespace socktrace::fuzz
