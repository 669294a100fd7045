// A descriptor of the cgroup2 root, wherever (or whether) it is mounted.
#pragma once

#include "descriptor.h"
#include "result.h"

namespace socktrace {

// Mounts cgroup2 detached: visible to nobody, gone with the descriptor. Needs CAP_SYS_ADMIN.
// Errors: the errno of fsopen, fsconfig, fsmount or openat, with the call named in `step`.
Result<Descriptor> open_cgroup_root();

} // namespace socktrace
