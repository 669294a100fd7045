// What /proc says of a process: maps, mountinfo, status, stat and cmdline, in this order, with a zero byte between them.
// The parsers are read_maps.cc's own, which nothing else is to see: hence the source and not its header.
#include "../../native/code_reader/read_maps.cc" // NOLINT(bugprone-suspicious-include)

#include <dirent.h>

#include <filesystem>

#include "targets.h"

namespace socktrace::fuzz {

namespace {

// A folder that looks like /proc/PID, whose root has a file to be mapped and a perf map.
class Folder {
public:
  Folder() {
    // Its files are written anew for each input: in memory, where there is a place for that.
    path_ = std::string(access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm") + "/socktrace-fuzz-XXXXXX";
    if (!mkdtemp(path_.data()))
      abort();
    std::filesystem::create_directories(path_ + "/root/tmp");
    for (const char *name : {"/root/program", "/root/tmp/perf-7.map"})
      close(open((path_ + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    descriptor_ = Descriptor(open(path_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder &) = delete;
  Folder &operator=(const Folder &) = delete;

  void write_file(const char *name, std::string_view text) const {
    Descriptor file(openat(descriptor_.get(), name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644));
    if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      abort();
  }
  Descriptor open_again() const {
    return Descriptor(fcntl(descriptor_.get(), F_DUPFD_CLOEXEC, 0));
  }

private:
  std::string path_;
  Descriptor descriptor_;
};

} // namespace

void maps(const uint8_t *bytes, size_t size) {
  static const Folder folder;
  std::string_view rest(reinterpret_cast<const char *>(bytes), size);
  for (const char *name : {"maps", "mountinfo", "status", "stat", "cmdline"}) {
    size_t end = std::min(rest.find('\0'), rest.size());
    folder.write_file(name, rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  Descriptor process = folder.open_again();
  is_process(process, 1'000'000'000);
  auto is_known = [](const FileName &) { return false; };
  Result<CodeMaps> read = Reader(std::move(process), is_known).read();
  if (!read.ok())
    return;
  const CodeMaps &found = read.value();
  uint64_t last = 0;
  for (const CodeMapping &mapping : found.mappings) {
    // What the unwinder relies upon.
    if (mapping.start < last || mapping.start >= mapping.end || mapping.file > found.files.size())
      abort();
    last = mapping.end;
  }
}

} // namespace socktrace::fuzz
