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
#include "path_cache.h"
#include "records.h"
#include "result.h"
#include "unwinder_client.h"

namespace socktrace {

struct TracerOptions {
  std::string hooks = "auto";
  uint32_t max_sockets = 1 << 20;
  uint32_t max_processes = 1 << 16;
  uint32_t max_failures = 1 << 14; // of traced processes, and as many of all others
  uint32_t max_paths = 1 << 16;
  uint32_t event_ring_bytes = 1 << 20; // rounded up by the caller to a power of two of pages
  uint32_t stack_ring_bytes = 1 << 24; // the same
  std::string unwinder, code_reader;   // their executables; call paths are captured when config says so
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
  kPaths,
  kDescriptors,
  kTasks,
  kCount
};

struct ProgramMisses {
  std::string program;
  uint64_t misses; // runs the kernel skipped because the program was already running on that CPU
};

// How the capture of call paths went.
struct PathCounters {
  UnwinderCounters unwinder;
  PathCacheCounters cache;
  pid_t unwinder_pid = -1;
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
  // Why failed calls are not seen, but for connects of traced processes that fail later; empty when they are.
  const Status &failures_refused() const {
    return failures_refused_;
  }
  // Why no call paths are captured although they were asked for; empty when they are.
  const Status &paths_refused() const {
    return paths_refused_;
  }
  // `start_ticks`: as /proc/PID/stat gives it, so that a reused pid is not taken for the process.
  Status want_process(uint32_t tgid, uint64_t start_ticks);
  // Adds a selector; its type must be among the configured ones.
  Status add_selector(selector_type type, const void *value, size_t size);
  Status start();
  // From now on, sockets that a walk of descriptors finds came later than the trace.
  Status end_seeding();
  Result<size_t> read(Walk walk, void *buffer, size_t size);
  Result<size_t> drain_events(void *buffer, size_t size);
  // The walks, as bits by their numbers, of tables that may have changed since this was asked last: a hint that may be
  // late or lost. A table without such a hint is always among them.
  uint32_t take_news();
  // Hands captured stacks to the unwinder as far as it takes them, and returns what it has answered. Never blocks.
  Result<UnwinderAnswers> pump_paths();
  bool want_path_names(uint64_t path_id) {
    return unwinder_ && unwinder_->want_names(path_id);
  }
  bool offer_debug_file(const std::string &build_id, const Descriptor &file) {
    return unwinder_ && unwinder_->offer_debug_file(build_id, file);
  }
  // The process has gone: its code need not be kept.
  void forget_code(const ProcessKey &process) {
    if (!unwinder_)
      return;
    unwinder_->forget(process);
    path_cache_->code_gone(process);
  }
  // Stacks and names that are not answered yet.
  size_t pending_paths() const;
  PathCounters path_counters() const;
  Result<std::array<uint64_t, COUNTER_COUNT>> counters() const;
  // Of the programs with these names that are loaded; of all for none.
  Result<std::vector<ProgramMisses>> misses(const std::vector<std::string> &names = {}) const;

private:
  struct RingCloser {
    void operator()(ring_buffer *ring) const {
      ring_buffer__free(ring);
    }
  };
  struct NewsUnmapper {
    void operator()(uint64_t *news) const;
  };
  struct RingTarget {
    char *buffer = nullptr;
    size_t size = 0, used = 0;
  };
  static int take_event(void *context, void *data, size_t size);
  static int take_stack(void *context, void *data, size_t size);

  Status switch_to(uint64_t phase);
  Tracer(ChosenHooks hooks, bool tables_may_grow)
      : hooks_(std::move(hooks)), tables_may_grow_(tables_may_grow) {}
  Status load(const TracerOptions &options);
  Status load_programs(const TracerOptions &options);
  Status load_with_paths(const TracerOptions &asked);
  Status make_rings();
  void map_news();
  std::optional<uint32_t> execs_of(uint32_t tgid, uint64_t start_ns) const;
  bool offer_stack(const stack_sample *sample, size_t size);
  bool drop_refused();
  const char *program_of(Walk walk) const;
  int map_fd(const char *name) const {
    return bpf_object__find_map_fd_by_name(object_.get(), name);
  }

  ChosenHooks hooks_;
  bool tables_may_grow_; // inside of programs
  std::vector<std::string> unseen_;
  bool sees_vanished_ = true;
  const char *descriptor_walk_ = "walk_descriptors";
  BpfObject object_;
  std::array<Iterator, static_cast<size_t>(Walk::kCount)> iterators_;
  std::unique_ptr<ring_buffer, RingCloser> ring_;
  RingTarget ring_target_;
  std::unique_ptr<uint64_t, NewsUnmapper>
      news_; // of the programs, by enum news; null where it cannot be mapped
  Status failures_refused_, paths_refused_;
  std::unique_ptr<UnwinderClient> unwinder_;
  std::unique_ptr<PathCache> path_cache_;
  std::unique_ptr<ring_buffer, RingCloser> stacks_;
  std::vector<char> held_stack_; // taken from the ring when the unwinder could not take it
  AttachedHooks attached_;       // last, so that it is detached first
};

} // namespace socktrace
