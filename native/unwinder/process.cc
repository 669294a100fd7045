#include "process.h"

#include <algorithm>

namespace socktrace::unwinder {

bool Process::add(CodeRange range) {
  uint64_t last = ranges_.empty() ? 0 : ranges_.back().end;
  if (range.start >= range.end || range.start < last || ranges_.size() >= kMaxMappings)
    return false;
  if (range.module)
    runtimes_ |= 1u << static_cast<unsigned>(range.module->runtime());
  ranges_.push_back(std::move(range));
  return true;
}

const CodeRange *Process::find(uint64_t pc) const {
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), pc,
                                [](uint64_t wanted, const CodeRange &range) { return wanted < range.start; });
  if (after == ranges_.begin())
    return nullptr;
  --after;
  return pc < after->end ? &*after : nullptr;
}

} // namespace socktrace::unwinder
