#include "go_table.h"

#include <gelf.h>
#include <string.h>

#include "protocol.h"

namespace socktrace::unwinder {

namespace {

constexpr uint32_t kGo116 = 0xfffffffa, kGo118 = 0xfffffff0, kGo120 = 0xfffffff1;
constexpr uint64_t kMaxFunctions = 10'000'000;
constexpr int kMaxSteps = 1 << 20; // of one function's table

struct Section {
  std::string_view bytes;
  uint64_t address = 0;
};

Section section_named(Elf *elf, std::string_view suffix) {
  size_t names, file_bytes;
  char *file = elf_rawfile(elf, &file_bytes);
  if (!file || elf_getshdrstrndx(elf, &names))
    return {};
  for (Elf_Scn *section = nullptr; (section = elf_nextscn(elf, section));) {
    GElf_Shdr header;
    if (!gelf_getshdr(section, &header))
      continue;
    const char *raw = elf_strptr(elf, names, header.sh_name);
    std::string_view name = raw ? raw : "";
    if (name.size() < suffix.size() || name.substr(name.size() - suffix.size()) != suffix)
      continue;
    if (header.sh_type == SHT_NOBITS || header.sh_offset > file_bytes ||
        header.sh_size > file_bytes - header.sh_offset)
      return {};
    return {{file + header.sh_offset, header.sh_size}, header.sh_addr};
  }
  return {};
}

} // namespace

GoTable::GoTable(Elf *elf) {
  if (!elf || !read_header(elf))
    bytes_ = {};
}

template<typename T>
bool GoTable::read(uint64_t offset, T *value) const {
  if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T))
    return false;
  memcpy(value, bytes_.data() + offset, sizeof(T));
  return true;
}

uint64_t GoTable::word(uint64_t offset) const {
  uint64_t value = 0;
  read(offset, &value);
  return value;
}

std::string_view GoTable::text(uint64_t offset) const {
  if (offset >= bytes_.size())
    return {};
  const char *start = bytes_.data() + offset;
  return {start, strnlen(start, std::min<uint64_t>(bytes_.size() - offset, kMaxFunctionName))};
}

bool GoTable::read_header(Elf *elf) {
  bytes_ = section_named(elf, ".gopclntab").bytes;
  uint32_t magic;
  uint8_t quantum, word_bytes;
  if (!read(0, &magic) || !read(6, &quantum) || !read(7, &word_bytes))
    return false;
  if ((magic != kGo116 && magic != kGo118 && magic != kGo120) || word_bytes != 8 || quantum == 0)
    return false;
  relative_ = magic != kGo116;
  quantum_ = quantum;
  functions_ = word(8);
  uint64_t next = 24;
  if (relative_) {
    text_start_ = word(next);
    next += 8;
    // Left to the dynamic linker in position-independent programs.
    if (text_start_ == 0)
      text_start_ = section_named(elf, ".text").address;
  }
  names_ = word(next);
  units_ = word(next + 8);
  files_ = word(next + 16);
  values_ = word(next + 24);
  table_ = word(next + 32);
  return functions_ > 0 && functions_ < kMaxFunctions && table_ < bytes_.size();
}

bool GoTable::entry(uint64_t index, uint64_t *address, uint64_t *function) const {
  if (!relative_) {
    uint64_t at = table_ + index * 16;
    return read(at, address) && (index == functions_ || read(at + 8, function));
  }
  uint32_t start, offset = 0;
  uint64_t at = table_ + index * 8;
  if (!read(at, &start) || (index < functions_ && !read(at + 4, &offset)))
    return false;
  *address = text_start_ + start;
  *function = offset;
  return true;
}

// Walks a table of (value, code bytes) differences up to the address.
std::optional<int64_t> GoTable::value_at(uint64_t table, uint64_t entry, uint64_t address) const {
  if (table == 0)
    return std::nullopt;
  uint64_t at = values_ + table, pc = entry;
  int64_t value = -1;
  auto number = [&](uint64_t *result) {
    *result = 0;
    for (int shift = 0; shift < 35; shift += 7) {
      uint8_t byte;
      if (!read(at++, &byte))
        return false;
      *result |= static_cast<uint64_t>(byte & 0x7f) << shift;
      if (!(byte & 0x80))
        return true;
    }
    return false;
  };
  for (int step = 0; step < kMaxSteps; step++) {
    uint64_t change, length;
    if (!number(&change) || (change == 0 && step > 0) || !number(&length))
      return std::nullopt;
    uint64_t magnitude = change >> 1;
    value += static_cast<int64_t>((change & 1) ? ~magnitude : magnitude);
    pc += length * quantum_;
    if (address < pc)
      return value;
  }
  return std::nullopt;
}

std::optional<GoTable::Function> GoTable::find(uint64_t address) const {
  uint64_t start = 0, function = 0, low = 0, high = functions_;
  if (functions_ == 0 || bytes_.empty() || !entry(functions_, &start, &function) || address >= start)
    return std::nullopt;
  while (low < high) {
    uint64_t middle = low + (high - low) / 2;
    if (!entry(middle, &start, &function))
      return std::nullopt;
    if (address < start)
      high = middle;
    else
      low = middle + 1;
  }
  if (low == 0 || !entry(low - 1, &start, &function))
    return std::nullopt;
  uint64_t fields = table_ + function + (relative_ ? 4 : 8);
  int32_t name;
  uint32_t frame, file, line, unit;
  if (!read(fields, &name) || !read(fields + 12, &frame) || !read(fields + 16, &file) ||
      !read(fields + 20, &line) || !read(fields + 28, &unit) || name < 0)
    return std::nullopt;
  Function found = {text(names_ + static_cast<uint64_t>(name)), {}, 0, -1};
  if (std::optional<int64_t> bytes = value_at(frame, start, address))
    found.frame_bytes = *bytes;
  std::optional<int64_t> number = value_at(line, start, address), index = value_at(file, start, address);
  uint32_t offset;
  if (number && *number > 0 && *number <= INT32_MAX && index && *index >= 0 &&
      read(units_ + (uint64_t{unit} + static_cast<uint64_t>(*index)) * 4, &offset) && offset != UINT32_MAX) {
    found.line = static_cast<uint32_t>(*number);
    found.file = text(files_ + offset);
  }
  return found;
}

} // namespace socktrace::unwinder
