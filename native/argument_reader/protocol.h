// What the tracer asks the reader of arguments, and what it answers: packets of a SOCK_SEQPACKET pair, native layout.
#pragma once

#include <stdint.h>

namespace socktrace {

constexpr uint32_t kMostArgumentBytes = 4096;

struct ArgumentsQuestion {
  uint32_t number;
  uint32_t pid;
};

struct ArgumentsAnswer {
  uint32_t number; // of the question
  int32_t error;   // 0: the bytes follow
};

} // namespace socktrace
