// Gives up everything that reading ELF files does not need, before the first byte of one is read.
#pragma once

#include <optional>

#include "protocol.h"

namespace socktrace::unwinder {

// What could not be given up, with errno; then nothing may be read.
std::optional<ConfinementStep> give_up_privileges();

} // namespace socktrace::unwinder
