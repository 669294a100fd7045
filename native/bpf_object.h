// The embedded BPF object, RAII over libbpf's handles, and the words libbpf and the verifier said last.
#pragma once

#include <bpf/libbpf.h>
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "result.h"

namespace socktrace {

struct ObjectCloser {
  void operator()(bpf_object *object) const {
    bpf_object__close(object);
  }
};
using BpfObject = std::unique_ptr<bpf_object, ObjectCloser>;

struct LinkDestroyer {
  void operator()(bpf_link *link) const {
    bpf_link__destroy(link);
  }
};
using BpfLink = std::unique_ptr<bpf_link, LinkDestroyer>;

// Collects what libbpf prints while it lives (this thread only) and gives its most telling line.
class LibbpfLog {
public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog &) = delete;
  LibbpfLog &operator=(const LibbpfLog &) = delete;
  std::string telling_line() const;
};

// Keeps signals from this thread while it lives: the verifier gives up with EAGAIN when one is pending, and a profiler
// (SIGPROF) sends them all the time. They go to other threads, or wait.
class SignalBlock {
public:
  SignalBlock();
  ~SignalBlock();
  SignalBlock(const SignalBlock &) = delete;
  SignalBlock &operator=(const SignalBlock &) = delete;

private:
  sigset_t before_;
};

// Loads an object's programs. Returns 0 or a negative errno, as libbpf does.
int load_object(const BpfObject &object);

// Opens the object; of its programs only those named will be loaded.
// Errors: the object cannot be parsed (a broken build), no BTF, out of memory.
Result<BpfObject> open_object(const std::vector<std::string> &programs);

// Opens the object of the census, to be loaded whole. Errors: the same.
Result<BpfObject> open_census_object();

// Finds a program of the object by name; null when there is none.
bpf_program *find_program(const BpfObject &object, const std::string &name);

// Loads one program of the object alone, with every map at its smallest, attaches it where that needs no other
// object, and takes all of it back. How hook sets are chosen, and what doctor runs.
Status try_program(const std::string &name);

} // namespace socktrace
