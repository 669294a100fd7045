// Functions, files and lines of an address, by DWARF.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "elf_module.h"

namespace socktrace::unwinder {

struct SourcePlace {
  std::string function; // empty: DWARF has no name for it
  std::string file;
  uint32_t line;     // 0: not known
  bool is_full_name; // with the scopes and arguments of C++ or Rust
};

// The innermost inlined function first, the one that the code belongs to last; empty without DWARF for the address.
class Lines {
public:
  explicit Lines(ElfModule &module) : module_(module) {}
  std::vector<SourcePlace> find(uint64_t address);

private:
  struct Range {
    uint64_t start, end;
    Dwarf_Off unit;
  };
  bool unit_of(uint64_t address, Dwarf_Die *unit);
  void index_units();

  ElfModule &module_;
  bool indexed_ = false;
  std::vector<Range> ranges_;
};

} // namespace socktrace::unwinder
