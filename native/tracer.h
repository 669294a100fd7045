// One tracing session: the loaded programs, their maps, and the iterators that read them.
#pragma once

#include <bpf/libbpf.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "bpf_object.h"
#include "hooks.h"
#include "iterators.h"
#include "records.h"
#include "result.h"

namespace socktrace {

struct TracerOptions {
  std::string hooks = "auto";
  uint32_t max_sockets = 1 << 20;
  uint32_t max_processes = 1 << 16;
  uint32_t event_ring_bytes = 1 << 20; // rounded up by the caller to a power of two of pages
  tracer_config config = {};
};

// The iterators a caller can read. `tasks` selects processes and emits nothing.
enum class Walk {
  kSockets,
  kEnded,
  kVanished,
  kProcesses,
  kFailures,
  kVictims,
  kDescriptors,
  kTasks,
  kCount
};

struct ProgramMisses {
  std::string program;
  uint64_t misses; // runs the kernel skipped because the program was already running on that CPU
};

class Tracer {
public:
  // Chooses hooks, loads, attaches. Nothing is recorded until start(). Nothing stays in the kernel afterwards:
  // every program, map and link is held by a descriptor of this process alone.
  static Result<std::unique_ptr<Tracer>> open(const TracerOptions &options);

  const ChosenHooks &hooks() const {
    return hooks_;
  }
  // What is not seen because the kernel refused a program that a trace can do without; with the kernel's reason.
  const std::vector<std::string> &unseen() const {
    return unseen_;
  }
  // `start_ticks`: as /proc/PID/stat gives it, so that a reused pid is not taken for the process.
  Status want_process(uint32_t tgid, uint64_t start_ticks);
  Status start();
  // From now on, sockets that a walk of descriptors finds came later than the trace.
  Status end_seeding();
  Result<size_t> read(Walk walk, void *buffer, size_t size);
  Result<size_t> drain_events(void *buffer, size_t size);
  Result<std::array<uint64_t, COUNTER_COUNT>> counters() const;
  Result<std::vector<ProgramMisses>> misses() const;

private:
  struct RingCloser {
    void operator()(ring_buffer *ring) const {
      ring_buffer__free(ring);
    }
  };
  struct RingTarget {
    char *buffer = nullptr;
    size_t size = 0, used = 0;
  };
  static int take_event(void *context, void *data, size_t size);

  Status switch_to(uint64_t phase);
  explicit Tracer(ChosenHooks hooks) : hooks_(std::move(hooks)) {}
  Status load(const TracerOptions &options);
  Status load_programs(const TracerOptions &options);
  bool drop_refused();
  const char *program_of(Walk walk) const;
  int map_fd(const char *name) const {
    return bpf_object__find_map_fd_by_name(object_.get(), name);
  }

  ChosenHooks hooks_;
  std::vector<std::string> unseen_;
  bool sees_vanished_ = true;
  const char *descriptor_walk_ = "walk_descriptors";
  BpfObject object_;
  std::array<Iterator, static_cast<size_t>(Walk::kCount)> iterators_;
  std::unique_ptr<ring_buffer, RingCloser> ring_;
  RingTarget ring_target_;
  AttachedHooks attached_; // last, so that it is detached first
};

} // namespace socktrace
