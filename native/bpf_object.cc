#include "bpf_object.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <string_view>

#include "cgroup_root.h"
#include "user_reads.h"

// The objects themselves, in read-only data: the addon is one file and cannot load another's objects.
__asm__(".pushsection .rodata\n"
        ".balign 8\n"
        "socktrace_bpf_object:\n"
        ".incbin \"" SOCKTRACE_BPF_OBJECT "\"\n"
        "socktrace_bpf_object_end:\n"
        ".balign 8\n"
        "census_bpf_object:\n"
        ".incbin \"" CENSUS_BPF_OBJECT "\"\n"
        "census_bpf_object_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern "C" {
__attribute__((visibility("hidden"))) extern const char socktrace_bpf_object[];
__attribute__((visibility("hidden"))) extern const char socktrace_bpf_object_end[];
__attribute__((visibility("hidden"))) extern const char census_bpf_object[];
__attribute__((visibility("hidden"))) extern const char census_bpf_object_end[];
}

namespace socktrace {
namespace {

// A buffer of fixed size and no destructor: it outlives every LibbpfLog.
constexpr size_t kLogSize = 64 << 10;
thread_local char log_text[kLogSize];
thread_local size_t log_used = 0;
thread_local bool log_active = false;

int collect(enum libbpf_print_level level, const char *format, va_list arguments) {
  if (level == LIBBPF_DEBUG || !log_active || log_used >= kLogSize)
    return 0;
  int written = vsnprintf(log_text + log_used, kLogSize - log_used, format, arguments);
  if (written > 0)
    log_used = std::min(kLogSize, log_used + static_cast<size_t>(written));
  return written;
}

// libbpf guesses at locked memory whatever was refused. Whether that limit counts here is known to who explains a refusal.
constexpr std::string_view kGuesses[] = {". Make sure your kernel supports BPF", "; try raising 'ulimit -l'",
                                         "libbpf: Failed to bump RLIMIT_MEMLOCK"};

std::string_view without_guesses(std::string_view line) {
  for (std::string_view guess : kGuesses)
    line = line.substr(0, line.find(guess));
  return line;
}

} // namespace

LibbpfLog::LibbpfLog() {
  log_used = 0;
  log_active = true;
  libbpf_set_print(collect);
}

LibbpfLog::~LibbpfLog() {
  log_active = false;
}

// The verifier's complaint is the line before "processed N insns"; failing that, libbpf's first message.
std::string LibbpfLog::telling_line() const {
  std::string_view text(log_text, log_used), first, before_processed, previous;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = without_guesses(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty())
      continue;
    if (first.empty())
      first = line;
    if (line.rfind("processed ", 0) == 0 && !previous.empty())
      before_processed = previous;
    previous = line;
  }
  return std::string(before_processed.empty() ? first : before_processed);
}

SignalBlock::SignalBlock() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before_);
}

SignalBlock::~SignalBlock() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int load_object(const BpfObject &object) {
  SignalBlock block;
  return bpf_object__load(object.get());
}

// libbpf looks for types that the kernel itself lacks among its modules, and fails where that takes CAP_SYS_ADMIN. With a
// file of types it does not look: they are absent, as they are on most kernels.
static bool may_list_module_types() {
  uint32_t first;
  return bpf_btf_get_next_id(0, &first) == 0 || errno != EPERM;
}

static Result<BpfObject> open_embedded(const char *start, const char *end, const char *name) {
  LibbpfLog log;
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = name);
  if (!may_list_module_types())
    options.btf_custom_path = "/sys/kernel/btf/vmlinux";
  bpf_object *raw = bpf_object__open_mem(start, static_cast<size_t>(end - start), &options);
  if (!raw)
    return Failure{std::string("open the embedded BPF object ") + name, errno, log.telling_line()};
  return BpfObject(raw);
}

Result<BpfObject> open_census_object() {
  return open_embedded(census_bpf_object, census_bpf_object_end, "census");
}

Result<BpfObject> open_object(const std::vector<std::string> &programs) {
  if (Status failed = keep_user_reads())
    return *failed;
  Result<BpfObject> object = open_embedded(socktrace_bpf_object, socktrace_bpf_object_end, "socktrace");
  if (!object.ok())
    return object;
  bpf_program *program;
  bpf_object__for_each_program(program, object.value().get()) {
    bool wanted = std::find(programs.begin(), programs.end(), bpf_program__name(program)) != programs.end();
    bpf_program__set_autoload(program, wanted);
    LibbpfLog log;
    Status unfound = wanted ? find_attach_target(program) : std::nullopt;
    if (unfound)
      return Failure{unfound->step, unfound->error, log.telling_line()};
  }
  return object;
}

bpf_program *find_program(const BpfObject &object, const std::string &name) {
  return bpf_object__find_program_by_name(object.get(), name.c_str());
}

Status try_program(const std::string &name) {
  Result<BpfObject> opened = open_object({name});
  if (!opened.ok())
    return opened.failure();
  bpf_object *object = opened.value().get();
  bpf_program *program = find_program(opened.value(), name);
  if (!program)
    return Failure{"find the program " + name, ENOENT, ""};

  LibbpfLog log;
  if (int error = load_object(opened.value()))
    return Failure{"load", -error, log.telling_line()};
  Descriptor cgroup;
  BpfLink link;
  switch (bpf_program__type(program)) {
  case BPF_PROG_TYPE_CGROUP_SOCK: {
    Result<Descriptor> root = open_cgroup_root();
    if (!root.ok())
      return root.failure();
    cgroup = std::move(root.value());
    link.reset(bpf_program__attach_cgroup(program, cgroup.get()));
    break;
  }
  case BPF_PROG_TYPE_TRACING:
    if (bpf_program__expected_attach_type(program) == BPF_TRACE_ITER) {
      LIBBPF_OPTS(bpf_iter_attach_opts, options);
      bpf_iter_link_info info = {};
      if (strstr(bpf_program__section_name(program), "bpf_map_elem")) {
        info.map.map_fd = static_cast<__u32>(bpf_object__find_map_fd_by_name(object, "sockets"));
        options.link_info = &info;
        options.link_info_len = sizeof(info);
      }
      link.reset(bpf_program__attach_iter(program, &options));
      break;
    }
    link.reset(bpf_program__attach(program));
    break;
  default:
    link.reset(bpf_program__attach(program));
  }
  if (!link)
    return Failure{"attach", errno, log.telling_line()};
  return std::nullopt;
}

} // namespace socktrace
