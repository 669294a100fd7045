// A module's function symbols, sorted once: libdwfl looks through all of them at each question (node: 1.5 ms).
#pragma once

#include <elfutils/libdwfl.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace socktrace::unwinder {

class Symbols {
public:
  explicit Symbols(Dwfl_Module *module);
  // The symbol whose size covers the address; empty when there is none: never a neighbour. As mangled.
  std::string_view find(uint64_t address) const;

private:
  struct Symbol {
    uint64_t start, end;
    const char *name;
    int rank; // of several for one address the lowest is told
  };
  std::vector<Symbol> symbols_;
};

} // namespace socktrace::unwinder
