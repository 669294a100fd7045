#include "iterators.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

#include <utility>

namespace socktrace {

Status Iterator::attach(const BpfObject &object, const std::string &program_name,
                        const std::string &map_name) {
  bpf_program *program = find_program(object, program_name);
  if (!program)
    return Failure{"find the iterator " + program_name, ENOENT, ""};
  LIBBPF_OPTS(bpf_iter_attach_opts, options);
  bpf_iter_link_info info = {};
  if (!map_name.empty()) {
    int map = bpf_object__find_map_fd_by_name(object.get(), map_name.c_str());
    if (map < 0)
      return Failure{"find the map " + map_name, -map, ""};
    info.map.map_fd = static_cast<__u32>(map);
    options.link_info = &info;
    options.link_info_len = sizeof(info);
  }
  LibbpfLog log;
  link_.reset(bpf_program__attach_iter(program, &options));
  if (!link_)
    return Failure{"attach the iterator " + program_name, errno, log.telling_line()};
  return std::nullopt;
}

Result<size_t> Iterator::read(void *buffer, size_t size, size_t record_size) {
  // The pass ended together with the last records: say so before another one starts.
  if (ended_) {
    ended_ = false;
    if (error_)
      return Failure{"read an iterator", std::exchange(error_, 0), ""};
    return size_t{0};
  }
  if (!pass_.valid()) {
    pass_ = Descriptor(bpf_iter_create(bpf_link__fd(link_.get())));
    if (!pass_.valid())
      return Failure{"start an iterator", errno, ""};
  }
  // Whole records only: the kernel cuts a record where the buffer ends and gives the rest with the next read.
  size_t limit = size / record_size * record_size, used = 0;
  while (used < limit) {
    ssize_t got = ::read(pass_.get(), static_cast<char *>(buffer) + used, limit - used);
    // EAGAIN: a million objects were skipped without one to show (MAX_ITER_OBJECTS); EINTR: a signal.
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      continue;
    if (got < 0) {
      int error = errno;
      pass_.reset();
      if (used == 0)
        return Failure{"read an iterator", error, ""};
      // What was read has been marked as sent: hand it over first.
      error_ = error;
      ended_ = true;
      break;
    }
    if (got == 0) {
      pass_.reset();
      ended_ = used > 0;
      break;
    }
    used += static_cast<size_t>(got);
  }
  return used;
}

} // namespace socktrace
