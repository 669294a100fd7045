#include "inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "descriptor.h"

namespace socktrace {

Status let_go(const std::vector<int> &descriptors) {
  Descriptor nowhere(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!nowhere.valid())
    return Failure{"open /dev/null", errno, ""};
  for (int descriptor : descriptors)
    // Of a number above the limit of open files there can be no other, neither now nor once it is closed.
    if (dup3(nowhere.get(), descriptor, O_CLOEXEC) < 0 && (errno != EBADF || close(descriptor)))
      return Failure{"let go of descriptor " + std::to_string(descriptor), errno, ""};
  return std::nullopt;
}

} // namespace socktrace
