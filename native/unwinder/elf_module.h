// One ELF file: where its bytes go in memory, its call frame information, its symbols, its DWARF. Shared by all processes
// that map it. All addresses are the file's own (those of nm), whatever a process adds to them.
#pragma once

#include <elfutils/libdwfl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "go_table.h"
#include "symbols.h"

namespace socktrace::unwinder {

// What runs other languages: it decides which frame pointers can be relied upon, and which advice helps.
enum class Runtime {
  kNone,
  kPython,
  kJvm,
  kV8,
  kGo,
  kOtherInterpreter,
};

class ElfModule {
public:
  // Takes the descriptor; -1: nobody could open the file. Always gives a module; one that is no ELF file has a name, and no more. `here`: the file lies under
  // its name in this process's view; else what lies beside that name belongs to somebody else.
  static std::shared_ptr<ElfModule> open(int descriptor, std::string name, bool here);

  bool is_elf() const {
    return module_ != nullptr;
  }
  const std::string &name() const {
    return name_;
  }
  const std::string &build_id() const {
    return build_id_;
  }
  // Of the file's contents: the same in every process and every run.
  uint64_t identity() const {
    return identity_;
  }
  Runtime runtime() const {
    return runtime_;
  }
  // The address at which byte `file_offset` of the file is loaded; false where nothing is.
  bool address_of(uint64_t file_offset, uint64_t *address) const;
  // The rules for the frame at this address; the caller frees it. Null: there are none.
  Dwarf_Frame *frame_rules(uint64_t address);
  // The same build's debugging information, from elsewhere; its addresses are these. Null: none.
  const std::shared_ptr<ElfModule> &debug_file() const {
    return debug_file_;
  }
  void use_debug_file(std::shared_ptr<ElfModule> file) {
    debug_file_ = std::move(file);
  }
  // Empty: no symbol covers the address.
  std::string_view symbol(uint64_t address);
  const GoTable &go_table();
  Dwfl_Module *dwfl_module() {
    return module_;
  }

private:
  struct DwflCloser {
    void operator()(Dwfl *dwfl) const {
      dwfl_end(dwfl);
    }
  };
  struct Segment {
    uint64_t file_offset, size, address;
  };
  explicit ElfModule(std::string name) : name_(std::move(name)) {}
  void read_segments(Elf *elf);
  void read_build_id();
  void find_runtime(Elf *elf);

  std::string name_, build_id_;
  uint64_t identity_ = 0;
  Runtime runtime_ = Runtime::kNone;
  std::unique_ptr<Dwfl, DwflCloser> dwfl_;
  Dwfl_Module *module_ = nullptr;
  std::vector<Segment> segments_;
  std::unique_ptr<Symbols> symbols_;
  std::shared_ptr<ElfModule> debug_file_;
  std::unique_ptr<GoTable> go_table_;
  bool tried_debug_frame_ = false;
  Dwarf_CFI *debug_frame_ = nullptr;
  Dwarf_Addr debug_frame_bias_ = 0;
};

} // namespace socktrace::unwinder
