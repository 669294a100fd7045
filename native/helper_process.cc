#include "helper_process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

namespace socktrace {

namespace {

std::mutex given_up_mutex;
std::vector<pid_t> &given_up() {
  static auto *pids = new std::vector<pid_t>; // of the process: never freed
  return *pids;
}

// Above what the helper gets: dup2 onto itself would leave close-on-exec set.
constexpr int kOwnDescriptors = kHelperSocket + 2;

// Makes capabilities of this thread ambient for as long as it lives, so that a program started meanwhile has them.
class LentCapabilities {
public:
  explicit LentCapabilities(const std::vector<int> &wanted) {
    if (wanted.empty() || syscall(SYS_capget, &header_, before_))
      return;
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    std::copy(std::begin(before_), std::end(before_), sets);
    for (int capability : wanted)
      sets[capability >> 5].inheritable |= sets[capability >> 5].permitted & 1u << (capability & 31);
    if (syscall(SYS_capset, &header_, sets))
      return;
    changed_ = true;
    for (int capability : wanted)
      if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, capability, 0, 0) == 0 &&
          prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) == 0)
        raised_.push_back(capability);
  }
  ~LentCapabilities() {
    for (int capability : raised_)
      prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, capability, 0, 0);
    if (changed_)
      syscall(SYS_capset, &header_, before_);
  }
  LentCapabilities(const LentCapabilities &) = delete;
  LentCapabilities &operator=(const LentCapabilities &) = delete;

private:
  __user_cap_header_struct header_ = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[_LINUX_CAPABILITY_U32S_3] = {};
  std::vector<int> raised_;
  bool changed_ = false;
};

class SpawnSettings {
public:
  SpawnSettings() {
    ok_ = posix_spawn_file_actions_init(&actions_) == 0 && posix_spawnattr_init(&attributes_) == 0;
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings &) = delete;
  SpawnSettings &operator=(const SpawnSettings &) = delete;

  // With this socket, no other descriptor but its program's, no environment, and signals as they are by default. In a session
  // of its own: what a terminal sends is for the tracer, which needs it until its own end.
  int spawn(pid_t *pid, int program, int socket, const char *name) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    constexpr int kProgram = kHelperSocket + 1;
    std::string path = "/proc/self/fd/" + std::to_string(kProgram);
    if (!ok_ || posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_adddup2(&actions_, socket, kHelperSocket) ||
        posix_spawn_file_actions_adddup2(&actions_, program, kProgram) ||
        posix_spawnattr_setsigdefault(&attributes_, &all) ||
        posix_spawnattr_setsigmask(&attributes_, &none) ||
        posix_spawnattr_setflags(&attributes_,
                                 POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID))
      return ENOMEM;
    char *arguments[] = {const_cast<char *>(name), nullptr};
    char *environment[] = {nullptr};
    return posix_spawn(pid, path.c_str(), &actions_, &attributes_, arguments, environment);
  }

private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  bool ok_;
};

} // namespace

Result<HelperProgram> HelperProgram::open(const std::string &path) {
  Descriptor program(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!program.valid())
    return Failure{"open " + path, errno, ""};
  Descriptor kept(fcntl(program.get(), F_DUPFD_CLOEXEC, kOwnDescriptors));
  if (!kept.valid())
    return Failure{"open " + path, errno, ""};
  return HelperProgram(path, std::move(kept));
}

Result<HelperProcess> HelperProgram::start(const char *name, const std::vector<int> &lent) const {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
    return Failure{std::string("make a socket for ") + name, errno, ""};
  Descriptor own(pair[0]), made(pair[1]);
  Descriptor other(fcntl(made.get(), F_DUPFD_CLOEXEC, kOwnDescriptors));
  SpawnSettings settings;
  LentCapabilities lending(lent);
  pid_t pid = -1;
  if (int error = other.valid() ? settings.spawn(&pid, program_.get(), other.get(), name) : errno)
    return Failure{"start " + path_, error, ""};
  return HelperProcess{pid, std::move(own)};
}

bool reap(std::vector<pid_t> *dying) {
  auto is_gone = [](pid_t pid) {
    pid_t ended = waitpid(pid, nullptr, WNOHANG);
    return ended == pid || (ended < 0 && errno == ECHILD);
  };
  dying->erase(std::remove_if(dying->begin(), dying->end(), is_gone), dying->end());
  return dying->empty();
}

void give_up(std::vector<pid_t> *dying) {
  std::lock_guard<std::mutex> lock(given_up_mutex);
  given_up().insert(given_up().end(), dying->begin(), dying->end());
  dying->clear();
}

bool reap_given_up() {
  std::lock_guard<std::mutex> lock(given_up_mutex);
  return reap(&given_up());
}

} // namespace socktrace
