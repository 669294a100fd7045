// What an unwinder must know of a process: its executable mappings and the files behind them. All of it is under the
// control of the traced side: bounded, and nothing is opened that could block or that is not what it claims to be.
#pragma once

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "callpath_records.h"
#include "descriptor.h"
#include "unwinder/protocol.h"

namespace socktrace {

// A pid is reused, and exec puts another program under it.
struct ProcessKey {
  uint32_t tgid;
  uint32_t execs;
  uint64_t start_ns;

  bool operator<(const ProcessKey &other) const {
    return std::tie(tgid, execs, start_ns) < std::tie(other.tgid, other.execs, other.start_ns);
  }
};

inline ProcessKey process_of(const stack_sample &sample) {
  return {sample.tgid, sample.execs, sample.start_ns};
}

constexpr size_t kMaxCodeFiles = 512; // of one process

// Of a file's contents, as far as they can be told apart without reading them.
struct FileIdentity {
  uint64_t device, inode, size;
  int64_t modified_ns, changed_ns;

  bool operator<(const FileIdentity &other) const {
    return std::tie(device, inode, size, modified_ns, changed_ns) <
           std::tie(other.device, other.inode, other.size, other.modified_ns, other.changed_ns);
  }
};

// One file may have another name for each process: none is to be shown under a name that only another one gave it.
struct FileName {
  FileIdentity identity;
  std::string path; // in the process's own view

  bool operator<(const FileName &other) const {
    return std::tie(identity, path) < std::tie(other.identity, other.path);
  }
};

struct CodeFile {
  FileName name;
  bool here;             // its path leads to it in the tracer's view, too
  bool refused;          // it could not be opened: it has a name, and no more
  Descriptor descriptor; // of a file that is known already, none; outside of the reader, its envelope
};

struct CodeMapping {
  uint64_t start, end, file_offset;
  uint32_t file; // index of CodeMaps::files plus 1; 0: none
  bool anonymous;
};

struct CodeMaps {
  std::vector<CodeMapping> mappings; // executable ones, in rising order
  std::vector<CodeFile> files;
  Descriptor perf_map; // as CodeFile::descriptor
  // To compare with another time: of everything, and of each mapping of a file (in no order; of too many, one for all).
  uint64_t fingerprint = 0;
  std::vector<uint64_t> backed;
  uint32_t flags = 0; // ProcessFlag
  uint32_t notes = 0; // PathNote
};

} // namespace socktrace
