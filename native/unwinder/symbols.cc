#include "symbols.h"

#include <string.h>

#include <algorithm>

namespace socktrace::unwinder {

namespace {

constexpr int kMaxSymbols = 4'000'000;
constexpr size_t kMaxSymbolName = 2048;

int rank_of(const GElf_Sym &symbol, const char *name) {
  int binding = GELF_ST_BIND(symbol.st_info);
  int rank = binding == STB_GLOBAL ? 0 : binding == STB_WEAK ? 1 : 2;
  // What programs call it by: bind, not __bind.
  return rank + (name[0] == '_' && name[1] == '_' ? 3 : 0);
}

// Code between symbols that have no size, such as hand-written assembler's, belongs to nobody.
bool is_function(const GElf_Sym &symbol) {
  int type = GELF_ST_TYPE(symbol.st_info);
  return (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE) && symbol.st_size > 0 &&
         symbol.st_shndx != SHN_UNDEF;
}

} // namespace

Symbols::Symbols(Dwfl_Module *module) {
  int count = std::min(dwfl_module_getsymtab(module), kMaxSymbols);
  for (int i = 1; i < count; i++) {
    GElf_Sym symbol;
    GElf_Addr address = 0;
    GElf_Word section = 0;
    Elf *elf = nullptr;
    Dwarf_Addr bias = 0;
    const char *name = dwfl_module_getsym_info(module, i, &symbol, &address, &section, &elf, &bias);
    if (!name || !*name || !is_function(symbol) || address + symbol.st_size < address)
      continue;
    symbols_.push_back({address, address + symbol.st_size, name, rank_of(symbol, name)});
  }
  std::sort(symbols_.begin(), symbols_.end(), [](const Symbol &a, const Symbol &b) {
    if (a.start != b.start)
      return a.start < b.start;
    if (a.rank != b.rank)
      return a.rank > b.rank; // the search looks backwards: best last
    return strcmp(a.name, b.name) > 0;
  });
}

std::string_view Symbols::find(uint64_t address) const {
  auto after = std::upper_bound(symbols_.begin(), symbols_.end(), address,
                                [](uint64_t wanted, const Symbol &symbol) { return wanted < symbol.start; });
  // A symbol inside of another one may have ended before: look a few back.
  for (int tries = 0; tries < 16 && after != symbols_.begin(); tries++) {
    --after;
    if (address < after->end)
      return {after->name, strnlen(after->name, kMaxSymbolName)};
  }
  return {};
}

} // namespace socktrace::unwinder
