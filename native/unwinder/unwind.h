// From a copied stack to the frames that it holds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "callpath_records.h"
#include "process.h"
#include "protocol.h"

namespace socktrace::unwinder {

struct UnwoundFrame {
  uint64_t pc;
  int64_t return_offset;             // as in PathFrame
  std::shared_ptr<ElfModule> module; // null: code without a readable file
  uint64_t address;                  // in the module
  std::string jit_name;
  FrameHow how;
  uint8_t flags;
  bool is_call; // the instruction in question is the one before pc
};

struct Unwound {
  std::vector<UnwoundFrame> frames;
  PathQuality quality;
  uint32_t notes;
  bool met_unmapped; // newer maps might tell more
  bool met_unnamed;  // a newer perf map might
};

Unwound unwind(const stack_sample *sample, Process &process);

// Of the frames, not of where they were loaded.
uint64_t path_fingerprint(const std::vector<UnwoundFrame> &frames);

} // namespace socktrace::unwinder
