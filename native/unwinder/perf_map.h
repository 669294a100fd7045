// The names that a JIT compiler writes to /tmp/perf-PID.map. Written by the traced side while it is read.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace socktrace::unwinder {

class PerfMap {
public:
  // Takes the descriptor; -1: there is no map.
  explicit PerfMap(int descriptor) : descriptor_(descriptor) {}
  ~PerfMap();
  PerfMap(const PerfMap &) = delete;
  PerfMap &operator=(const PerfMap &) = delete;

  bool present() const {
    return descriptor_ >= 0;
  }
  // The file may have grown, or have been written anew: the next question looks.
  void expect_news() {
    looked_ = false;
  }
  // Empty: not named.
  std::string_view find(uint64_t address);

private:
  struct Entry {
    uint64_t end;
    std::string name;
  };
  std::string_view look(uint64_t address) const;
  void refresh();
  bool is_as_read() const;
  void read_on();
  void take_line(std::string_view line);
  void insert(uint64_t start, uint64_t end, std::string name);

  int descriptor_;
  bool looked_ = false;
  uint64_t size_ = 0;
  int64_t changed_ns_ = 0;
  uint64_t next_whole_ns_ = 0; // it may be read from its start again then
  std::string head_, tail_;    // the first bytes that were read, and the last ones
  uint64_t offset_ = 0;
  std::string partial_;               // the last line, not ended yet
  bool skipping_ = false;             // the rest of a line that is too long
  std::map<uint64_t, Entry> entries_; // by start, not overlapping
};

} // namespace socktrace::unwinder
