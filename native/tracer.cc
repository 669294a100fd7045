#include "tracer.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace socktrace {
namespace {

constexpr int kNoHint = -1;

struct WalkProgram {
  const char *program;
  const char *map; // of an iter/bpf_map_elem program, else empty
  size_t record_size;
  int hint; // enum news: what says that there may be something to read
};

constexpr size_t kNewsBytes = NEWS_COUNT * sizeof(uint64_t);

// In the order of enum Walk.
constexpr WalkProgram kWalks[] = {
    {"sweep_sockets", "sockets", sizeof(socket_record), NEWS_SOCKETS},
    {"drain_ended", "ended", sizeof(socket_record), NEWS_ENDED},
    {"sweep_vanished", "sockets", sizeof(socket_record), kNoHint},
    {"sweep_processes", "processes", sizeof(process_record), NEWS_PROCESSES},
    {"sweep_failures", "failures", sizeof(failure_record), NEWS_FAILURES},
    {"sweep_victims", "victims", sizeof(failure_record), NEWS_VICTIMS},
    {"sweep_paths", "paths", sizeof(path_record), NEWS_PATHS},
    {"walk_descriptors", "", sizeof(holder_record), kNoHint},
    {"select_processes", "", 1, kNoHint},
};
static_assert(sizeof(kWalks) / sizeof(kWalks[0]) == static_cast<size_t>(Walk::kCount), "one program a walk");

Failure failure_of(const char *step, int error) {
  return Failure{step, error, ""};
}

} // namespace

Result<std::unique_ptr<Tracer>> Tracer::open(const TracerOptions &options) {
  // BTF first: without it every later step fails with words that do not say so.
  if (access("/sys/kernel/btf/vmlinux", R_OK) != 0)
    return failure_of("read the kernel's types (BTF)", errno);
  Result<KernelTypes> types = KernelTypes::read();
  if (!types.ok())
    return types.failure();
  Result<ChosenHooks> chosen = choose_hooks(options.hooks, types.value());
  if (!chosen.ok())
    return chosen.failure();
  // Before bpf_mem_alloc (6.1) it warns and may deadlock.
  bool tables_may_grow = types.value().has_struct("bpf_mem_alloc");
  std::unique_ptr<Tracer> tracer(new Tracer(std::move(chosen.value()), tables_may_grow));
  if (Status failed = tracer->load(options))
    return *failed;
  return tracer;
}

Status Tracer::load(const TracerOptions &options) {
  if (Status failed = load_with_paths(options))
    return failed;
  for (size_t i = 0; i < iterators_.size(); i++) {
    const char *program = program_of(static_cast<Walk>(i));
    if (!program)
      continue;
    if (Status refused = iterators_[i].attach(object_, program, kWalks[i].map))
      return refused;
  }
  map_news();
  if (Status failed = make_rings())
    return failed;
  return attached_.attach(object_, hooks_.set);
}

// Without call paths the rest is worth having: what refuses them is kept for the report.
Status Tracer::load_with_paths(const TracerOptions &asked) {
  TracerOptions options = asked;
  if (options.config.call_paths) {
    UnwinderOptions wanted;
    wanted.executable = options.unwinder;
    wanted.code_reader = options.code_reader;
    wanted.live_execs = [this](uint32_t tgid, uint64_t start_ns) { return execs_of(tgid, start_ns); };
    Result<std::unique_ptr<UnwinderClient>> started = UnwinderClient::start(wanted);
    if (started.ok()) {
      unwinder_ = std::move(started.value());
    } else {
      paths_refused_ = started.failure();
      options.config.call_paths = 0;
    }
  }
  Status failed = load_programs(options);
  // Of one program the kernel says more clearly why, and not which of the maps had no room.
  if (failed)
    if (Status refused = try_program(hooks_.set.probe))
      return refused;
  if (failed && drop_refused())
    failed = load_programs(options);
  if (failed && options.config.call_paths) {
    options.config.call_paths = 0;
    Status without = load_programs(options);
    if (without)
      return failed;
    paths_refused_ = failed;
    unwinder_.reset();
    return std::nullopt;
  }
  return failed;
}

void Tracer::NewsUnmapper::operator()(uint64_t *news) const {
  munmap(news, kNewsBytes);
}

// Where it cannot be mapped, every walk is made.
void Tracer::map_news() {
  void *news = mmap(nullptr, kNewsBytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd(".data.news"), 0);
  if (news != MAP_FAILED)
    news_.reset(static_cast<uint64_t *>(news));
}

uint32_t Tracer::take_news() {
  bool changed[NEWS_COUNT];
  for (size_t i = 0; i < NEWS_COUNT; i++) {
    uint64_t *hint = news_ ? news_.get() + i : nullptr;
    changed[i] =
        !hint || (__atomic_load_n(hint, __ATOMIC_RELAXED) && __atomic_exchange_n(hint, 0, __ATOMIC_SEQ_CST));
  }
  uint32_t walks = 0;
  for (size_t i = 0; i < iterators_.size(); i++)
    if (kWalks[i].hint == kNoHint || changed[kWalks[i].hint])
      walks |= 1U << i;
  return walks;
}

