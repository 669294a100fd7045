// One step from a frame to its caller by call frame information.
#pragma once

#include <elfutils/libdw.h>

#include <cstdint>

#include "stack.h"

namespace socktrace::unwinder {

struct Registers {
  uint64_t value[kRegisters];
  uint64_t known; // a bit a register

  bool knows(int number) const {
    return known & (uint64_t{1} << number);
  }
  void set(int number, uint64_t to) {
    value[number] = to;
    known |= uint64_t{1} << number;
  }
  void lose(int number) {
    known &= ~(uint64_t{1} << number);
  }
  uint64_t pc() const {
    return value[kProgramCounter];
  }
  uint64_t sp() const {
    return value[kStackPointer];
  }
};

enum class Step {
  kDone,
  kOutermost, // there is no caller
  kTruncated, // it is beyond the copied bytes
  kUnread,    // it is in a piece that could not be copied
  kLost,
};

struct Caller {
  Registers registers;
  uint64_t return_address_at = 0; // the word of the stack that holds it; 0: none does
  bool interrupted = false;       // by a signal: its pc is not that of a call
};

Step step_by_rules(Dwarf_Frame *rules, const Registers &callee, const Stack &stack, Caller *caller);

} // namespace socktrace::unwinder
