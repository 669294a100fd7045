// A census of the host's TCP socks: walks descriptors and, in each network namespace, the hash tables.
#pragma once

#include <stdint.h>

#include <array>
#include <string>
#include <vector>

#include "census_records.h"
#include "result.h"

namespace socktrace {

struct CensusOptions {
  uint32_t max_sockets = 1 << 16;
  std::vector<std::string> namespaces; // paths of network namespaces, one each
};

// What was read inside a network namespace, or why it was not. Texts are as in /proc, empty where there is no file.
struct CensusNamespace {
  std::string path;
  uint64_t inode = 0;
  std::string port_range, reserved_ports, sockstat, sockstat6;
  Status failure;
};

struct Census {
  std::vector<char> rows;        // census_record
  std::vector<char> descriptors; // census_descriptor
  std::vector<char> minisocks;   // census_minisock
  std::array<uint64_t, CENSUS_COUNTER_COUNT> counters = {};
  std::vector<CensusNamespace> namespaces; // in the order asked for
};

// Loads, walks once, and unloads. Errors: the kernel refuses the programs, or an iterator broke off.
Result<Census> take_census(const CensusOptions &options);

} // namespace socktrace
