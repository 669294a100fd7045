// The code of one process: what is mapped where.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "elf_module.h"
#include "perf_map.h"
#include "protocol.h"

namespace socktrace::unwinder {

struct CodeRange {
  uint64_t start, end, file_offset;
  std::shared_ptr<ElfModule> module; // null: no file, or none that could be opened
  bool anonymous;

  // Code that was made at run time.
  bool is_jit() const {
    return anonymous && (!module || !module->is_elf());
  }
};

class Process {
public:
  Process(uint32_t flags, uint32_t notes, int perf_map, uint64_t now_ns)
      : told_ns_(now_ns), flags_(flags), notes_(notes), perf_map_(perf_map) {}

  // In rising order; false: it is not.
  bool add(CodeRange range);
  void finish() {
    complete_ = true;
  }
  bool complete() const {
    return complete_;
  }
  // Null: no code there.
  const CodeRange *find(uint64_t pc) const;
  bool has(Runtime runtime) const {
    return runtimes_ & (1u << static_cast<unsigned>(runtime));
  }
  uint32_t flags() const {
    return flags_;
  }
  uint32_t notes() const {
    return notes_;
  }
  // When this became known of it.
  uint64_t told_ns() const {
    return told_ns_;
  }
  PerfMap &perf_map() {
    return perf_map_;
  }

private:
  uint64_t told_ns_;
  uint32_t flags_, notes_, runtimes_ = 0;
  bool complete_ = false;
  std::vector<CodeRange> ranges_;
  PerfMap perf_map_;
};

} // namespace socktrace::unwinder
