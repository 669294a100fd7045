#include "cgroup_root.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

namespace socktrace {

namespace {

// The root of the hierarchy has this inode (kernfs). In a cgroup namespace, a new mount shows that namespace's own root
// instead (cgroup_do_get_tree), and hooks attached there would miss every other process.
constexpr ino_t kHierarchyRoot = 1;

// Where systemd mounts it, alone or beside version 1.
constexpr const char *kMountPoints[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};

bool is_hierarchy_root(const Descriptor &root) {
  struct stat about = {};
  return fstat(root.get(), &about) == 0 && about.st_ino == kHierarchyRoot;
}

// Takes no capability, which mounting it does. Not valid when it is mounted elsewhere, or not whole.
Descriptor find_cgroup_root() {
  for (const char *point : kMountPoints) {
    Descriptor root(open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct statfs system = {};
    if (root.valid() && fstatfs(root.get(), &system) == 0 && system.f_type == CGROUP2_SUPER_MAGIC &&
        is_hierarchy_root(root))
      return root;
  }
  return Descriptor();
}

Result<Descriptor> mount_cgroup_root() {
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

// setns(2) changes the calling thread alone.
void *mount_from_outside(void *result) {
  auto &into = *static_cast<Result<Descriptor> *>(result);
  Descriptor initial(open("/proc/1/ns/cgroup", O_RDONLY | O_CLOEXEC));
  if (!initial.valid() || setns(initial.get(), CLONE_NEWCGROUP))
    into = Failure{"leave this cgroup namespace", errno,
                   "it shows its own cgroups only: start the container with --cgroupns=host"};
  else
    into = mount_cgroup_root();
  return nullptr;
}

} // namespace

Result<Descriptor> open_cgroup_root() {
  if (Descriptor mounted = find_cgroup_root(); mounted.valid())
    return mounted;
  Result<Descriptor> here = mount_cgroup_root();
  if (!here.ok() || is_hierarchy_root(here.value()))
    return here;
  Result<Descriptor> outside = Failure{};
  pthread_t thread;
  if (int error = pthread_create(&thread, nullptr, mount_from_outside, &outside))
    return Failure{"start a thread", error, ""};
  pthread_join(thread, nullptr);
  if (outside.ok() && !is_hierarchy_root(outside.value()))
    return Failure{"open the cgroup2 root", EXDEV, "process 1 is in a cgroup namespace too"};
  return outside;
}

} // namespace socktrace
