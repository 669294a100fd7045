// Reads what a process has mapped, and opens it. Any of it may wait without an end: a file system that a user's program
// answers for need not answer.
#pragma once

#include <functional>

#include "process_maps.h"
#include "result.h"

namespace socktrace {

// Fails with ESRCH when the process is not there any more, or is another one of the same pid. Files that `is_known` are not
// opened.
Result<CodeMaps> read_code_maps(const ProcessKey &key, const std::function<bool(const FileName &)> &is_known);

} // namespace socktrace
