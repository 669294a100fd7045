// The cache of verified paths: what the unwinder found is given to the BPF programs, which then know the same stack by a
// few words. Written here only; PATH_* of bpf/callpath_records.h.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "callpath_records.h"
#include "unwinder_client.h"

namespace socktrace {

struct PathCacheMaps {
  int slots = -1, verified = -1, leaves = -1, deep = -1;
};

struct PathCacheCounters {
  uint64_t audited = 0; // answers of the cache that were checked
  uint64_t wrong = 0;   // of these
};

class PathCache {
public:
  explicit PathCache(PathCacheMaps maps) : maps_(maps) {}

  // Keeps what an answer to this sample will have to be filed under.
  void sampled(const stack_sample &sample);
  // Takes the answer; files the path, or asks for more of the next stacks of a process whose copies end too early.
  void unwound(const UnwoundPath &path);

  // The process has other code at its addresses than when its paths were unwound.
  void code_changed(const ProcessKey &process);
  // Nobody runs this code any more, unless children of that process do: theirs is then unwound again.
  void code_gone(const ProcessKey &process);
  // The unwinder cannot name this path any more: its stacks have to be unwound again.
  void forgotten(uint64_t path);

  const PathCacheCounters &counters() const {
    return counters_;
  }

private:
  struct Asked {
    path_key place; // fingerprint as it was asked for
    ProcessKey process;
    uint64_t instruction, stack_pointer, depth, cached_ref;
    bool deep;
  };
  struct Filed {
    uint64_t path;
    path_key place;
    ProcessKey process; // may run the code of another
  };

  void audit(const Asked &asked, const UnwoundPath &path);
  void file(const Asked &asked, const UnwoundPath &path);
  void remove(uint64_t ref);
  template<typename Holds>
  void remove_if(Holds holds);

  PathCacheMaps maps_;
  PathCacheCounters counters_;
  std::unordered_map<uint64_t, Asked> asked_;
  std::unordered_map<uint64_t, Filed> filed_;
  std::deque<uint64_t> order_; // of filing, the oldest first
  std::set<ProcessKey> gone_;  // whose paths are still filed
};

} // namespace socktrace
