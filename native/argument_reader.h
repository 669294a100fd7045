// Reads the arguments of processes through a process of its own, and never waits long: that takes the lock of their
// mappings, which the traced side can keep held while it waits for a file system of its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "helper_process.h"
#include "result.h"

namespace socktrace {

class ArgumentReader {
public:
  explicit ArgumentReader(HelperProgram program) : program_(std::move(program)) {}
  // Kills the helper, and waits a moment for it unless it was given up.
  ~ArgumentReader();
  ArgumentReader(const ArgumentReader &) = delete;
  ArgumentReader &operator=(const ArgumentReader &) = delete;

  // The first of the bytes of /proc/PID/cmdline. ETIMEDOUT: it was given up. EBUSY: too many are stuck already.
  Result<std::string> read(uint32_t pid);

private:
  Status launch();
  uint64_t patience(uint64_t now) const;
  Result<std::string> lose(int error);

  HelperProgram program_;
  HelperProcess helper_;
  uint32_t number_ = 0;
  uint64_t late_ns_ = 0;     // when somebody was last given up; 0: never
  std::vector<pid_t> stuck_; // killed, not gone yet
};

} // namespace socktrace
