#include "lines.h"

#include <dwarf.h>
#include <string.h>

#include <algorithm>

#include "names.h"

namespace socktrace::unwinder {

namespace {

constexpr size_t kMaxUnits = 1 << 17, kMaxRanges = 1 << 22;
constexpr size_t kMaxDepth = 64;
constexpr int kMaxVisited = 2'000'000; // entries looked at for one address

// Finds the subprogram and the inlined calls around an address, the outermost first.
class ScopeSearch {
public:
  explicit ScopeSearch(uint64_t address) : address_(address) {}
  bool descend(Dwarf_Die *parent, size_t depth);
  const std::vector<Dwarf_Die> &found() const {
    return found_;
  }

private:
  uint64_t address_;
  int visited_ = 0;
  std::vector<Dwarf_Die> found_;
};

bool is_container(int tag) {
  switch (tag) {
  case DW_TAG_namespace:
  case DW_TAG_module:
  case DW_TAG_class_type:
  case DW_TAG_structure_type:
  case DW_TAG_union_type:
  case DW_TAG_enumeration_type:
    return true;
  default:
    return false;
  }
}

bool ScopeSearch::descend(Dwarf_Die *parent, size_t depth) {
  Dwarf_Die child;
  if (depth > kMaxDepth || dwarf_child(parent, &child))
    return false;
  do {
    if (++visited_ > kMaxVisited)
      return false;
    int tag = dwarf_tag(&child);
    // A function may be declared inside of a type or a namespace that has no addresses of its own.
    if (is_container(tag)) {
      if (descend(&child, depth + 1))
        return true;
      continue;
    }
    bool is_function = tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
    if ((!is_function && tag != DW_TAG_lexical_block && tag != DW_TAG_try_block &&
         tag != DW_TAG_catch_block) ||
        dwarf_haspc(&child, address_) <= 0)
      continue;
    if (is_function)
      found_.push_back(child);
    descend(&child, depth + 1);
    return true;
  } while (dwarf_siblingof(&child, &child) == 0);
  return false;
}

const char *string_attribute(Dwarf_Die *die, unsigned name) {
  Dwarf_Attribute attribute;
  return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

uint64_t number_attribute(Dwarf_Die *die, unsigned name) {
  Dwarf_Attribute attribute;
  Dwarf_Word value;
  return dwarf_formudata(dwarf_attr(die, name, &attribute), &value) == 0 ? value : 0;
}

void name_function(Dwarf_Die *die, SourcePlace *place) {
  const char *linkage = string_attribute(die, DW_AT_linkage_name);
  if (!linkage)
    linkage = string_attribute(die, DW_AT_MIPS_linkage_name);
  // The C library's inner names for its own functions are no such.
  if (linkage && !is_mangled(linkage))
    linkage = nullptr;
  place->is_full_name = linkage != nullptr;
  if (linkage)
    place->function = readable_name({linkage, strnlen(linkage, kLongestMangledName)});
  else if (const char *name = string_attribute(die, DW_AT_name))
    place->function = bounded(name, kMaxFunctionName);
}

} // namespace

void Lines::index_units() {
  indexed_ = true;
  Dwarf_Addr bias;
  size_t units = 0;
  for (Dwarf_Die *unit = nullptr; (unit = dwfl_module_nextcu(module_.dwfl_module(), unit, &bias));) {
    if (++units > kMaxUnits)
      break;
    Dwarf_Addr base, start, end;
    ptrdiff_t next = 0;
    while (ranges_.size() < kMaxRanges && (next = dwarf_ranges(unit, next, &base, &start, &end)) > 0)
      if (start < end)
        ranges_.push_back({start + bias, end + bias, dwarf_dieoffset(unit)});
  }
  std::sort(ranges_.begin(), ranges_.end(), [](const Range &a, const Range &b) { return a.start < b.start; });
}

bool Lines::unit_of(uint64_t address, Dwarf_Die *unit) {
  Dwarf_Addr bias = 0;
  if (Dwarf_Die *found = dwfl_module_addrdie(module_.dwfl_module(), address, &bias)) {
    *unit = *found;
    return true;
  }
  // Go and clang write no .debug_aranges.
  if (!indexed_)
    index_units();
  auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                [](uint64_t wanted, const Range &range) { return wanted < range.start; });
  if (after == ranges_.begin() || address >= (--after)->end)
    return false;
  Dwarf *dwarf = dwfl_module_getdwarf(module_.dwfl_module(), &bias);
  return dwarf && dwarf_offdie(dwarf, after->unit, unit);
}

std::vector<SourcePlace> Lines::find(uint64_t address) {
  Dwarf_Die unit;
  Dwarf_Addr bias = 0;
  if (!module_.is_elf() || !dwfl_module_getdwarf(module_.dwfl_module(), &bias) || !unit_of(address, &unit))
    return {};
  address -= bias;
  SourcePlace place = {};
  if (Dwarf_Line *line = dwarf_getsrc_die(&unit, address)) {
    int number = 0;
    if (const char *file = dwarf_linesrc(line, nullptr, nullptr))
      place.file = bounded(file, kMaxFileName);
    if (dwarf_lineno(line, &number) == 0 && number > 0)
      place.line = static_cast<uint32_t>(number);
  }
  ScopeSearch search(address);
  search.descend(&unit, 0);
  Dwarf_Files *files = nullptr;
  size_t file_count = 0;
  dwarf_getsrcfiles(&unit, &files, &file_count);
  std::vector<SourcePlace> places;
  for (auto scope = search.found().rbegin(); scope != search.found().rend(); ++scope) {
    Dwarf_Die die = *scope;
    name_function(&die, &place);
    places.push_back(place);
    if (dwarf_tag(&die) != DW_TAG_inlined_subroutine)
      break;
    // Where it was called is the line of the one around it.
    place = {};
    uint64_t file = number_attribute(&die, DW_AT_call_file);
    if (const char *name =
            files && file < file_count ? dwarf_filesrc(files, file, nullptr, nullptr) : nullptr)
      place.file = bounded(name, kMaxFileName);
    place.line =
        static_cast<uint32_t>(std::min<uint64_t>(number_attribute(&die, DW_AT_call_line), INT32_MAX));
  }
  if (places.empty() && (place.line || !place.file.empty()))
    places.push_back(place);
  return places;
}

} // namespace socktrace::unwinder
