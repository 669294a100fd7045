// The copied part of a stack, and the registers at that time.
#pragma once

#include <cstdint>

#include "callpath_records.h"

namespace socktrace::unwinder {

#if defined(__x86_64__)
constexpr int kRegisters = 17;
constexpr int kStackPointer = 7, kFramePointer = 6, kProgramCounter = 16;
#elif defined(__aarch64__)
constexpr int kRegisters = 33;
constexpr int kStackPointer = 31, kFramePointer = 29, kProgramCounter = 32;
constexpr int kLinkRegister = 30;
#endif

enum class Read {
  kDone,
  kBeyond, // above what was copied: more of it might help
  kUnread, // a piece that could not be copied
  kOutside,
};

class Stack {
public:
  explicit Stack(const stack_sample *sample) : sample_(sample) {}
  Read word(uint64_t address, uint64_t *value) const;
  // Whether the stack of the sample may reach there.
  bool is_inside(uint64_t address) const;
  uint64_t pointer() const {
    return sample_->registers[kStackPointer];
  }

private:
  const stack_sample *sample_;
};

} // namespace socktrace::unwinder
