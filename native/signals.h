// Passes signals on to the command of `socktrace run`.
#pragma once

#include <sys/types.h>

#include "result.h"

namespace socktrace {

// From now on SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 go to this child instead of ending the caller. Those
// that a terminal sends reach the child by themselves, being in the same process group, and are not sent twice.
Status pass_signals_to(pid_t child);

// They end the caller again.
void stop_passing_signals();

} // namespace socktrace
