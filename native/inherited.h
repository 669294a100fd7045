// Descriptors that this process was started with for the sake of somebody else.
#pragma once

#include <vector>

#include "result.h"

namespace socktrace {

// Their numbers lead to /dev/null from now on: what they were is open no longer for all that this process has of it, and
// no number is free for something else that whoever knows the old one would write into.
Status let_go(const std::vector<int> &descriptors);

} // namespace socktrace
