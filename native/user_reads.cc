#include "user_reads.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>

#include <string_view>
#include <vector>

#include "descriptor.h"

namespace socktrace {
namespace {

// Marks our handlers; libbpf calls those of one thread only, as all of libbpf's global state.
bool user_reads_kept = false;

constexpr bpf_insn instruction(__u8 code, __u8 target, __u8 source, __s32 value) {
  bpf_insn made = {};
  made.code = code;
  made.dst_reg = target;
  made.src_reg = source;
  made.imm = value;
  return made;
}

// The smallest program with this helper; libbpf's own probe does not know the verifier's words of Linux 6.12.
bool helper_is_permitted(bpf_func_id helper) {
  const bpf_insn program[] = {
      instruction(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_10, 0),
      // With a constant: BPF_K is 0.
      instruction(BPF_ALU64 | BPF_ADD, BPF_REG_1, 0, -8),
      instruction(BPF_ALU64 | BPF_MOV, BPF_REG_2, 0, 8),
      instruction(BPF_ALU64 | BPF_MOV, BPF_REG_3, 0, 0),
      instruction(BPF_JMP | BPF_CALL, 0, 0, helper),
      instruction(BPF_JMP | BPF_EXIT, 0, 0, 0),
  };
  Descriptor loaded(
      bpf_prog_load(BPF_PROG_TYPE_TRACEPOINT, nullptr, "GPL", program, std::size(program), nullptr));
  return loaded.valid();
}

bool is_call_of(const bpf_insn &is, bpf_func_id helper) {
  return is.code == (BPF_JMP | BPF_CALL) && is.src_reg == 0 && is.imm == helper;
}

// Reads kernel memory, too, and libbpf has turned those into the same call: it must be refused, not read user memory
// instead and see nothing. What others of these sections have of such calls is cut off by the verifier, or with it the
// whole trace refused by the walk over tasks (nested pid namespaces).
constexpr std::string_view kReadsKernel = "syscall_exit";

// The programs of these sections never call bpf_probe_read itself.
int restore_user_reads(bpf_program *program, bpf_prog_load_opts *, long) {
  if (bpf_program__name(program) == kReadsKernel)
    return 0;
  const bpf_insn *now = bpf_program__insns(program);
  std::vector<bpf_insn> restored(now, now + bpf_program__insn_cnt(program));
  for (bpf_insn &is : restored)
    if (is_call_of(is, BPF_FUNC_probe_read))
      is.imm = BPF_FUNC_probe_read_user;
  return bpf_program__set_insns(program, restored.data(), restored.size());
}

int attach_trace(const bpf_program *program, long, bpf_link **link) {
  *link = bpf_program__attach_trace(program);
  return *link ? 0 : -errno;
}

struct Section {
  const char *prefix;
  bpf_prog_type type;
  bpf_attach_type attach;
};

constexpr Section kSections[] = {
    {"fentry+", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY},
    {"fexit+", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT},
    {"tp_btf+", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP},
    {"cgroup/sock_create", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE},
};

} // namespace

Status keep_user_reads() {
  if (user_reads_kept || helper_is_permitted(BPF_FUNC_probe_read_kernel) ||
      !helper_is_permitted(BPF_FUNC_probe_read_user))
    return std::nullopt;
  for (const Section &section : kSections) {
    LIBBPF_OPTS(libbpf_prog_handler_opts, options, .prog_prepare_load_fn = restore_user_reads);
    if (section.type == BPF_PROG_TYPE_TRACING)
      options.prog_attach_fn = attach_trace;
    int id = libbpf_register_prog_handler(section.prefix, section.type, section.attach, &options);
    if (id < 0)
      return Failure{std::string("take over libbpf's section ") + section.prefix, -id, ""};
  }
  user_reads_kept = true;
  return std::nullopt;
}

Status find_attach_target(bpf_program *program) {
  if (!user_reads_kept || bpf_program__type(program) != BPF_PROG_TYPE_TRACING ||
      bpf_program__expected_attach_type(program) == BPF_TRACE_ITER)
    return std::nullopt;
  const char *slash = strchr(bpf_program__section_name(program), '/');
  int error = slash ? bpf_program__set_attach_target(program, 0, slash + 1) : -EINVAL;
  if (error)
    return Failure{std::string("find ") + bpf_program__section_name(program), -error, ""};
  return std::nullopt;
}

} // namespace socktrace
