#include "cgroup_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace socktrace {

Result<Descriptor> open_cgroup_root() {
  // By number: glibc has wrappers only since 2.36.
  Descriptor context(static_cast<int>(syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC)));
  if (!context.valid())
    return Failure{"open the cgroup2 file system (fsopen)", errno, ""};
  if (syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0)
    return Failure{"create a cgroup2 superblock (fsconfig)", errno, ""};
  Descriptor mount(static_cast<int>(syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, 0)));
  if (!mount.valid())
    return Failure{"mount cgroup2 privately (fsmount)", errno, ""};
  // The mount's own descriptor is O_PATH, which bpf links refuse.
  Descriptor root(openat(mount.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid())
    return Failure{"open the cgroup2 root", errno, ""};
  return root;
}

} // namespace socktrace
