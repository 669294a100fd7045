// Whether the kernel takes a kind of hook, told by a program that does nothing: a refusal costs next to nothing then,
// where to load a program of a hook set takes the object, its maps and the kernel's types. What has been attached is
// returned, and is best kept as long as the hooks themselves: nobody calls what it is at, and to detach it the kernel waits
// for all tasks (0.1 s and more).
#pragma once

#include "descriptor.h"
#include "kernel_types.h"
#include "result.h"

namespace socktrace {

// At the entry of a function of the kernel, by a trampoline. On arm64 before 6.6 it loads and does not attach.
Result<Descriptor> try_empty_fentry(const KernelTypes &types);

// At the entry of a function of the kernel, by a kprobe.
Result<Descriptor> try_empty_kprobe(const KernelTypes &types);

} // namespace socktrace