Status Tracer::make_rings() {
  ring_.reset(ring_buffer__new(map_fd("events"), take_event, this, nullptr));
  if (!ring_)
    return failure_of("map the event ring", errno);
  if (!unwinder_)
    return std::nullopt;
  stacks_.reset(ring_buffer__new(map_fd("stacks"), take_stack, this, nullptr));
  if (!stacks_)
    return failure_of("map the stack ring", errno);
  path_cache_ = std::make_unique<PathCache>(PathCacheMaps{map_fd("path_slots"), map_fd("verified_paths"),
                                                          map_fd("path_leaves"), map_fd("deep_stacks")});
  return std::nullopt;
}

// Null when the kernel refuses it, and a trace can do without.
const char *Tracer::program_of(Walk walk) const {
  if (walk == Walk::kVanished && !sees_vanished_)
    return nullptr;
  return walk == Walk::kDescriptors ? descriptor_walk_ : kWalks[static_cast<size_t>(walk)].program;
}

Status Tracer::load_programs(const TracerOptions &options) {
  std::vector<std::string> programs = hooks_.set.programs;
  for (size_t i = 0; i < iterators_.size(); i++)
    if (const char *program = program_of(static_cast<Walk>(i)))
      programs.push_back(program);
  Result<BpfObject> opened = open_object(programs);
  if (!opened.ok())
    return opened.failure();
  object_ = std::move(opened.value());

  struct {
    const char *name;
    uint32_t entries;
  } const sizes[] = {{"sockets", options.max_sockets},
                     {"ended", options.max_sockets},
                     {"processes", options.max_processes},
                     {"failures", options.max_failures},
                     {"victims", options.max_failures},
                     {"paths", options.max_paths},
                     {"events", options.event_ring_bytes},
                     {"stacks", options.config.call_paths ? options.stack_ring_bytes : 4096}};
  for (const auto &size : sizes) {
    bpf_map *map = bpf_object__find_map_by_name(object_.get(), size.name);
    int error = map ? bpf_map__set_max_entries(map, size.entries) : -ENOENT;
    if (error)
      return Failure{std::string("size the map ") + size.name, -error, ""};
  }
  if (!tables_may_grow_)
    for (const char *name : {"sockets", "ended", "processes", "failures", "victims", "paths"})
      if (bpf_map *map = bpf_object__find_map_by_name(object_.get(), name))
        bpf_map__set_map_flags(map, 0);
  bpf_map *config = bpf_object__find_map_by_name(object_.get(), ".rodata.config");
  int error = config ? bpf_map__set_initial_value(config, &options.config, sizeof(options.config)) : -ENOENT;
  if (error)
    return failure_of("configure the programs", -error);

  LibbpfLog log;
  error = load_object(object_);
  if (error)
    return Failure{"load the programs", -error, log.telling_line()};
  return std::nullopt;
}

// Tries each program that a trace can do without, and does without those that are refused. True when there were any.
bool Tracer::drop_refused() {
  size_t before = hooks_.set.programs.size();
  for (const OptionalProgram &optional : hooks_.set.optional) {
    Status refused = try_program(optional.name);
    if (!refused)
      continue;
    auto &programs = hooks_.set.programs;
    programs.erase(std::remove(programs.begin(), programs.end(), optional.name), programs.end());
    if (optional.tells_failures)
      failures_refused_ = refused;
    if (!optional.unseen.empty())
      unseen_.push_back(optional.unseen + " (" + optional.name + " refused: " + refused->detail + ")");
  }
  if (Status refused = try_program("sweep_vanished")) {
    sees_vanished_ = false;
    unseen_.push_back("ends that no program sees (sweep_vanished refused: " + refused->detail + ")");
  }
  bool typed_only = try_program(descriptor_walk_) && !try_program("walk_descriptors_typed");
  if (typed_only) {
    descriptor_walk_ = "walk_descriptors_typed";
    unseen_.push_back("the TCP sockets of MPTCP sockets that are older than the trace");
  }
  return typed_only || !sees_vanished_ || hooks_.set.programs.size() != before;
}

Status Tracer::want_process(uint32_t tgid, uint64_t start_ticks) {
  if (bpf_map_update_elem(map_fd("wanted"), &tgid, &start_ticks, BPF_ANY))
    return failure_of("select a process", errno);
  return std::nullopt;
}

Status Tracer::add_selector(selector_type type, const void *value, size_t size) {
  selector key = {};
  key.type = type;
  if (size > sizeof(key.value))
    return failure_of("select by a value that is too long", EINVAL);
  memcpy(key.value, value, size);
  uint8_t present = 1;
  if (bpf_map_update_elem(map_fd("selectors"), &key, &present, BPF_ANY))
    return failure_of("add a selector", errno);
  return std::nullopt;
}

Status Tracer::start() {
  return switch_to(TRACING_SEEDS);
}

Status Tracer::end_seeding() {
  return switch_to(TRACING_GOES_ON);
}

Status Tracer::switch_to(uint64_t phase) {
  uint32_t zero = 0;
  if (bpf_map_update_elem(map_fd(".data.tracing"), &zero, &phase, BPF_ANY))
    return failure_of("switch the hooks on", errno);
  return std::nullopt;
}

