// socktrace-unwinder: turns copied stacks into frames and names. Started by the tracer, of which it knows one socket; it
// reads files that the traced side wrote, and so it may do nothing else.
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <optional>

#include "confine.h"
#include "protocol.h"
#include "server.h"

int main() {
  using namespace socktrace;
  // Whatever the tracer had open without close-on-exec stays out of reach.
  syscall(SYS_close_range, kUnwinderSocket + 1, ~0u, 0);
  // It was started by a descriptor's name.
  prctl(PR_SET_NAME, "socktrace-unwinder", 0, 0, 0);
  // Who stops a service or closes a terminal means the tracer, which asks for names until its own end.
  for (int number : {SIGINT, SIGTERM, SIGHUP})
    signal(number, SIG_IGN);
  if (std::optional<ConfinementStep> failed = unwinder::give_up_privileges()) {
    RefusedMessage refused = {{MessageType::kRefused, sizeof(refused)}, *failed, errno};
    sendto(kUnwinderSocket, &refused, sizeof(refused), MSG_NOSIGNAL, nullptr, 0);
    return 2;
  }
  int result = unwinder::serve();
  // Nothing that destructors would do matters any more.
  _exit(result);
}
