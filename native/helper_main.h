// How a helper begins: as the process of helper_process.h on its own side.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper_process.h"

namespace socktrace {

// False when it cannot serve. `name`: its comm, since it was started by a descriptor's name.
inline bool begin_helper(const char *name) {
  // Whatever the tracer had open without close-on-exec, and its folder, are not kept from anybody by one that is stuck.
  syscall(SYS_close_range, kHelperSocket + 1, ~0u, 0);
  if (chdir("/"))
    return false;
  prctl(PR_SET_NAME, name, 0, 0, 0);
  // Who stops a service or closes a terminal means the tracer.
  for (int number : {SIGINT, SIGTERM, SIGHUP})
    signal(number, SIG_IGN);
  return true;
}

} // namespace socktrace
