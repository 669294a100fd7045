#include "stack.h"

#include <string.h>

#include <initializer_list>

namespace socktrace::unwinder {

namespace {

// Farther away is another stack, or no stack at all. The usual limit of a stack is 8 MiB.
constexpr uint64_t kLargestStack = uint64_t{64} << 20;

} // namespace

bool Stack::is_inside(uint64_t address) const {
  return address >= pointer() && address - pointer() <= kLargestStack;
}

Read Stack::word(uint64_t address, uint64_t *value) const {
  uint64_t offset = address - sample_->stack_start;
  if (!is_inside(address))
    return Read::kOutside;
  uint64_t bytes = uint64_t{sample_->chunks} * STACK_CHUNK_BYTES;
  if (offset > bytes || bytes - offset < sizeof(*value))
    return Read::kBeyond;
  for (uint64_t chunk : {offset / STACK_CHUNK_BYTES, (offset + sizeof(*value) - 1) / STACK_CHUNK_BYTES})
    if (sample_->unread & (uint64_t{1} << chunk))
      return Read::kUnread;
  memcpy(value, reinterpret_cast<const char *>(sample_ + 1) + offset, sizeof(*value));
  return Read::kDone;
}

} // namespace socktrace::unwinder
