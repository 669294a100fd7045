// Opens a file that a fetcher without privileges has put into its folder, where it may have put anything.
#pragma once

#include <string>

#include "descriptor.h"
#include "result.h"

namespace socktrace {

// `path` leads from the folder to the file, through no symbolic link and no mount.
Result<Descriptor> open_debug_file(const std::string &folder, const std::string &path);

} // namespace socktrace
