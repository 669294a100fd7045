#include "read_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "unwinder/hash.h"

namespace socktrace {

namespace {

constexpr size_t kMaxTextBytes = 64 << 20; // of maps: long paths, many mappings
constexpr size_t kMaxLine = 8192;
constexpr size_t kMaxCompared = 1024; // mappings of files, of one process
constexpr size_t kMaxArgumentBytes = 64 << 10;
constexpr uint64_t kNanosecondsATick = 10'000'000; // USER_HZ is 100 on all that socktrace runs on

Descriptor open_at(const Descriptor &folder, const char *path, int flags) {
  return Descriptor(openat(folder.get(), path, flags | O_CLOEXEC));
}

Descriptor resolve(const Descriptor &folder, const char *path, uint64_t flags, uint64_t how) {
  open_how wanted = {};
  wanted.flags = flags | O_CLOEXEC;
  wanted.resolve = how;
  return Descriptor(static_cast<int>(syscall(SYS_openat2, folder.get(), path, &wanted, sizeof(wanted))));
}

// An O_PATH descriptor touches no device and waits for no FIFO; once it is known for a regular file, it can be opened.
Descriptor open_for_reading(const Descriptor &path) {
  std::string self = "/proc/self/fd/" + std::to_string(path.get());
  return Descriptor(open(self.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

// Calls `each` for every line, without its end; over-long ones are left out. False: it could not be read to its end.
template<typename Each>
bool for_each_line(const Descriptor &file, size_t most, Each each) {
  std::string text;
  bool skipping = false;
  char buffer[64 << 10];
  for (size_t total = 0; total < most;) {
    ssize_t got = read(file.get(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return false;
    if (got == 0)
      return true;
    total += static_cast<size_t>(got);
    std::string_view rest(buffer, static_cast<size_t>(got));
    for (size_t end; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
      text.append(rest.substr(0, end));
      if (!skipping)
        each(std::string_view(text));
      text.clear();
      skipping = false;
    }
    text.append(rest);
    if (text.size() > kMaxLine) {
      text.clear();
      skipping = true;
    }
  }
  return false;
}

std::string_view next_field(std::string_view *line) {
  size_t start = line->find_first_not_of(' ');
  if (start == std::string_view::npos) {
    *line = {};
    return {};
  }
  size_t end = std::min(line->find(' ', start), line->size());
  std::string_view field = line->substr(start, end - start);
  line->remove_prefix(end);
  return field;
}

bool parse(std::string_view text, uint64_t *number, int base) {
  const char *end = text.data() + text.size();
  auto [after, error] = std::from_chars(text.data(), end, *number, base);
  return error == std::errc() && after == end;
}

bool parse_pair(std::string_view text, char between, uint64_t *first, uint64_t *second, int base) {
  size_t at = text.find(between);
  return at != std::string_view::npos && parse(text.substr(0, at), first, base) &&
         parse(text.substr(at + 1), second, base);
}

// Field 22 of /proc/PID/stat, counted from behind the name, which may hold anything.
bool is_process(const Descriptor &folder, uint64_t start_ns) {
  Descriptor file = open_at(folder, "stat", O_RDONLY);
  char text[4096];
  ssize_t got = file.valid() ? read(file.get(), text, sizeof(text)) : -1;
  if (got <= 0)
    return false;
  std::string_view line(text, static_cast<size_t>(got));
  size_t name_end = line.rfind(')');
  if (name_end == std::string_view::npos)
    return false;
  line.remove_prefix(name_end + 1);
  std::string_view field;
  for (int number = 3; number <= 22; number++)
    field = next_field(&line);
  uint64_t ticks;
  return parse(field, &ticks, 10) && ticks == start_ns / kNanosecondsATick;
}

struct Mapped {
  CodeMapping mapping;
  uint64_t inode;
  std::string device, path;
};

bool parse_mapping(std::string_view line, Mapped *mapped) {
  std::string_view range = next_field(&line), permissions = next_field(&line), offset = next_field(&line);
  std::string_view device = next_field(&line), inode = next_field(&line);
  if (permissions.size() < 4 || permissions[2] != 'x')
    return false;
  CodeMapping &mapping = mapped->mapping;
  mapping = {};
  if (!parse_pair(range, '-', &mapping.start, &mapping.end, 16) || mapping.start >= mapping.end ||
      !parse(offset, &mapping.file_offset, 16) || !parse(inode, &mapped->inode, 10))
    return false;
  mapped->device = device;
  size_t path = line.find_first_not_of(' ');
  mapped->path = path == std::string_view::npos ? std::string() : std::string(line.substr(path));
  return true;
}

bool starts(const std::string &text, const char *with) {
  return text.compare(0, strlen(with), with) == 0;
}

// Code of the kernel's that has no file.
bool is_kernels(const Mapped &mapped) {
  return mapped.inode == 0 &&
         (mapped.path == "[vdso]" || mapped.path == "[vsyscall]" || mapped.path == "[uprobes]");
}

// Made at run time: without a file, or with one that only its memory knows.
bool is_anonymous(const Mapped &mapped) {
  if (mapped.inode == 0)
    return !is_kernels(mapped);
  return starts(mapped.path, "/memfd:") || starts(mapped.path, "/dev/zero") ||
         starts(mapped.path, "/anon_hugepage") || starts(mapped.path, "/SYSV");
}

// As /proc/PID/maps spells it.
std::string device_text(uint64_t major, uint64_t minor) {
  char text[32];
  snprintf(text, sizeof(text), "%02x:%02x", static_cast<unsigned>(major), static_cast<unsigned>(minor));
  return text;
}

// Devices of file systems that a user's program answers for: opening a file there may never return.
std::set<std::string> devices_of_users(const Descriptor &process) {
  std::set<std::string> devices;
  Descriptor file = open_at(process, "mountinfo", O_RDONLY);
  if (!file.valid())
    return devices;
  for_each_line(file, kMaxTextBytes, [&](std::string_view line) {
    next_field(&line);
    next_field(&line);
    std::string_view device = next_field(&line);
    size_t separator = line.find(" - fuse");
    uint64_t major, minor;
    if (separator == std::string_view::npos || !parse_pair(device, ':', &major, &minor, 10))
      return;
    devices.insert(device_text(major, minor));
  });
  return devices;
}

bool about(const Descriptor &path, struct statx *facts) {
  // Without asking a file system that might not answer.
  return statx(path.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, facts) == 0;
}

FileIdentity identity_of(const struct statx &facts) {
  auto nanoseconds = [](const struct statx_timestamp &time) {
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
  };
  return {makedev(facts.stx_dev_major, facts.stx_dev_minor), facts.stx_ino, facts.stx_size,
          nanoseconds(facts.stx_mtime), nanoseconds(facts.stx_ctime)};
}

// Also of one that no mount shows any more. What a user's program answers for is asked here, and may keep us waiting; who
// reads the file later may not be kept.
bool is_users(const Descriptor &path) {
  struct statfs about;
  return fstatfs(path.get(), &about) != 0 || about.f_type == FUSE_SUPER_MAGIC;
}

using IsKnown = std::function<bool(const FileName &)>;

class Reader {
public:
  Reader(Descriptor process, const IsKnown &is_known) : process_(std::move(process)), is_known_(is_known) {}
  Result<CodeMaps> read();

private:
  void add(const Mapped &mapped);
  uint32_t file_of(const Mapped &mapped);
  uint32_t vdso();
  uint32_t named_only(std::string name, uint64_t inode);
  Descriptor open_mapped(const Mapped &mapped);
  bool take_file(const Mapped &mapped, CodeFile *file);
  bool is_on_users_device(const Descriptor &path) const;
  void find_perf_map();
  bool mentions(const char *file_name, const char *text);

  Descriptor process_;
  const IsKnown &is_known_;
  std::set<std::string> users_devices_;
  std::map<std::tuple<std::string, uint64_t, std::string>, uint32_t> seen_;
  uint32_t beyond_ = 0;
  bool generated_code_ = false, is_jvm_ = false;
  unwinder::Hash all_, all_backed_;
  CodeMaps maps_;
};

// The very file that is mapped, whatever its path means to this process or to that one.
Descriptor Reader::open_mapped(const Mapped &mapped) {
  char link[64];
  snprintf(link, sizeof(link), "map_files/%lx-%lx", static_cast<unsigned long>(mapped.mapping.start),
           static_cast<unsigned long>(mapped.mapping.end));
  Descriptor path = open_at(process_, link, O_PATH);
  if (path.valid())
    return path;
  // That needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE. Else by name, if it is still the same file.
  Descriptor root = open_at(process_, "root", O_PATH | O_DIRECTORY);
  if (!root.valid())
    return root;
  path = resolve(root, mapped.path.c_str(), O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  struct statx facts = {};
  if (path.valid() && (!about(path, &facts) || facts.stx_ino != mapped.inode))
    path.reset();
  return path;
}

bool Reader::is_on_users_device(const Descriptor &path) const {
  struct statx facts = {};
  return !about(path, &facts) ||
         users_devices_.count(device_text(facts.stx_dev_major, facts.stx_dev_minor)) != 0;
}

bool Reader::take_file(const Mapped &mapped, CodeFile *file) {
  if (users_devices_.count(mapped.device))
    return false;
  Descriptor path = open_mapped(mapped);
  struct statx facts = {};
  if (!path.valid() || !about(path, &facts) || !S_ISREG(facts.stx_mode) ||
      users_devices_.count(device_text(facts.stx_dev_major, facts.stx_dev_minor)))
    return false;
  file->name = {identity_of(facts), mapped.path.substr(0, kMaxModuleName)};
  if (is_known_(file->name))
    return true;
  if (is_users(path))
    return false;
  file->descriptor = open_for_reading(path);
  struct statx here = {};
  file->here = statx(AT_FDCWD, mapped.path.c_str(), AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &here) == 0 &&
               here.stx_ino == facts.stx_ino && here.stx_dev_major == facts.stx_dev_major &&
               here.stx_dev_minor == facts.stx_dev_minor;
  return file->descriptor.valid();
}

// The kernel's own code in each process; all 64-bit ones have the same.
uint32_t Reader::vdso() {
  unsigned long start = getauxval(AT_SYSINFO_EHDR);
  auto bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE)) * 2;
  Descriptor own = Descriptor(open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  if (!start || !own.valid())
    return 0;
  for_each_line(own, kMaxTextBytes, [&](std::string_view line) {
    Mapped mapped;
    if (parse_mapping(line, &mapped) && mapped.mapping.start == start)
      bytes = mapped.mapping.end - start;
  });
  Descriptor copy(memfd_create("vdso", MFD_CLOEXEC));
  if (!copy.valid() ||
      write(copy.get(), reinterpret_cast<void *>(start), bytes) != static_cast<ssize_t>(bytes))
    return 0;
  maps_.files.push_back({{{0, 0, bytes, 0, 0}, "[vdso]"}, false, false, std::move(copy)});
  return static_cast<uint32_t>(maps_.files.size());
}

// Told apart by name: what runs there is no generated code.
uint32_t Reader::named_only(std::string name, uint64_t inode) {
  FileIdentity unread = {0, inode, UINT64_MAX, 0, 0};
  maps_.files.push_back({{unread, std::move(name)}, false, true, Descriptor()});
  return static_cast<uint32_t>(maps_.files.size());
}

uint32_t Reader::file_of(const Mapped &mapped) {
  if (mapped.inode == 0 && !is_kernels(mapped))
    return 0;
  auto seen = seen_.find({mapped.device, mapped.inode, mapped.path});
  if (seen != seen_.end())
    return seen->second;
  // The last one stands for all that have no place.
  if (maps_.files.size() + 1 == kMaxCodeFiles) {
    maps_.notes |= kNoteTooManyMappings;
    beyond_ = named_only("[a file beyond the " + std::to_string(kMaxCodeFiles - 1) + " that are read]", 0);
  }
  if (beyond_)
    return is_anonymous(mapped) ? 0 : beyond_;
  CodeFile file = {};
  uint32_t number = 0;
  if (mapped.path == "[vdso]") {
    number = vdso();
  } else if (mapped.inode == 0) {
    number = named_only(mapped.path, 0);
  } else if (take_file(mapped, &file)) {
    maps_.files.push_back(std::move(file));
    number = static_cast<uint32_t>(maps_.files.size());
  } else if (!is_anonymous(mapped)) {
    maps_.notes |= kNoteFileRefused;
    number = named_only(mapped.path.substr(0, kMaxModuleName), mapped.inode);
  }
  seen_[{mapped.device, mapped.inode, mapped.path}] = number;
  return number;
}

void Reader::add(const Mapped &mapped) {
  if (maps_.mappings.size() >= kMaxMappings) {
    maps_.notes |= kNoteTooManyMappings;
    return;
  }
  if (!maps_.mappings.empty() && mapped.mapping.start < maps_.mappings.back().end)
    return; // changed while it was read
  CodeMapping mapping = mapped.mapping;
  mapping.anonymous = is_anonymous(mapped);
  mapping.file = file_of(mapped);
  generated_code_ |= mapping.anonymous;
  is_jvm_ |= mapped.path.find("/libjvm.so") != std::string::npos;
  maps_.mappings.push_back(mapping);
  unwinder::Hash one;
  for (uint64_t number : {mapping.start, mapping.end, mapping.file_offset, mapped.inode})
    one.add(number);
  one.add(mapped.device);
  all_.add(one.value());
  if (mapping.anonymous)
    return;
  all_backed_.add(one.value());
  if (maps_.backed.size() <= kMaxCompared)
    maps_.backed.push_back(one.value());
}

bool Reader::mentions(const char *file_name, const char *text) {
  Descriptor file = open_at(process_, file_name, O_RDONLY);
  std::string contents(kMaxArgumentBytes, '\0');
  ssize_t got = file.valid() ? ::read(file.get(), contents.data(), contents.size()) : 0;
  return got > 0 &&
         std::string_view(contents.data(), static_cast<size_t>(got)).find(text) != std::string_view::npos;
}

void Reader::find_perf_map() {
  uint64_t inner_pid = 0, uid = 0;
  Descriptor status = open_at(process_, "status", O_RDONLY);
  if (!status.valid())
    return;
  for_each_line(status, kMaxTextBytes, [&](std::string_view line) {
    std::string_view key = line.substr(0, line.find('\t'));
    line.remove_prefix(std::min(line.rfind('\t') + 1, line.size()));
    if (key == "NSpid:")
      parse(line, &inner_pid, 10);
    else if (key == "Uid:")
      parse(line, &uid, 10); // the last one, by which it makes files
  });
  Descriptor root = open_at(process_, "root", O_PATH | O_DIRECTORY);
  if (inner_pid == 0 || !root.valid() || is_on_users_device(root))
    return;
  Descriptor folder = resolve(root, "tmp", O_PATH | O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
  if (!folder.valid() || is_on_users_device(folder))
    return;
  struct statx facts = {};
  std::string name = "perf-" + std::to_string(inner_pid) + ".map";
  Descriptor path = resolve(folder, name.c_str(), O_PATH | O_NOFOLLOW,
                            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
  if (!path.valid()) {
    if (errno != ENOENT)
      maps_.notes |= kNotePerfMapRefused;
    return;
  }
  // Somebody else's file would put words into this process's mouth; a second name may be such a one.
  if (about(path, &facts) && S_ISREG(facts.stx_mode) && (facts.stx_uid == uid || facts.stx_uid == 0) &&
      facts.stx_nlink <= 1)
    maps_.perf_map = open_for_reading(path);
  all_.add(facts.stx_ino);
  if (maps_.perf_map.valid())
    maps_.flags |= kHasPerfMap;
  else
    maps_.notes |= kNotePerfMapRefused;
}

Result<CodeMaps> Reader::read() {
  users_devices_ = devices_of_users(process_);
  Descriptor file = open_at(process_, "maps", O_RDONLY);
  if (!file.valid())
    return Failure{"open /proc/PID/maps", errno == ENOENT ? ESRCH : errno, ""};
  bool whole = for_each_line(file, kMaxTextBytes, [&](std::string_view line) {
    Mapped mapped;
    if (parse_mapping(line, &mapped))
      add(mapped);
  });
  // A process that is going, a zombie too, has no mappings left.
  if (maps_.mappings.empty())
    return Failure{"read /proc/PID/maps", ESRCH, ""};
  if (!whole)
    maps_.notes |= kNoteTooManyMappings;
  if (generated_code_)
    find_perf_map();
  constexpr const char *kOption = "+PreserveFramePointer";
  if (is_jvm_ && (mentions("cmdline", kOption) || mentions("environ", kOption)))
    maps_.flags |= kKeepsFramePointers;
  if (maps_.backed.size() > kMaxCompared)
    maps_.backed = {all_backed_.value()};
  std::sort(maps_.backed.begin(), maps_.backed.end());
  all_.add(uint64_t{maps_.flags} << 32 | maps_.notes);
  maps_.fingerprint = all_.value();
  return std::move(maps_);
}

} // namespace

Result<CodeMaps> read_code_maps(const ProcessKey &key, const IsKnown &is_known) {
  std::string folder = "/proc/" + std::to_string(key.tgid);
  // Everything is opened from here: it stays the same process's, or fails.
  Descriptor process(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!process.valid())
    return Failure{"open " + folder, errno == ENOENT ? ESRCH : errno, ""};
  errno = 0;
  if (!is_process(process, key.start_ns)) {
    // Of a process that runs, this one may have no descriptor left to read it by.
    bool no_room = errno == EMFILE || errno == ENFILE;
    return Failure{"find the process in " + folder, no_room ? errno : ESRCH, ""};
  }
  return Reader(std::move(process), is_known).read();
}

} // namespace socktrace
