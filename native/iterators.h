// Reads one BPF iterator into a caller's buffer, a piece at a time.
#pragma once

#include <stddef.h>

#include <string>

#include "bpf_object.h"
#include "descriptor.h"
#include "result.h"

namespace socktrace {

class Iterator {
public:
  Iterator() = default;

  // `map` names the map that an iter/bpf_map_elem program walks; empty for other iterators.
  Status attach(const BpfObject &object, const std::string &program, const std::string &map);

  // Starts a pass when none is under way, and reads whole records of `record_size` bytes into `buffer` until it is
  // full. Returns the bytes read; 0 ends the pass. Errors end it too.
  Result<size_t> read(void *buffer, size_t size, size_t record_size);

private:
  BpfLink link_;
  Descriptor pass_;
  bool ended_ = false; // the pass is over, and its end is still to be told
  int error_ = 0;      // why, when it was an error
};

} // namespace socktrace
