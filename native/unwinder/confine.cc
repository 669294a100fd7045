#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <vector>

// In place of the C library's: libdw would load libdebuginfod, and with it the network, when it finds no debug file.
extern "C" void *dlopen(const char *, int) {
  return nullptr;
}

namespace socktrace::unwinder {

namespace {

constexpr uid_t kNobody = 65534;
// Files are mapped whole: the binaries of a browser with their debug information take more than 2 GiB.
constexpr rlim_t kAddressSpace = rlim_t{4} << 30;
constexpr rlim_t kDescriptors = 8192; // a module has one, and up to two with debug information

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#endif

// A sanitizer keeps a byte for eight in a part of the address space of its own, and writes its reports to files.
#ifdef SOCKTRACE_SANITIZED
constexpr bool kIsSanitized = true;
#else
constexpr bool kIsSanitized = false;
#endif

bool limit(int what, rlim_t wanted) {
  rlimit now;
  if (getrlimit(static_cast<__rlimit_resource>(what), &now))
    return false;
  rlim_t value = std::min(wanted, now.rlim_max);
  rlimit then = {value, value};
  return setrlimit(static_cast<__rlimit_resource>(what), &then) == 0;
}

bool may_change_user() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = {};
  constexpr uint32_t kNeeded = 1u << CAP_SETUID | 1u << CAP_SETGID;
  return syscall(SYS_capget, &header, has) == 0 && (has[0].effective & kNeeded) == kNeeded;
}

// A user's own unwinder stays that user's; so does root's where root may not change its user, as in a container that keeps
// the needed capabilities only. Either has no capabilities then, and few system calls.
bool become_nobody() {
  if (!may_change_user())
    return true;
  return setgroups(0, nullptr) == 0 && setresgid(kNobody, kNobody, kNobody) == 0 &&
         setresuid(kNobody, kNobody, kNobody) == 0;
}

bool drop_capabilities() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); // fails where there are none to clear
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capset, &header, none) == 0;
}

constexpr uint32_t low_word_of_argument(int index) {
  // The low one is the first: both architectures are little-endian.
  return static_cast<uint32_t>(offsetof(seccomp_data, args) + sizeof(uint64_t) * static_cast<size_t>(index));
}

class Filter {
public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    add(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
    answer(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
  }
  // Where this argument is one of these values.
  void allow_with(long number, int argument, std::initializer_list<uint32_t> values) {
    auto count = static_cast<uint8_t>(values.size());
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, static_cast<uint8_t>(3 + count));
    load(low_word_of_argument(argument));
    for (uint32_t value : values)
      add(BPF_JMP | BPF_JEQ | BPF_K, value, count--, 0);
    answer(SECCOMP_RET_KILL_PROCESS);
    answer(SECCOMP_RET_ALLOW);
  }
  void allow(long number) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1);
    answer(SECCOMP_RET_ALLOW);
  }
  void refuse(long number) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1);
    answer(SECCOMP_RET_ERRNO | EACCES);
  }
  // Where none of these bits is set in an argument.
  void allow_without(long number, int argument, uint32_t bits) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 4);
    load(low_word_of_argument(argument));
    add(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    answer(SECCOMP_RET_ALLOW);
    answer(SECCOMP_RET_KILL_PROCESS);
  }
  bool install() {
    answer(SECCOMP_RET_KILL_PROCESS);
    sock_fprog program = {static_cast<unsigned short>(code_.size()), code_.data()};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
  }

private:
  void add(uint16_t code, uint32_t value, uint8_t if_true, uint8_t if_false) {
    code_.push_back({code, if_true, if_false, value});
  }
  void load(uint32_t offset) {
    add(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
  }
  void answer(uint32_t action) {
    add(BPF_RET | BPF_K, action, 0, 0);
  }
  std::vector<sock_filter> code_;
};

// What libdw, libelf and the allocator call: memory without new code, reading, and the one socket.
bool filter_system_calls() {
  Filter filter;
  for (long number : {
         SYS_read, SYS_pread64, SYS_readv, SYS_close, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek,
             SYS_readlinkat, SYS_faccessat, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_futex,
             SYS_sendto, SYS_recvmsg, SYS_rt_sigreturn, SYS_exit, SYS_exit_group, SYS_clock_gettime,
             SYS_getrandom, SYS_sysinfo, SYS_getpid, SYS_gettid, SYS_rt_sigprocmask, SYS_getcwd,
             SYS_restart_syscall,
#if defined(__x86_64__)
             SYS_stat, SYS_lstat, SYS_readlink, SYS_access,
#endif
       })
    filter.allow(number);
  // How abort() ends itself; and nobody else.
  filter.allow_with(SYS_tgkill, 0, {static_cast<uint32_t>(getpid())});
  filter.allow_with(SYS_fcntl, 1, {F_GETFD, F_SETFD, F_GETFL, F_DUPFD, F_DUPFD_CLOEXEC});
  constexpr uint32_t kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  if (kIsSanitized)
    for (long number : {
           SYS_openat, SYS_write, SYS_sigaltstack, SYS_sched_yield, SYS_getrusage, SYS_prctl, SYS_ioctl,
               SYS_rt_sigaction, SYS_uname, SYS_pipe2, SYS_dup, SYS_rt_sigprocmask, SYS_getppid,
#if defined(__x86_64__)
               SYS_open, SYS_dup2,
#endif
         })
      filter.allow(number);
  // Root's files are open to root without any capability; debug files are not worth that.
  if (geteuid() == 0)
    filter.refuse(SYS_openat);
  filter.allow_without(SYS_openat, 2, kWriting);
#if defined(__x86_64__)
  if (geteuid() == 0)
    filter.refuse(SYS_open);
  filter.allow_without(SYS_open, 1, kWriting);
#endif
  filter.allow_without(SYS_mmap, 2, PROT_EXEC);
  filter.allow_without(SYS_mprotect, 2, PROT_EXEC);
  return filter.install();
}

} // namespace

std::optional<ConfinementStep> give_up_privileges() {
  // Others of its user are not to read what it reads, from the first moment on.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    return ConfinementStep::kUser;
  if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_NOFILE, kDescriptors))
    return ConfinementStep::kLimits;
  if (!kIsSanitized && (!limit(RLIMIT_AS, kAddressSpace) || !limit(RLIMIT_FSIZE, 0)))
    return ConfinementStep::kLimits;
  if (!become_nobody())
    return ConfinementStep::kUser;
  // Again: with the user it became what the system's setting says.
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    return ConfinementStep::kUser;
  if (!drop_capabilities())
    return ConfinementStep::kCapabilities;
  // After the change of user, which clears the first. A tracer that has died before is seen by the end of its socket.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    return ConfinementStep::kNoNewPrivileges;
  if (!filter_system_calls())
    return ConfinementStep::kFilter;
  return std::nullopt;
}

} // namespace socktrace::unwinder
