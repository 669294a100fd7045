// An executable of our own that runs beside the tracer, as a process without any of its descriptors.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "descriptor.h"
#include "result.h"

namespace socktrace {

constexpr int kHelperSocket = 3; // the helper's only descriptor besides 0 to 2, which are /dev/null

struct HelperProcess {
  pid_t pid = -1;
  Descriptor socket; // SOCK_SEQPACKET; its end is the helper's end, too
};

class HelperProgram {
public:
  // Kept open: it can be started again when an upgrade has removed it, and is the same one then.
  static Result<HelperProgram> open(const std::string &path);
  // `lent`: capabilities (numbers of linux/capability.h) that it gets as far as this thread has them. A user's helper would
  // have none: neither those of the tracer's own program are inherited, nor those that are not ambient any more.
  Result<HelperProcess> start(const char *name, const std::vector<int> &lent = {}) const;

private:
  HelperProgram(std::string path, Descriptor program)
      : path_(std::move(path)), program_(std::move(program)) {}

  std::string path_;
  Descriptor program_;
};

// Forgets those of these killed children that have ended. True: none is left.
bool reap(std::vector<pid_t> *dying);

// Takes over killed children that whoever started them has not the time to wait for: they end when what they wait for does.
void give_up(std::vector<pid_t> *dying);

// Forgets those given up that have ended. True: none is left.
bool reap_given_up();

} // namespace socktrace
