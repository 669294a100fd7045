// Gives up, in every thread of this process, the capabilities that it does not need any more.
#pragma once

#include <vector>

#include "result.h"

namespace socktrace {

// Keeps only these of the capabilities that it has (numbers of linux/capability.h), without any that its children could
// inherit unasked, and never gets one back: not by executing a file either. Fails when a thread could not be reached.
Status keep_capabilities(const std::vector<int> &kept);

} // namespace socktrace
