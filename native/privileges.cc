#include "privileges.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "clock.h"
#include "descriptor.h"

// The kernel returns from a signal handler through it; the C library has one of its own, and does not tell where.
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
        ".type socktrace_return, @function\n"
        "socktrace_return:\n"
        "  mov $15, %eax\n" // rt_sigreturn
        "  syscall\n"
        ".size socktrace_return, . - socktrace_return\n"
        ".popsection\n");
extern "C" __attribute__((visibility("hidden"))) void socktrace_return();
#endif

namespace socktrace {
namespace {

// Capabilities belong to threads, and no thread can change another's: each has to be made to do it itself, by a signal.
// This one is the C library's, by which setuid(2) does the same, and the only one that threads of Node cannot have blocked.
constexpr int kSignal = 33;
constexpr uint64_t kPatienceNs = 5'000'000'000;
constexpr useconds_t kPause = 500;
constexpr size_t kCleanPasses = 2;

// Of the kernel, which the C library's differ from.
struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
#if defined(__x86_64__)
  void (*restorer)();
#endif
  uint64_t mask;
};

struct DirectoryCloser {
  void operator()(DIR *directory) const {
    closedir(directory);
  }
};

uint32_t kept_bits[_LINUX_CAPABILITY_U32S_3];

bool is_kept(int capability) {
  return (kept_bits[capability >> 5] >> (capability & 31) & 1) != 0;
}

// Runs inside of a signal handler: system calls only. What cannot be done shows in the thread's status.
void reduce_this_thread() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // Takes CAP_SETPCAP. Without it, no new privileges do: what is not permitted cannot be gained.
  for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
    if (i >= 64 || !is_kept(i))
      prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets))
    return;
  for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
    sets[i].permitted &= kept_bits[i];
    sets[i].effective &= kept_bits[i];
    sets[i].inheritable = 0;
  }
  syscall(SYS_capset, &header, sets);
}

void reduce(int) {
  int before = errno;
  reduce_this_thread();
  errno = before;
}

bool has_line(const char *status, const char *name, uint64_t most) {
  const char *line = strstr(status, name);
  return line && (strtoull(line + strlen(name), nullptr, 16) & ~most) == 0;
}

// Not of one that has ended: it may have started another before.
bool is_reduced(pid_t thread) {
  char path[64], status[8192];
  snprintf(path, sizeof(path), "/proc/self/task/%d/status", thread);
  Descriptor file(open(path, O_RDONLY | O_CLOEXEC));
  ssize_t got = file.valid() ? read(file.get(), status, sizeof(status) - 1) : -1;
  if (got <= 0)
    return false;
  status[got] = '\0';
  uint64_t kept = uint64_t{kept_bits[1]} << 32 | kept_bits[0];
  const char *renounced = strstr(status, "NoNewPrivs:\t1");
  return renounced && has_line(status, "CapInh:\t", 0) && has_line(status, "CapPrm:\t", kept) &&
         has_line(status, "CapAmb:\t", 0);
}

// Signals each thread that has not done it, once; how many there were, with those that ended meanwhile, or -1. A second signal could come when nobody takes
// it any more, and end the process.
int signal_others(std::vector<pid_t> *told) {
  std::unique_ptr<DIR, DirectoryCloser> threads(opendir("/proc/self/task"));
  if (!threads)
    return -1;
  int count = 0;
  while (dirent *entry = readdir(threads.get())) {
    pid_t thread = atoi(entry->d_name);
    if (thread <= 0 || is_reduced(thread))
      continue;
    count++;
    if (std::find(told->begin(), told->end(), thread) != told->end())
      continue;
    told->push_back(thread);
    syscall(SYS_tgkill, getpid(), thread, kSignal);
  }
  return count;
}

} // namespace

Status keep_capabilities(const std::vector<int> &kept) {
  memset(kept_bits, 0, sizeof(kept_bits));
  for (int capability : kept)
    kept_bits[capability >> 5] |= 1u << (capability & 31);
  KernelAction action = {}, before = {};
  action.handler = reduce;
  action.flags = SA_RESTART;
  action.mask = ~uint64_t{0};
#if defined(__x86_64__)
  constexpr unsigned long kRestorer = 0x04000000; // SA_RESTORER of the kernel
  action.flags |= kRestorer;
  action.restorer = socktrace_return;
#endif
  if (syscall(SYS_rt_sigaction, kSignal, &action, &before, sizeof(action.mask)))
    return Failure{"take a signal to drop capabilities", errno, ""};
  reduce_this_thread();
  // Until none is left in two passes in a row: a thread that drops them while the first is made may have started another
  // before that, and after the threads were listed. Such a one has not been told, so the second pass finds it as it is.
  std::vector<pid_t> told;
  int left = -1;
  size_t clean = 0;
  for (uint64_t begun = now_ns(); clean < kCleanPasses && now_ns() - begun < kPatienceNs;) {
    left = signal_others(&told);
    clean = left == 0 ? clean + 1 : 0;
    if (left != 0)
      usleep(kPause);
  }
  // A signal that is still to come must find the handler.
  if (clean < kCleanPasses)
    return Failure{"drop capabilities in every thread", left < 0 ? errno : ETIMEDOUT, ""};
  syscall(SYS_rt_sigaction, kSignal, &before, nullptr, sizeof(action.mask));
  return std::nullopt;
}

} // namespace socktrace
