#include "stack.h"

#include <string.h>

#include <initializer_list>

namespace socktrace::unwinder {

namespace {

// No stack is larger: beyond, an address is somewhere else.
constexpr uint64_t kLargestStack = uint64_t{1} << 30;

} // namespace

Read Stack::word(uint64_t address, uint64_t *value) const {
  uint64_t offset = address - sample_->stack_start;
  if (address < pointer() || offset > kLargestStack)
    return Read::kOutside;
  uint64_t bytes = uint64_t{sample_->chunks} * STACK_CHUNK_BYTES;
  if (offset + sizeof(*value) > bytes)
    return Read::kBeyond;
  for (uint64_t chunk : {offset / STACK_CHUNK_BYTES, (offset + sizeof(*value) - 1) / STACK_CHUNK_BYTES})
    if (sample_->unread & (uint64_t{1} << chunk))
      return Read::kUnread;
  memcpy(value, reinterpret_cast<const char *>(sample_ + 1) + offset, sizeof(*value));
  return Read::kDone;
}

} // namespace socktrace::unwinder
