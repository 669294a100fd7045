#include "debug_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace socktrace {

namespace {

constexpr off_t kMaxDebugFileBytes = off_t{1} << 30; // it is mapped whole, in 4 GiB that all modules share

} // namespace

Result<Descriptor> open_debug_file(const std::string &folder, const std::string &path) {
  Descriptor inside(open(folder.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat owner, facts;
  if (!inside.valid() || fstat(inside.get(), &owner))
    return Failure{"open the folder of fetched files", errno, ""};
  open_how how = {};
  how.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  Descriptor file(static_cast<int>(syscall(SYS_openat2, inside.get(), path.c_str(), &how, sizeof(how))));
  if (!file.valid() || fstat(file.get(), &facts))
    return Failure{"open the fetched file", errno, ""};
  // A second name of somebody else's file must not become readable by way of this one.
  if (!S_ISREG(facts.st_mode) || facts.st_uid != owner.st_uid || facts.st_nlink != 1)
    return Failure{"open the fetched file", 0, "not a regular file of the fetcher's own"};
  if (facts.st_size > kMaxDebugFileBytes)
    return Failure{"open the fetched file", EFBIG, ""};
  return file;
}

} // namespace socktrace
