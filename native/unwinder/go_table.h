// The table with which Go's runtime walks its own stacks (.gopclntab): names, lines and frame sizes, which stripping leaves in
// place. Known are the layouts of Go 1.16 to 1.20 and those that came after with the same magic.
#pragma once

#include <libelf.h>

#include <cstdint>
#include <optional>
#include <string_view>

namespace socktrace::unwinder {

class GoTable {
public:
  explicit GoTable(Elf *elf);
  struct Function {
    std::string_view name;
    std::string_view file;
    uint32_t line;
    int64_t frame_bytes; // between the stack pointer and the return address; negative: not known
  };
  // At an address of the file. Empty: no Go function.
  std::optional<Function> find(uint64_t address) const;

private:
  template<typename T>
  bool read(uint64_t offset, T *value) const;
  uint64_t word(uint64_t offset) const;
  std::string_view text(uint64_t offset) const;
  bool read_header(Elf *elf);
  bool entry(uint64_t index, uint64_t *address, uint64_t *function) const;
  std::optional<int64_t> value_at(uint64_t table, uint64_t entry, uint64_t address) const;

  std::string_view bytes_;
  bool relative_ = false; // since Go 1.18
  uint32_t quantum_ = 1;
  uint64_t functions_ = 0, text_start_ = 0;
  uint64_t names_ = 0, units_ = 0, files_ = 0, values_ = 0, table_ = 0;
};

} // namespace socktrace::unwinder
