#include "perf_map.h"

#include <errno.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "../clock.h"
#include "protocol.h"

namespace socktrace::unwinder {

namespace {

constexpr uint64_t kMaxBytes = 64 << 20;
constexpr size_t kMaxEntries = 1'000'000;
constexpr size_t kMaxLine = 4096;
constexpr size_t kCompared = 4096;
constexpr uint64_t kWholeFactor = 20; // at most a twentieth of the time goes into reading one from its start

// Takes a hexadecimal number and the space after it.
bool take_number(std::string_view *text, uint64_t *number) {
  if (text->substr(0, 2) == "0x") // the JVM's
    text->remove_prefix(2);
  const char *end = text->data() + text->size();
  auto [after, error] = std::from_chars(text->data(), end, *number, 16);
  if (error != std::errc() || after == end || *after != ' ')
    return false;
  text->remove_prefix(static_cast<size_t>(after - text->data()) + 1);
  return true;
}

// A JavaScript function has another mark for each compiler that has been at it: "JS:*f", "JS:~f".
std::string without_tier(std::string_view name) {
  size_t colon = name.find(':');
  if (colon == std::string_view::npos || colon + 1 >= name.size() ||
      std::string_view("*~^+").find(name[colon + 1]) == std::string_view::npos)
    return std::string(name);
  return std::string(name.substr(0, colon + 1)) + std::string(name.substr(colon + 2));
}

} // namespace

PerfMap::~PerfMap() {
  if (descriptor_ >= 0)
    close(descriptor_);
}

std::string_view PerfMap::find(uint64_t address) {
  if (!present())
    return {};
  if (!looked_)
    refresh();
  looked_ = true;
  return look(address);
}

std::string_view PerfMap::look(uint64_t address) const {
  auto after = entries_.upper_bound(address);
  if (after == entries_.begin())
    return {};
  --after;
  return address < after->second.end ? std::string_view(after->second.name) : std::string_view();
}

// Memory is used again under another name, and a map is written anew by each jcmd: what was read once is not for ever.
void PerfMap::refresh() {
  struct stat about;
  if (fstat(descriptor_, &about) != 0)
    return;
  auto size = static_cast<uint64_t>(about.st_size);
  int64_t changed = about.st_mtim.tv_sec * 1'000'000'000 + about.st_mtim.tv_nsec;
  bool is_whole = offset_ == 0;
  if (!is_whole && size == size_ && changed == changed_ns_)
    return;
  if (size < offset_ || !is_as_read()) {
    entries_.clear();
    partial_.clear();
    head_.clear();
    tail_.clear();
    offset_ = 0;
    skipping_ = false;
    is_whole = true;
  }
  uint64_t begun = now_ns();
  if (is_whole && begun < next_whole_ns_)
    return;
  size_ = size;
  changed_ns_ = changed;
  read_on();
  if (is_whole)
    next_whole_ns_ = now_ns() + kWholeFactor * (now_ns() - begun);
}

bool PerfMap::is_as_read() const {
  auto is_at = [this](const std::string &bytes, uint64_t offset) {
    std::string now(bytes.size(), '\0');
    return pread(descriptor_, now.data(), now.size(), static_cast<off_t>(offset)) ==
               static_cast<ssize_t>(now.size()) &&
           now == bytes;
  };
  return is_at(head_, 0) && is_at(tail_, offset_ - tail_.size());
}

void PerfMap::read_on() {
  char buffer[64 << 10];
  while (offset_ < kMaxBytes) {
    ssize_t got = pread(descriptor_, buffer, sizeof(buffer), static_cast<off_t>(offset_));
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return;
    offset_ += static_cast<uint64_t>(got);
    std::string_view rest(buffer, static_cast<size_t>(got));
    head_.append(rest.substr(0, kCompared - std::min(kCompared, head_.size())));
    tail_.append(rest);
    tail_.erase(0, tail_.size() - std::min(kCompared, tail_.size()));
    for (size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      if (!skipping_ && partial_.size() + end <= kMaxLine) {
        partial_.append(rest.substr(0, end));
        take_line(partial_);
      }
      partial_.clear();
      skipping_ = false;
    }
    if (skipping_ || partial_.size() + rest.size() > kMaxLine) {
      partial_.clear();
      skipping_ = true;
    } else {
      partial_.append(rest);
    }
  }
}

void PerfMap::take_line(std::string_view line) {
  uint64_t start, size;
  if (!take_number(&line, &start) || !take_number(&line, &size) || line.empty())
    return;
  if (size == 0 || start + size < start || entries_.size() >= kMaxEntries)
    return;
  insert(start, start + size, without_tier(line.substr(0, kMaxFunctionName)));
}

// Code memory is used again: what was named later is what is there now.
void PerfMap::insert(uint64_t start, uint64_t end, std::string name) {
  auto at = entries_.lower_bound(start);
  if (at != entries_.begin()) {
    auto before = std::prev(at);
    if (before->second.end > start)
      before->second.end = start;
  }
  while (at != entries_.end() && at->first < end)
    at = entries_.erase(at);
  entries_.insert_or_assign(start, Entry{end, std::move(name)});
}

} // namespace socktrace::unwinder
