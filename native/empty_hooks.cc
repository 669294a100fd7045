#include "empty_hooks.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf_object.h"
#include "descriptor.h"

namespace socktrace {
namespace {

// For tests of the kernel's own, which nobody runs; failing that, one that every hook set is about.
const char *quiet_function(const KernelTypes &types) {
  static constexpr char kForTests[] = "bpf_fentry_test1";
  return types.function(kForTests) > 0 ? kForTests : "tcp_init_sock";
}

constexpr char kFentry[] = "an empty fentry program";
constexpr char kKprobe[] = "an empty kprobe program";

Descriptor load_empty(bpf_prog_type type, const bpf_prog_load_opts *options) {
  bpf_insn program[2] = {};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K; // r0 = 0
  program[1].code = BPF_JMP | BPF_EXIT;
  SignalBlock block;
  return Descriptor(bpf_prog_load(type, nullptr, "GPL", program, 2, options));
}

// Of perf's kind of event for kprobes; negative where the kernel has none.
int kprobe_event_type() {
  FILE *file = fopen("/sys/bus/event_source/devices/kprobe/type", "re");
  if (!file)
    return -errno;
  int type;
  bool is_read = fscanf(file, "%d", &type) == 1;
  fclose(file);
  return is_read ? type : -EINVAL;
}

} // namespace

Result<Descriptor> try_empty_fentry(const KernelTypes &types) {
  int function = types.function(quiet_function(types));
  if (function < 0)
    return Failure{"load", -function, kFentry};
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FENTRY,
              .attach_btf_id = static_cast<__u32>(function));
  Descriptor program = load_empty(BPF_PROG_TYPE_TRACING, &options);
  if (!program.valid())
    return Failure{"load", errno, kFentry};
  Descriptor link(bpf_raw_tracepoint_open(nullptr, program.get()));
  if (!link.valid())
    return Failure{"attach", errno, kFentry};
  return link;
}

Result<Descriptor> try_empty_kprobe(const KernelTypes &types) {
  int type = kprobe_event_type();
  if (type < 0)
    return Failure{"attach", -type, kKprobe};
  Descriptor program = load_empty(BPF_PROG_TYPE_KPROBE, nullptr);
  if (!program.valid())
    return Failure{"load", errno, kKprobe};
  perf_event_attr event = {};
  event.size = sizeof(event);
  event.type = static_cast<__u32>(type);
  event.kprobe_func = reinterpret_cast<__u64>(quiet_function(types));
  Descriptor opened(static_cast<int>(
      syscall(SYS_perf_event_open, &event, -1 /* pid */, 0 /* cpu */, -1 /* group */, PERF_FLAG_FD_CLOEXEC)));
  if (!opened.valid() || ioctl(opened.get(), PERF_EVENT_IOC_SET_BPF, program.get()))
    return Failure{"attach", errno, kKprobe};
  return opened;
}

} // namespace socktrace
