// A JIT compiler's map, of which a part is written after the first look. The first two bytes say which, and whether the rest
// is appended or takes the place of the first.
#include "perf_map.h"

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "targets.h"

namespace socktrace::fuzz {

namespace {

constexpr uint64_t kCodeAt = 0x7f0000000000;

void look(unwinder::PerfMap *map) {
  map->expect_news();
  for (uint64_t address = kCodeAt; address < kCodeAt + 0x400; address += 0x20)
    map->find(address);
  for (uint64_t address : {uint64_t{0}, uint64_t{1} << 63, UINT64_MAX})
    map->find(address);
}

} // namespace

void perf_map(const uint8_t *bytes, size_t size) {
  auto how = number_at<uint16_t>(bytes, size, 0);
  size_t head = std::min<size_t>(size, 2), first = std::min<size_t>(how >> 1, size - head);
  Descriptor file = file_of(bytes + head, first);
  int writer = dup(file.get());
  unwinder::PerfMap map(file.release());
  look(&map);
  const uint8_t *rest = bytes + head + first;
  size_t left = size - head - first;
  bool replaces = how & 1;
  if (replaces && ftruncate(writer, 0))
    abort();
  if (pwrite(writer, rest, left, replaces ? 0 : static_cast<off_t>(first)) != static_cast<ssize_t>(left))
    abort();
  close(writer);
  look(&map);
}

} // namespace socktrace::fuzz