Result<size_t> Tracer::read(Walk walk, void *buffer, size_t size) {
  if (walk == Walk::kVanished && !sees_vanished_)
    return size_t{0};
  size_t index = static_cast<size_t>(walk);
  return iterators_[index].read(buffer, size, kWalks[index].record_size);
}

// A negative answer stops the drain but its record counts as consumed: copy first, then look at the room left.
int Tracer::take_event(void *context, void *data, size_t size) {
  RingTarget &target = static_cast<Tracer *>(context)->ring_target_;
  if (size != sizeof(event_record))
    return 0;
  memcpy(target.buffer + target.used, data, size);
  target.used += size;
  return target.size - target.used < sizeof(event_record) ? -ENOSPC : 0;
}

Result<size_t> Tracer::drain_events(void *buffer, size_t size) {
  if (size < sizeof(event_record))
    return failure_of("drain events into a buffer that is too small", EINVAL);
  ring_target_ = {static_cast<char *>(buffer), size, 0};
  int got = ring_buffer__consume(ring_.get());
  if (got < 0 && got != -ENOSPC)
    return failure_of("drain events", -got);
  return ring_target_.used;
}

std::optional<uint32_t> Tracer::execs_of(uint32_t tgid, uint64_t start_ns) const {
  process_key key = {};
  key.start_ns = start_ns;
  key.tgid = tgid;
  process_row row;
  if (bpf_map_lookup_elem(map_fd("processes"), &key, &row))
    return std::nullopt;
  return row.execs;
}

bool Tracer::offer_stack(const stack_sample *sample, size_t size) {
  // Should it be gone, the process whose code it ran tells which code it was.
  const code_identity &code = sample->code;
  ProcessKey other{code.tgid, code.execs, code.start_ns};
  return unwinder_->submit(sample, size, code.tgid == sample->tgid ? nullptr : &other);
}

// A negative answer stops the drain, but its record counts as consumed: it is kept and offered again.
int Tracer::take_stack(void *context, void *data, size_t size) {
  Tracer *self = static_cast<Tracer *>(context);
  const stack_sample *sample = static_cast<const stack_sample *>(data);
  if (size < sizeof(stack_sample))
    return 0;
  size_t used = sizeof(stack_sample) + size_t{sample->chunks} * STACK_CHUNK_BYTES;
  if (used > size)
    return 0;
  self->path_cache_->sampled(*sample);
  if (self->offer_stack(sample, used))
    return 0;
  const char *bytes = static_cast<const char *>(data);
  self->held_stack_.assign(bytes, bytes + used);
  return -EAGAIN;
}

Result<UnwinderAnswers> Tracer::pump_paths() {
  if (!unwinder_)
    return UnwinderAnswers{};
  if (!held_stack_.empty() &&
      offer_stack(reinterpret_cast<const stack_sample *>(held_stack_.data()), held_stack_.size()))
    held_stack_.clear();
  if (held_stack_.empty()) {
    int got = ring_buffer__consume(stacks_.get());
    if (got < 0 && got != -EAGAIN)
      return failure_of("drain captured stacks", -got);
  }
  UnwinderAnswers answers = unwinder_->poll();
  // Before the new answers: those are about the code that is there now.
  for (const ProcessKey &process : answers.changed)
    path_cache_->code_changed(process);
  for (const UnwoundPath &path : answers.unwound)
    path_cache_->unwound(path);
  for (const NamedPath &path : answers.named)
    if (path.frames.empty())
      path_cache_->forgotten(path.path_id);
  return answers;
}

size_t Tracer::pending_paths() const {
  return unwinder_ ? unwinder_->pending() + !held_stack_.empty() : 0;
}

PathCounters Tracer::path_counters() const {
  if (!unwinder_)
    return {};
  return {unwinder_->counters(), path_cache_->counters(), unwinder_->pid()};
}

Result<std::array<uint64_t, COUNTER_COUNT>> Tracer::counters() const {
  int cpus = libbpf_num_possible_cpus();
  if (cpus < 0)
    return failure_of("count the CPUs", -cpus);
  std::array<uint64_t, COUNTER_COUNT> sums = {};
  std::vector<counter_values> all(static_cast<size_t>(cpus));
  uint32_t zero = 0;
  if (bpf_map_lookup_elem(map_fd("counters"), &zero, all.data()))
    return failure_of("read the counters", errno);
  for (const counter_values &cpu : all)
    for (uint32_t counter = 0; counter < COUNTER_COUNT; counter++)
      sums[counter] += cpu.values[counter];
  return sums;
}

Result<std::vector<ProgramMisses>> Tracer::misses(const std::vector<std::string> &names) const {
  std::vector<ProgramMisses> all;
  for (const std::string &name : hooks_.set.programs) {
    if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end())
      continue;
    bpf_prog_info info = {};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(find_program(object_, name)), &info, &size))
      return failure_of("read a program's counters", errno);
    all.push_back({name, info.recursion_misses});
  }
  return all;
}

} // namespace socktrace
