// Gives up everything that reading ELF files does not need, before the first byte of one is read.
#pragma once

namespace socktrace::unwinder {

// False: something could not be given up, and nothing may be read.
bool give_up_privileges();

} // namespace socktrace::unwinder
