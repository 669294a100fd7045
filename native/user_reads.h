// Reads of user memory by BPF programs under lockdown=confidentiality, where libbpf would take them away.
#pragma once

#include <bpf/libbpf.h>

#include "result.h"

namespace socktrace {

// Before it loads a program, libbpf turns bpf_probe_read_user into bpf_probe_read where the kernel refuses
// bpf_probe_read_kernel, as kernels before 5.5 do, which have neither (bpf_object__sanitize_prog). Lockdown refuses
// reads of kernel memory alone: programs of trampolines and tracepoints, which read that by typed loads, keep theirs
// of user memory by this. Call it before an object is opened; does nothing where libbpf has no reason for it.
// Errors: libbpf refuses to register a handler.
Status keep_user_reads();

// What libbpf itself does for its own sections and cannot do for ours: finds the kernel function or tracepoint of a
// program that will be loaded. Does nothing for others. Errors: the kernel has none of this name.
Status find_attach_target(bpf_program *program);

} // namespace socktrace
