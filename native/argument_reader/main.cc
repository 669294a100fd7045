// socktrace-arguments: reads the arguments of processes for the tracer. That takes the lock of their mappings, which they
// can keep held while they wait for a file system that does not answer: a process of its own may be kept waiting.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "helper_main.h"
#include "protocol.h"
#include "unwinder/passing.h"

namespace socktrace {

namespace {

// How many bytes there were, or -errno.
ssize_t read_arguments(uint32_t pid, char *bytes, size_t most) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/%u/cmdline", pid);
  Descriptor file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid())
    return -errno;
  size_t used = 0;
  while (used < most) {
    ssize_t got = read(file.get(), bytes + used, most - used);
    if (got < 0)
      return -errno;
    if (got == 0)
      break;
    used += static_cast<size_t>(got);
  }
  return static_cast<ssize_t>(used);
}

// Until the tracer has gone, or says what it never says.
void serve() {
  char packet[sizeof(ArgumentsAnswer) + kMostArgumentBytes];
  for (;;) {
    ArgumentsQuestion question;
    ssize_t got;
    do {
      got = recv(kHelperSocket, &question, sizeof(question), 0);
    } while (got < 0 && errno == EINTR);
    if (got != sizeof(question))
      return;
    ssize_t bytes = read_arguments(question.pid, packet + sizeof(ArgumentsAnswer), kMostArgumentBytes);
    ArgumentsAnswer answer = {question.number, bytes < 0 ? static_cast<int32_t>(-bytes) : 0};
    memcpy(packet, &answer, sizeof(answer));
    size_t size = sizeof(answer) + (bytes < 0 ? 0 : static_cast<size_t>(bytes));
    if (send_packet(kHelperSocket, packet, size, nullptr, 0, 0) < 0)
      return;
  }
}

} // namespace

} // namespace socktrace

int main() {
  using namespace socktrace;
  if (!begin_helper("socktrace-args"))
    return 1;
  serve();
  return 0;
}
