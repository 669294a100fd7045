#include "elf_module.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "hash.h"
#include "protocol.h"

namespace socktrace::unwinder {

namespace {

// A debug file is the right one if it has the build-id, or the checksum that the program has of it. libdwfl would
// otherwise take any file of a fitting name. One beside the program is looked for where the program is; `user` says so.
int find_debug_file(Dwfl_Module *module, void **user, const char *name, Dwarf_Addr base, const char *file,
                    const char *link, GElf_Word checksum, char **found) {
  if (!link || !*user)
    return dwfl_build_id_find_debuginfo(module, user, name, base, file, link, checksum, found);
  return dwfl_standard_find_debuginfo(module, user, name, base, file, link, checksum, found);
}

const Dwfl_Callbacks kCallbacks = {
    dwfl_build_id_find_elf,
    find_debug_file,
    dwfl_offline_section_address,
    nullptr,
};

std::string_view base_name(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool begins(std::string_view text, std::string_view with) {
  return text.substr(0, with.size()) == with;
}

// "node20" and "libnode.so.108", but not "node_exporter".
bool is_called(std::string_view base, std::string_view name) {
  if (!begins(base, name))
    return false;
  char next = base.size() > name.size() ? base[name.size()] : '.';
  return next != '_' && !(next >= 'a' && next <= 'z') && !(next >= 'A' && next <= 'Z');
}

// A guess, for files that do not tell it themselves.
Runtime runtime_by_name(std::string_view base) {
  constexpr struct {
    Runtime runtime;
    std::string_view names[10];
  } kCalled[] = {
      {Runtime::kPython, {"python", "libpython"}},
      {Runtime::kJvm, {"libjvm"}},
      {Runtime::kV8, {"node", "nodejs", "libnode", "deno", "chrome", "chromium", "electron", "libv8"}},
      {Runtime::kOtherInterpreter,
       {"ruby", "libruby", "perl", "libperl", "php", "libphp", "lua", "liblua", "luajit", "libluajit"}},
  };
  for (const auto &[runtime, names] : kCalled)
    for (std::string_view name : names)
      if (!name.empty() && is_called(base, name))
        return runtime;
  return Runtime::kNone;
}

// By a function that all versions export for those who embed them.
Runtime runtime_by_symbol(std::string_view symbol) {
  if (symbol == "PyEval_EvalFrameEx")
    return Runtime::kPython;
  if (symbol == "_ZN2v87Isolate3NewERKNS0_12CreateParamsE")
    return Runtime::kV8;
  return Runtime::kNone;
}

constexpr size_t kMaxExported = 1 << 20; // symbols that are looked at

Runtime runtime_by_exports(Elf *elf, Elf_Scn *section, const GElf_Shdr &header) {
  Elf_Data *data = header.sh_entsize ? elf_getdata(section, nullptr) : nullptr;
  size_t count = data ? std::min<size_t>(header.sh_size / header.sh_entsize, kMaxExported) : 0;
  for (size_t i = 0; i < count; i++) {
    GElf_Sym symbol;
    if (!gelf_getsym(data, static_cast<int>(i), &symbol) || symbol.st_shndx == SHN_UNDEF)
      continue;
    const char *name = elf_strptr(elf, header.sh_link, symbol.st_name);
    Runtime runtime = name ? runtime_by_symbol(name) : Runtime::kNone;
    if (runtime != Runtime::kNone)
      return runtime;
  }
  return Runtime::kNone;
}

} // namespace

std::shared_ptr<ElfModule> ElfModule::open(int descriptor, std::string name, bool here) {
  std::shared_ptr<ElfModule> module(new ElfModule(std::move(name)));
  Hash identity;
  identity.add(base_name(module->name_));
  module->identity_ = identity.value();
  module->runtime_ = runtime_by_name(base_name(module->name_));
  if (descriptor < 0)
    return module;
  module->dwfl_.reset(dwfl_begin(&kCallbacks));
  if (!module->dwfl_) {
    close(descriptor);
    return module;
  }
  dwfl_report_begin(module->dwfl_.get());
  Dwfl_Module *found =
      dwfl_report_elf(module->dwfl_.get(), module->name_.c_str(), module->name_.c_str(), descriptor, 0, true);
  if (!found)
    close(descriptor);
  void **user;
  if (found && dwfl_module_info(found, &user, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr))
    *user = here ? found : nullptr;
  dwfl_report_end(module->dwfl_.get(), nullptr, nullptr);
  GElf_Addr bias = 0;
  Elf *elf = found ? dwfl_module_getelf(found, &bias) : nullptr;
  // Everything here takes the file's addresses for libdwfl's: so it must have put the file where it says.
  if (!elf || bias != 0)
    return module;
  module->module_ = found;
  module->read_segments(elf);
  module->read_build_id();
  module->find_runtime(elf);
  return module;
}

void ElfModule::read_segments(Elf *elf) {
  size_t count = 0;
  if (elf_getphdrnum(elf, &count))
    return;
  for (size_t i = 0; i < count && segments_.size() < 64; i++) {
    GElf_Phdr header;
    if (gelf_getphdr(elf, static_cast<int>(i), &header) && header.p_type == PT_LOAD)
      segments_.push_back({header.p_offset, header.p_filesz, header.p_vaddr});
  }
}

void ElfModule::read_build_id() {
  const unsigned char *bits;
  GElf_Addr address;
  int count = dwfl_module_build_id(module_, &bits, &address);
  if (count <= 0)
    return;
  build_id_.assign(reinterpret_cast<const char *>(bits),
                   std::min(static_cast<size_t>(count), kMaxBuildIdBytes));
  Hash identity;
  identity.add(build_id_);
  identity_ = identity.value();
}

void ElfModule::find_runtime(Elf *elf) {
  size_t names;
  if (elf_getshdrstrndx(elf, &names))
    return;
  for (Elf_Scn *section = nullptr; (section = elf_nextscn(elf, section));) {
    GElf_Shdr header;
    if (!gelf_getshdr(section, &header))
      continue;
    const char *name = elf_strptr(elf, names, header.sh_name);
    Runtime found = Runtime::kNone;
    if (name && (strcmp(name, ".gopclntab") == 0 || strcmp(name, ".data.rel.ro.gopclntab") == 0))
      found = Runtime::kGo;
    else if (header.sh_type == SHT_DYNSYM)
      found = runtime_by_exports(elf, section, header);
    if (found != Runtime::kNone)
      runtime_ = found;
  }
}

bool ElfModule::address_of(uint64_t file_offset, uint64_t *address) const {
  for (const Segment &segment : segments_) {
    if (file_offset < segment.file_offset || file_offset - segment.file_offset >= segment.size)
      continue;
    *address = segment.address + (file_offset - segment.file_offset);
    return true;
  }
  return false;
}

Dwarf_Frame *ElfModule::frame_rules(uint64_t address) {
  Dwarf_Frame *frame = nullptr;
  Dwarf_Addr bias = 0;
  Dwarf_CFI *unwind_table = dwfl_module_eh_cfi(module_, &bias);
  if (unwind_table && dwarf_cfi_addrframe(unwind_table, address - bias, &frame) == 0)
    return frame;
  if (!tried_debug_frame_) {
    tried_debug_frame_ = true;
    debug_frame_ = dwfl_module_dwarf_cfi(module_, &debug_frame_bias_);
  }
  if (debug_frame_ && dwarf_cfi_addrframe(debug_frame_, address - debug_frame_bias_, &frame) == 0)
    return frame;
  return nullptr;
}

std::string_view ElfModule::symbol(uint64_t address) {
  if (!module_)
    return {};
  if (!symbols_)
    symbols_ = std::make_unique<Symbols>(module_);
  std::string_view found = symbols_->find(address);
  return found.empty() && debug_file_ ? debug_file_->symbol(address) : found;
}

const GoTable &ElfModule::go_table() {
  if (!go_table_) {
    GElf_Addr bias;
    go_table_ = std::make_unique<GoTable>(module_ ? dwfl_module_getelf(module_, &bias) : nullptr);
  }
  return *go_table_;
}

} // namespace socktrace::unwinder
