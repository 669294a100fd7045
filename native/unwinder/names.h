// From the frames of a path to what a reader recognises: functions, files, lines.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lines.h"
#include "protocol.h"
#include "unwind.h"

namespace socktrace::unwinder {

constexpr size_t kLongestMangledName = 1024; // what demangling costs grows faster than the name

bool is_mangled(std::string_view name);
// Demangled where it is C++'s or Rust's.
std::string readable_name(std::string_view name);
std::string bounded(std::string_view text, size_t most);

struct Name {
  std::string function, file;
  uint32_t line;
  FrameHow how;
  uint64_t offset;
  std::shared_ptr<ElfModule> module;
};

struct StoredPath {
  PathQuality quality;
  uint32_t notes;
  std::vector<UnwoundFrame> frames;
};

// The paths that were unwound, for the case that their names are wanted.
class Paths {
public:
  void add(uint64_t path, const Unwound &unwound);
  // Null: it is not here (any more).
  const StoredPath *find(uint64_t path) const;
  std::vector<Name> names_of(const StoredPath &path);
  // More is known of the module: what it was asked before is asked again.
  void renew(const ElfModule *module);

private:
  struct OfModule {
    std::shared_ptr<ElfModule> module; // keeps the key valid
    std::unique_ptr<Lines> lines, lines_from_elsewhere;
    std::unordered_map<uint64_t, std::vector<SourcePlace>> places;
  };
  const std::vector<SourcePlace> &places_of(const UnwoundFrame &frame);
  std::vector<SourcePlace> look(OfModule &of, uint64_t code);

  std::unordered_map<uint64_t, StoredPath> paths_;
  std::deque<uint64_t> order_; // the oldest first
  std::map<const ElfModule *, OfModule> modules_;
  size_t cached_ = 0;
};

} // namespace socktrace::unwinder
