#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

namespace socktrace {
namespace {

constexpr int kPassed[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

// A pidfd, since the pid may be another's once the child has been waited for. Never closed: a handler may be at it.
std::atomic<int> passed_to{-1};
static_assert(std::atomic<int>::is_always_lock_free, "signal handlers must not wait");

void pass(int signal, siginfo_t *about, void *) {
  int before = errno;
  // The kernel's own (a key, a terminal that went away) are sent to the whole foreground group; of a hang-up only the
  // leader of the session hears.
  if (about->si_code != SI_KERNEL || signal == SIGHUP)
    syscall(SYS_pidfd_send_signal, passed_to.load(), signal, nullptr, 0);
  errno = before;
}

} // namespace

Status pass_signals_to(pid_t child) {
  int descriptor = static_cast<int>(syscall(SYS_pidfd_open, child, 0));
  if (descriptor < 0)
    return Failure{"open the command's process", errno, ""};
  passed_to.store(descriptor);
  struct sigaction action = {};
  action.sa_sigaction = pass;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (int signal : kPassed)
    if (sigaction(signal, &action, nullptr) != 0)
      return Failure{"take a signal", errno, ""};
  return std::nullopt;
}

void stop_passing_signals() {
  for (int signal : kPassed)
    ::signal(signal, SIG_DFL);
}

} // namespace socktrace
