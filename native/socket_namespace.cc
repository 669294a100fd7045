#include "socket_namespace.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace socktrace {

Result<SocketNamespace> open_socket_namespace(pid_t pid, int fd) {
  // By number: glibc has wrappers only since 2.36.
  Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid())
    return Failure{"refer to the process (pidfd_open)", errno, ""};
  Descriptor socket(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
  if (!socket.valid())
    return Failure{"take its socket (pidfd_getfd)", errno, ""};
  SocketNamespace space;
  space.descriptor = Descriptor(ioctl(socket.get(), SIOCGSKNS));
  struct stat about = {};
  if (!space.descriptor.valid() || fstat(space.descriptor.get(), &about))
    return Failure{"open the network namespace of a socket (SIOCGSKNS)", errno, ""};
  space.inode = about.st_ino;
  return space;
}

} // namespace socktrace
