// A way into the network namespace of a socket, by the socket itself.
#pragma once

#include <sys/types.h>

#include "descriptor.h"
#include "result.h"

namespace socktrace {

struct SocketNamespace {
  Descriptor descriptor;
  ino_t inode = 0;
};

// Of the socket that is descriptor `fd` of process `pid`. For a moment this process has the socket open too. Needs to be
// allowed to trace the other one, and CAP_NET_ADMIN over the namespace.
// Errors: the errno of the call named in `step`.
Result<SocketNamespace> open_socket_namespace(pid_t pid, int fd);

} // namespace socktrace
