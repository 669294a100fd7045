// The clock that ages and deadlines are measured by.
#pragma once

#include <time.h>

#include <cstdint>

namespace socktrace {

// CLOCK_MONOTONIC, which the kernel's bpf_ktime_get_ns() reads, too.
inline uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

} // namespace socktrace
