// Go's own table of functions, in an ELF file that is otherwise as it should be.
#include "go_table.h"

#include <elf.h>
#include <string.h>

#include <string>

#include "targets.h"

namespace socktrace::fuzz {

namespace {

constexpr uint64_t kTextAt = 0x401000, kTextBytes = 0x1000;
constexpr char kNames[] = "\0.gopclntab\0.text\0.shstrtab";

template<typename T>
void append(std::string *file, const T &value) {
  file->append(reinterpret_cast<const char *>(&value), sizeof(value));
}

Elf64_Shdr section(uint32_t name, uint32_t type, uint64_t address, uint64_t offset, uint64_t size) {
  Elf64_Shdr header = {};
  header.sh_name = name;
  header.sh_type = type;
  header.sh_addr = address;
  header.sh_offset = offset;
  header.sh_size = size;
  return header;
}

std::string program_with(const uint8_t *table, size_t size) {
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = header.e_version = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_ehsize = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 4;
  header.e_shstrndx = 3;
  header.e_shoff = sizeof(header);
  std::string file;
  append(&file, header);
  uint64_t names_at = sizeof(header) + header.e_shnum * sizeof(Elf64_Shdr),
           table_at = names_at + sizeof(kNames);
  append(&file, Elf64_Shdr{});
  append(&file, section(1, SHT_PROGBITS, 0x500000, table_at, size));
  append(&file, section(12, SHT_NOBITS, kTextAt, table_at, kTextBytes));
  append(&file, section(18, SHT_STRTAB, 0, names_at, sizeof(kNames)));
  file.append(kNames, sizeof(kNames));
  file.append(reinterpret_cast<const char *>(table), size);
  return file;
}

} // namespace

void go_table(const uint8_t *bytes, size_t size) {
  elf_version(EV_CURRENT);
  std::string program = program_with(bytes, size);
  Elf *elf = elf_memory(program.data(), program.size());
  unwinder::GoTable table(elf);
  for (uint64_t at = 0; at < kTextBytes; at += 16)
    table.find(kTextAt + at);
  // What the table itself says.
  for (size_t offset : {24, 32, 72, 80, 88})
    table.find(number_at<uint64_t>(bytes, size, offset));
  elf_end(elf);
}

} // namespace socktrace::fuzz
