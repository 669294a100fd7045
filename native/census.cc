#include "census.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>

#include "bpf_object.h"
#include "iterators.h"

namespace socktrace {
namespace {

constexpr size_t kChunk = 256 << 10;

Status read_all(Iterator &iterator, size_t record_size, std::vector<char> &into) {
  for (;;) {
    size_t used = into.size();
    into.resize(used + kChunk / record_size * record_size);
    Result<size_t> got = iterator.read(into.data() + used, into.size() - used, record_size);
    into.resize(used + (got.ok() ? got.value() : 0));
    if (!got.ok())
      return got.failure();
    if (got.value() == 0)
      return std::nullopt;
  }
}

// A short file below /proc; empty when it cannot be read.
std::string text_of(const char *path) {
  Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  char text[64 * 1024];
  ssize_t got = file.valid() ? ::read(file.get(), text, sizeof(text)) : 0;
  return std::string(text, got > 0 ? static_cast<size_t>(got) : 0);
}

// False only when the kernel counts no socket and no TIME_WAIT in the hash tables of this namespace.
bool has_hashed(const CensusNamespace &space) {
  bool none4 = space.sockstat.find("TCP: inuse 0 ") != std::string::npos &&
               space.sockstat.find(" tw 0 ") != std::string::npos;
  bool none6 = space.sockstat6.empty() || space.sockstat6.find("TCP6: inuse 0\n") != std::string::npos;
  return !(none4 && none6);
}

// An iterator over TCP sockets walks the network namespace in which it is started: only a thread can change its own and
// leave the process where it is.
struct HashedWalk {
  Iterator iterator;
  const std::vector<std::string> &namespaces;
  Census &census;

  void run() {
    for (const std::string &path : namespaces) {
      census.namespaces.emplace_back();
      CensusNamespace &space = census.namespaces.back();
      space.path = path;
      space.failure = enter(space);
      if (space.failure)
        continue;
      space.port_range = text_of("/proc/sys/net/ipv4/ip_local_port_range");
      space.reserved_ports = text_of("/proc/sys/net/ipv4/ip_local_reserved_ports");
      space.sockstat = text_of("/proc/thread-self/net/sockstat");
      space.sockstat6 = text_of("/proc/thread-self/net/sockstat6");
      // Each walk passes all buckets of the host's table: seconds, where there are hundreds of idle namespaces.
      if (has_hashed(space))
        space.failure = read_all(iterator, sizeof(census_minisock), census.minisocks);
    }
  }
  static Status enter(CensusNamespace &space) {
    Descriptor entered(::open(space.path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat about = {};
    if (!entered.valid() || fstat(entered.get(), &about))
      return Failure{"open the network namespace", errno, ""};
    space.inode = about.st_ino;
    // Staying takes no capability.
    struct stat here = {};
    if (stat("/proc/thread-self/ns/net", &here) == 0 && here.st_dev == about.st_dev &&
        here.st_ino == about.st_ino)
      return std::nullopt;
    if (setns(entered.get(), CLONE_NEWNET))
      return Failure{"enter the network namespace", errno, ""};
    return std::nullopt;
  }
  static void *start(void *self) {
    static_cast<HashedWalk *>(self)->run();
    return nullptr;
  }
};

Status walk_hashed(const BpfObject &object, const CensusOptions &options, Census &census) {
  HashedWalk walk{{}, options.namespaces, census};
  if (Status refused = walk.iterator.attach(object, "census_hashed", ""))
    return refused;
  pthread_t thread;
  if (int error = pthread_create(&thread, nullptr, HashedWalk::start, &walk))
    return Failure{"start a thread", error, ""};
  pthread_join(thread, nullptr);
  return std::nullopt;
}

Status walk_all(const BpfObject &object, const std::string &program, const std::string &map,
                size_t record_size, std::vector<char> &into) {
  Iterator iterator;
  if (Status refused = iterator.attach(object, program, map))
    return refused;
  return read_all(iterator, record_size, into);
}

Status read_counters(const BpfObject &object, Census &census) {
  int map = bpf_object__find_map_fd_by_name(object.get(), "census_counters");
  for (uint32_t i = 0; i < CENSUS_COUNTER_COUNT; i++)
    if (bpf_map_lookup_elem(map, &i, &census.counters[i]))
      return Failure{"read the counters of the census", errno, ""};
  return std::nullopt;
}

} // namespace

Result<Census> take_census(const CensusOptions &options) {
  Result<BpfObject> opened = open_census_object();
  if (!opened.ok())
    return opened.failure();
  BpfObject &object = opened.value();
  bpf_map *table = bpf_object__find_map_by_name(object.get(), "census");
  if (int error = bpf_map__set_max_entries(table, options.max_sockets))
    return Failure{"size the table of the census", -error, ""};
  {
    LibbpfLog log;
    if (int error = load_object(object))
      return Failure{"load the programs of the census", -error, log.telling_line()};
  }
  Census census;
  // Descriptors first: a socket that is closed in between was there, one that is opened in between is not missed.
  if (Status failed =
          walk_all(object, "census_descriptors", "", sizeof(census_descriptor), census.descriptors))
    return *failed;
  if (Status failed = walk_hashed(object, options, census))
    return *failed;
  if (Status failed = walk_all(object, "census_rows", "census", sizeof(census_record), census.rows))
    return *failed;
  if (Status failed = read_counters(object, census))
    return *failed;
  return census;
}

} // namespace socktrace
