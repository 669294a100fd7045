#include "unwinder_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "clock.h"
#include "unwinder/passing.h"

namespace socktrace {

namespace {

constexpr size_t kMaxRequests = 256;
constexpr size_t kMaxSampleMemory = 2 << 20;
constexpr size_t kEnoughOutgoing = 128 << 10;
constexpr uint64_t kSecond = 1'000'000'000;
// A crash loop must cost little: this many starts in such a time.
constexpr size_t kMaxLaunches = 20;
constexpr uint64_t kLaunchPeriod = 10 * kSecond;
constexpr int kReadyPatienceMs = 5000;
constexpr size_t kMaxFailedLaunches = 3; // in a row: then nobody waits for it any more
constexpr uint64_t kLaunchPause = kSecond;
static_assert(kUnwinderSocket == kHelperSocket);
constexpr int kReapTries = 1000;
constexpr useconds_t kReapPause = 1000;
constexpr uint32_t kMaxDeaths = 2; // of one process's samples: then it is left alone
// In a row: a file that is left out once is one that was known until just now.
constexpr uint32_t kMaxGaps = 2;
constexpr uint64_t kRereadFactor = 20; // of a process's time at most a twentieth goes into reading its maps
constexpr uint64_t kLookFactor = 200;  // and of a core at most half a percent when no sample asks for it
constexpr size_t kMostPassedOver = 64; // in one poll

template<typename T>
void append(std::vector<char> *bytes, const T &value) {
  const auto *start = reinterpret_cast<const char *>(&value);
  bytes->insert(bytes->end(), start, start + sizeof(value));
}

template<typename T>
std::vector<char> message_of(T message, MessageType type, size_t more = 0) {
  message.header = {type, static_cast<uint32_t>(sizeof(message) + more)};
  std::vector<char> bytes;
  bytes.reserve(sizeof(message) + more);
  append(&bytes, message);
  return bytes;
}

template<typename T>
bool read_value(const char *bytes, size_t size, size_t offset, T *value) {
  if (offset > size || size - offset < sizeof(T))
    return false;
  memcpy(value, bytes + offset, sizeof(T));
  return true;
}

bool is_well_formed(const stack_sample *sample, size_t bytes) {
  return bytes >= sizeof(*sample) && bytes <= kMaxSampleBytes && sample->chunks <= STACK_CHUNKS_DEEP &&
         bytes >= sizeof(*sample) + size_t{sample->chunks} * STACK_CHUNK_BYTES;
}

bool is_quality(PathQuality quality) {
  return quality >= PathQuality::kComplete && quality <= PathQuality::kUnreadable;
}

constexpr uint32_t kAllNotes = kNoteLast * 2 - 1;

#if defined(__x86_64__)
constexpr int kStackPointer = 7;
#elif defined(__aarch64__)
constexpr int kStackPointer = 31;
#endif

// Whether a word of the copied stack is this one: the kernel will compare it with a stack's, and report a match as fact.
bool holds(const stack_sample *sample, int64_t offset, uint64_t word) {
  uint64_t below = sample->registers[kStackPointer] - sample->stack_start;
  uint64_t bytes = uint64_t{sample->chunks} * STACK_CHUNK_BYTES;
  if (offset < 0 || below > bytes || static_cast<uint64_t>(offset) > bytes)
    return false;
  uint64_t at = below + static_cast<uint64_t>(offset), value;
  if (at + sizeof(value) > bytes)
    return false;
  for (uint64_t chunk : {at / STACK_CHUNK_BYTES, (at + sizeof(value) - 1) / STACK_CHUNK_BYTES})
    if (sample->unread & (uint64_t{1} << chunk))
      return false;
  memcpy(&value, reinterpret_cast<const char *>(sample + 1) + at, sizeof(value));
  return value == word;
}

std::string hex(const char *bytes, size_t size) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < size; i++) {
    auto byte = static_cast<unsigned char>(bytes[i]);
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

const char *confinement_text(ConfinementStep step) {
  switch (step) {
  case ConfinementStep::kLimits:
    return "limit its resources";
  case ConfinementStep::kUser:
    return "become another user";
  case ConfinementStep::kCapabilities:
    return "drop its capabilities";
  case ConfinementStep::kNoNewPrivileges:
    return "renounce new privileges";
  case ConfinementStep::kFilter:
    return "filter its system calls";
  }
  return "give up its privileges";
}

} // namespace

Result<std::unique_ptr<UnwinderClient>> UnwinderClient::start(const UnwinderOptions &options) {
  Result<HelperProgram> unwinder = HelperProgram::open(options.executable);
  if (!unwinder.ok())
    return unwinder.failure();
  Result<HelperProgram> reader = HelperProgram::open(options.code_reader);
  if (!reader.ok())
    return reader.failure();
  std::unique_ptr<UnwinderClient> client(
      new UnwinderClient(options, std::move(unwinder.value()), std::move(reader.value())));
  if (Status failed = client->launch())
    return *failed;
  if (Status failed = client->await_ready())
    return *failed;
  return client;
}

// Where it may not give up its privileges, it does not work at all: that is known before anybody relies on it.
Status UnwinderClient::await_ready() {
  const std::string step = "start " + options_.executable;
  for (uint64_t begun = now_ns(); !ready_;) {
    int left = kReadyPatienceMs - static_cast<int>((now_ns() - begun) / 1'000'000);
    pollfd waiting = {socket_.get(), POLLIN, 0};
    int got = left > 0 ? ::poll(&waiting, 1, left) : 0;
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return Failure{step, got < 0 ? errno : ETIMEDOUT, "it does not answer"};
    char bytes[sizeof(RefusedMessage) + 1];
    ssize_t size = recv(socket_.get(), bytes, sizeof(bytes), MSG_DONTWAIT);
    if (size == 0)
      return Failure{step, 0, "it ended at once"};
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
      continue;
    RefusedMessage refused;
    if (size == sizeof(refused) && read_value(bytes, sizeof(refused), 0, &refused) &&
        refused.header.type == MessageType::kRefused)
      return Failure{step, refused.error, std::string("it may not ") + confinement_text(refused.step)};
    if (size < 0 || !accept(bytes, static_cast<size_t>(size)))
      return Failure{step, size < 0 ? errno : 0, "it does not talk as it should"};
  }
  return std::nullopt;
}

UnwinderClient::~UnwinderClient() {
  stop();
  // It has been killed; to wait for it without an end would hand it the tracer.
  for (int tries = 0; tries < kReapTries && !reap(&dying_); tries++)
    usleep(kReapPause);
  give_up(&dying_);
}

Status UnwinderClient::launch() {
  Result<HelperProcess> started = program_.start("socktrace-unwinder");
  if (!started.ok())
    return started.failure();
  launches_.push_back(now_ns());
  if (launches_.size() > kMaxLaunches)
    launches_.pop_front();
  pid_ = started.value().pid;
  socket_ = std::move(started.value().socket);
  ready_ = false;
  progress_ns_ = now_ns();
  return std::nullopt;
}

// Kills it if it still runs, and forgets all that it had been told.
void UnwinderClient::stop() {
  socket_.reset();
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    dying_.push_back(pid_);
  }
  pid_ = -1;
  outgoing_.clear();
  outgoing_bytes_ = 0;
  modules_.clear();
  reader_.knows_nothing();
  assembly_.reset();
  for (auto &[key, process] : processes_)
    process.id = 0;
  // They are told again, before those that were still waiting.
  for (; !sent_.empty(); sent_.pop_back())
    if (sent_.back().kind != Kind::kModule)
      waiting_.push_front(std::move(sent_.back()));
  for (Request &request : waiting_)
    request.asked = request.asked_parent = false;
}

// What it was working on killed it, or was answered with a lie: that one is not tried again.
void UnwinderClient::died() {
  counters_.deaths++;
  // Of nothing that it was given.
  if (!ready_ || sent_.empty())
    launch_failed();
  if (!sent_.empty()) {
    Request culprit = std::move(sent_.front());
    sent_.pop_front();
    auto at = processes_.find(culprit.owner);
    if (at != processes_.end())
      at->second.deaths++;
    sample_bytes_ -= culprit.sample_bytes;
    if (culprit.kind != Kind::kModule)
      answer_unreadable(culprit, kNoteUnwinderDied);
  }
  stop();
}

bool UnwinderClient::may_launch() const {
  return now_ns() >= next_launch_ns_ &&
         (launches_.size() < kMaxLaunches || now_ns() - launches_.front() >= kLaunchPeriod);
}

bool UnwinderClient::is_out_of_reach() const {
  return failed_launches_ >= kMaxFailedLaunches && (pid_ < 0 || !ready_);
}

// It is tried again, now and then; but nobody waits for it.
void UnwinderClient::launch_failed() {
  failed_launches_++;
  next_launch_ns_ = now_ns() + kLaunchPause;
  if (failed_launches_ < kMaxFailedLaunches)
    return;
  for (const Request &request : waiting_)
    answer_unreadable(request, kNoteNoUnwinder);
  waiting_.clear();
  sample_bytes_ = 0;
}

void UnwinderClient::answer_unreadable(const Request &request, uint32_t notes) {
  counters_.unreadable++;
  if (request.kind == Kind::kDebugFile)
    answers_.debug_files.push_back({hex(request.build_id.data(), request.build_id.size()), false});
  else if (request.kind == Kind::kNames)
    answers_.named.push_back({request.id, PathQuality::kUnreadable, notes, {}});
  else
    answers_.unwound.push_back({request.id, 0, PathQuality::kUnreadable, notes, {}});
}

bool UnwinderClient::submit(const stack_sample *sample, size_t bytes, const ProcessKey *parent) {
  if (pending() >= kMaxRequests || sample_bytes_ + bytes > kMaxSampleMemory)
    return false;
  if (!is_out_of_reach() && (pid_ < 0 || is_worn()))
    return false;
  Request request = {};
  request.id = bytes >= sizeof(*sample) ? sample->ref : 0;
  if (is_out_of_reach()) {
    answer_unreadable(request, kNoteNoUnwinder);
    return true;
  }
  if (!is_well_formed(sample, bytes)) {
    answer_unreadable(request, 0);
    return true;
  }
  if (sample->compat) {
    answer_unreadable(request, kNoteCompat);
    return true;
  }
  size_t used = sizeof(*sample) + size_t{sample->chunks} * STACK_CHUNK_BYTES;
  request.sample.resize((used + 7) / 8);
  memcpy(request.sample.data(), sample, used);
  request.sample_bytes = used;
  request.owner = process_of(*sample);
  request.has_parent = parent != nullptr;
  if (parent)
    request.parent = *parent;
  sample_bytes_ += used;
  // Now, and not when its turn comes: the process may be gone by then.
  Known &process = processes_[request.owner];
  process.code = {sample->code.tgid, sample->code.execs, sample->code.start_ns};
  uint32_t note;
  standing_of(request, &note);
  if (is_old(process))
    ask(request.owner, process);
  waiting_.push_back(std::move(request));
  advance();
  return true;
}

bool UnwinderClient::want_names(uint64_t path_id) {
  if (pending() >= kMaxRequests)
    return false;
  Request request = {};
  request.id = path_id;
  request.kind = Kind::kNames;
  if (is_out_of_reach()) {
    answer_unreadable(request, kNoteNoUnwinder);
    return true;
  }
  auto owner = owners_.find(path_id);
  if (owner != owners_.end())
    request.owner = owner->second;
  waiting_.push_back(std::move(request));
  advance();
  return true;
}

bool UnwinderClient::offer_debug_file(const std::string &build_id, const Descriptor &file) {
  // Its own copy, for the case that it has to be told to another unwinder.
  Descriptor copy(fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  if (pending() >= kMaxRequests || !copy.valid() || build_id.empty() || build_id.size() > kMaxBuildIdBytes)
    return false;
  Request request = {};
  request.kind = Kind::kDebugFile;
  request.build_id = build_id;
  request.debug_file = std::move(copy);
  if (is_out_of_reach()) {
    answer_unreadable(request, kNoteNoUnwinder);
    return true;
  }
  waiting_.push_back(std::move(request));
  advance();
  return true;
}

void UnwinderClient::forget(const ProcessKey &key) {
  auto at = processes_.find(key);
  if (at == processes_.end())
    return;
  if (is_wanted(key)) {
    leaving_.push_back(key);
    return;
  }
  uint32_t id = at->second.id;
  bool borrowed = at->second.borrowed;
  processes_.erase(at);
  if (id == 0 || borrowed)
    return;
  ForgetMessage message = {};
  message.process = id;
  queue(message_of(message, MessageType::kForget));
}

void UnwinderClient::queue(std::vector<char> bytes, Descriptor descriptor) {
  outgoing_bytes_ += bytes.size();
  outgoing_.push_back({std::move(bytes), std::move(descriptor)});
}

bool UnwinderClient::is_wanted(const ProcessKey &key) const {
  auto is_key = [&key](const ProcessKey &other) { return !(other < key) && !(key < other); };
  return std::any_of(waiting_.begin(), waiting_.end(), [&](const Request &request) {
    return request.kind == Kind::kSample &&
           (is_key(request.owner) || (request.has_parent && is_key(request.parent)));
  });
}

uint32_t UnwinderClient::module_of(const ProcessKey &key, CodeFile &file) {
  auto [at, is_new] = modules_.try_emplace(file.name, static_cast<uint32_t>(modules_.size() + 1));
  if (!is_new)
    return at->second;
  reader_.knows(file.name);
  const std::string &path = file.name.path;
  ModuleMessage message = {};
  message.module = at->second;
  message.name_bytes = static_cast<uint32_t>(path.size());
  message.here = file.here;
  std::vector<char> bytes = message_of(message, MessageType::kModule, path.size());
  bytes.insert(bytes.end(), path.begin(), path.end());
  queue(std::move(bytes), std::move(file.descriptor));
  Request told = {};
  told.kind = Kind::kModule;
  told.id = at->second;
  told.owner = key;
  expect(std::move(told));
  return at->second;
}

// Tells the unwinder what is mapped. False: a file is missing that it knew and does not know any more.
bool UnwinderClient::introduce(const ProcessKey &key, Known &process, CodeMaps &maps) {
  for (const CodeFile &file : maps.files)
    if (!file.descriptor.valid() && !file.refused && modules_.count(file.name) == 0)
      return false;
  if (process.id == 0 || process.borrowed)
    process.id = next_process_++;
  process.borrowed = false;
  std::vector<uint32_t> modules = {kNoModule};
  for (CodeFile &file : maps.files)
    modules.push_back(module_of(key, file));
  ProcessMessage message = {};
  message.process = process.id;
  message.flags = maps.flags;
  message.notes = maps.notes;
  queue(message_of(message, MessageType::kProcess), std::move(maps.perf_map));
  for (size_t next = 0; next < maps.mappings.size();) {
    MappingsMessage part = {};
    part.process = process.id;
    part.count = static_cast<uint32_t>(std::min(kMappingsAMessage, maps.mappings.size() - next));
    part.last = next + part.count == maps.mappings.size();
    std::vector<char> bytes = message_of(part, MessageType::kMappings, part.count * sizeof(Mapping));
    for (size_t end = next + part.count; next < end; next++) {
      const CodeMapping &mapping = maps.mappings[next];
      append(&bytes, Mapping{mapping.start, mapping.end, mapping.file_offset, modules[mapping.file],
                             mapping.anonymous});
    }
    queue(std::move(bytes));
  }
  return true;
}

void UnwinderClient::ask(const ProcessKey &key, Known &process) {
  if (process.reading)
    return;
  process.reading = reader_.ask(key);
  questions_[process.reading] = key;
}

// What was true once may have been replaced since, at the same address.
bool UnwinderClient::is_old(const Known &process) const {
  return process.id != 0 && !process.borrowed && process.refusal != kNoteLate &&
         now_ns() - process.read_ns >= std::max(options_.fresh_ns, kRereadFactor * process.read_took_ns);
}

// Nobody asks for what the kernel side knows by the return addresses of earlier stacks, which those of another library at
// the same place may equal. So one process after the other has its mappings read again, unasked.
void UnwinderClient::look_again() {
  const uint64_t now = now_ns();
  if (now < next_look_ns_)
    return;
  auto at = processes_.upper_bound(looked_at_);
  for (size_t passed = std::min(kMostPassedOver, processes_.size()); passed > 0; passed--, ++at) {
    if (at == processes_.end())
      at = processes_.begin();
    looked_at_ = at->first;
    if (at->second.reading || !is_old(at->second))
      continue;
    next_look_ns_ = now + kLookFactor * at->second.read_took_ns;
    ask(at->first, at->second);
    return;
  }
}

// Tells whoever believes in earlier answers when some of the code that they may be about is there no more.
void UnwinderClient::compare(const ProcessKey &key, const CodeMaps &maps, Known &process) {
  if (!std::includes(maps.backed.begin(), maps.backed.end(), process.backed.begin(), process.backed.end()))
    answers_.changed.push_back(process.code.tgid ? process.code : key);
  process.backed = maps.backed;
}

void UnwinderClient::take_code() {
  if (outgoing_bytes_ >= kEnoughOutgoing)
    return;
  for (ReadCode &read : reader_.take()) {
    auto question = questions_.find(read.number);
    ProcessKey key = question->second;
    questions_.erase(question);
    auto at = processes_.find(key);
    if (at == processes_.end() || at->second.reading != read.number)
      continue;
    Known &process = at->second;
    process.reading = 0;
    process.read_ns = now_ns();
    process.read_took_ns = read.took_ns;
    process.refusal = 0;
    if (!read.maps.ok()) {
      int error = read.maps.failure().error;
      // What was read before stands, and is read again much later.
      if (error == ETIMEDOUT && process.id != 0 && !process.borrowed) {
        process.read_took_ns = std::max(read.took_ns, options_.read_patience_ns);
        continue;
      }
      process.refusal = error == ESRCH ? kNoteExited : error == ETIMEDOUT ? kNoteLate : kNoteRefused;
      continue;
    }
    // Asked afterwards: what was read is the code of the program that the process ran at the time of the sample, or is left.
    std::optional<uint32_t> execs;
    if (options_.live_execs)
      execs = options_.live_execs(key.tgid, key.start_ns);
    if (execs && *execs != key.execs) {
      process.refusal = kNoteExeced;
      continue;
    }
    CodeMaps &maps = read.maps.value();
    compare(key, maps, process);
    bool is_same = process.id != 0 && !process.borrowed && process.fingerprint == maps.fingerprint;
    process.fingerprint = maps.fingerprint;
    if (is_same || introduce(key, process, maps))
      process.gaps = 0;
    else if (++process.gaps <= kMaxGaps)
      ask(key, process);
    else
      process.refusal = kNoteRefused;
  }
}

// Whether its process has been introduced to the unwinder; asks for what is missing. A child that has not called exec has
// its parent's code where the parent has it.
UnwinderClient::Standing UnwinderClient::standing_of(Request &request, uint32_t *note) {
  if (request.kind == Kind::kDebugFile) {
    // One for this life of the unwinder; the request keeps its own for the next.
    request.copy = Descriptor(fcntl(request.debug_file.get(), F_DUPFD_CLOEXEC, 0));
    return request.copy.valid() ? Standing::kReady : Standing::kLost;
  }
  if (request.kind == Kind::kNames) {
    auto at = processes_.find(request.owner);
    *note = kNoteUnwinderDied;
    return at != processes_.end() && at->second.deaths >= kMaxDeaths ? Standing::kLost : Standing::kReady;
  }
  Known &process = processes_[request.owner];
  *note = kNoteUnwinderDied;
  if (process.deaths >= kMaxDeaths)
    return Standing::kLost;
  if (request.reread) {
    request.reread = false;
    request.final = true;
    process.fingerprint = 0; // a perf map may have been written anew
    // One that has gone meanwhile keeps what was read first.
    if (!process.borrowed && process.refusal != kNoteLate)
      ask(request.owner, process);
  }
  if (process.reading) {
    request.asked = true;
    return Standing::kWaits;
  }
  if (process.id != 0)
    return Standing::kReady;
  if (!request.asked && process.refusal != kNoteLate) {
    request.asked = true;
    ask(request.owner, process);
    return Standing::kWaits;
  }
  *note = process.refusal;
  if (!request.has_parent || !(request.parent < request.owner || request.owner < request.parent))
    return Standing::kLost;
  Known &parent = processes_[request.parent];
  if (parent.reading)
    return Standing::kWaits;
  if (parent.id != 0) {
    process.id = parent.id;
    process.borrowed = true;
    return Standing::kReady;
  }
  if (request.asked_parent || parent.deaths >= kMaxDeaths || parent.refusal == kNoteLate)
    return Standing::kLost;
  request.asked_parent = true;
  ask(request.parent, parent);
  return Standing::kWaits;
}

void UnwinderClient::send_request(Request &request) {
  if (request.kind == Kind::kDebugFile) {
    DebugFileMessage message = {};
    message.build_id_bytes = static_cast<uint32_t>(request.build_id.size());
    std::vector<char> bytes = message_of(message, MessageType::kDebugFile, request.build_id.size());
    bytes.insert(bytes.end(), request.build_id.begin(), request.build_id.end());
    queue(std::move(bytes), std::move(request.copy));
    return;
  }
  if (request.kind == Kind::kNames) {
    NamesMessage message = {};
    message.path = request.id;
    queue(message_of(message, MessageType::kNames));
    return;
  }
  SampleMessage message = {};
  message.process = processes_[request.owner].id;
  message.final = request.final;
  std::vector<char> bytes = message_of(message, MessageType::kSample, request.sample_bytes);
  const auto *start = reinterpret_cast<const char *>(request.sample.data());
  bytes.insert(bytes.end(), start, start + request.sample_bytes);
  queue(std::move(bytes));
}

// Its tables are bounded; a fresh one costs less than their upkeep.
bool UnwinderClient::is_worn() const {
  return modules_.size() + 2 * kMaxCodeFiles > kMaxModules || processes_.size() + 2 > kMaxProcesses ||
         next_process_ == UINT32_MAX;
}

// Hands over what can be handed over now.
void UnwinderClient::advance() {
  if (pid_ < 0 || !ready_)
    return;
  take_code();
  // A worn one finishes what it has.
  const uint64_t now = now_ns();
  for (auto request = waiting_.begin();
       !is_worn() && request != waiting_.end() && outgoing_bytes_ < kEnoughOutgoing;) {
    uint32_t note = 0;
    Standing standing = request->not_before_ns > now ? Standing::kWaits : standing_of(*request, &note);
    if (standing == Standing::kWaits) {
      ++request;
      continue;
    }
    Request next = std::move(*request);
    request = waiting_.erase(request);
    if (standing == Standing::kLost) {
      sample_bytes_ -= next.sample_bytes;
      answer_unreadable(next, note);
      continue;
    }
    send_request(next);
    expect(std::move(next));
  }
  flush();
  auto has_left = [this](const ProcessKey &key) {
    if (is_wanted(key))
      return false;
    forget(key);
    return true;
  };
  leaving_.erase(std::remove_if(leaving_.begin(), leaving_.end(), has_left), leaving_.end());
}

// Answers come in the order of what is asked.
void UnwinderClient::expect(Request request) {
  if (sent_.empty())
    progress_ns_ = now_ns();
  sent_.push_back(std::move(request));
}

void UnwinderClient::flush() {
  while (!outgoing_.empty()) {
    Outgoing &next = outgoing_.front();
    int descriptor = next.descriptor.get();
    ssize_t sent = send_packet(socket_.get(), next.bytes.data(), next.bytes.size(), &descriptor,
                               next.descriptor.valid() ? 1 : 0, MSG_DONTWAIT);
    // Also when it has died: reading tells.
    if (sent < 0)
      return;
    outgoing_bytes_ -= next.bytes.size();
    outgoing_.pop_front();
  }
}

UnwinderAnswers UnwinderClient::poll() {
  reap(&dying_);
  advance();
  while (pid_ >= 0) {
    char bytes[kMaxMessageBytes];
    ssize_t got = recv(socket_.get(), bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if ((!ready_ || !sent_.empty()) && now_ns() - progress_ns_ > options_.patience_ns)
        died();
      break;
    }
    if (got <= 0 || static_cast<size_t>(got) > sizeof(bytes) || !accept(bytes, static_cast<size_t>(got))) {
      died();
      break;
    }
    progress_ns_ = now_ns();
  }
  if (pid_ >= 0 && sent_.empty() && is_worn()) {
    counters_.replaced++;
    processes_.clear();
    next_process_ = 1;
    stop();
  }
  if (pid_ < 0 && may_launch() && launch())
    launch_failed();
  if (pid_ >= 0 && ready_)
    look_again();
  advance();
  UnwinderAnswers answers = std::move(answers_);
  answers_ = {};
  return answers;
}

bool UnwinderClient::accept(const char *bytes, size_t size) {
  MessageHeader header;
  if (!read_value(bytes, size, 0, &header) || header.bytes != size)
    return false;
  if (!ready_) {
    ReadyMessage ready;
    ready_ = header.type == MessageType::kReady && size == sizeof(ready) &&
             read_value(bytes, size, 0, &ready) && ready.version == kProtocolVersion;
    return ready_;
  }
  if (sent_.empty())
    return false;
  failed_launches_ = 0;
  switch (header.type) {
  case MessageType::kModuleTaken:
    return accept_module(bytes, size);
  case MessageType::kPath:
    return accept_path(bytes, size);
  case MessageType::kNeedsMaps:
    return accept_needs_maps(bytes, size);
  case MessageType::kNamedPath:
    return accept_names(bytes, size);
  case MessageType::kDebugFileRead:
    return accept_debug_file(bytes, size);
  default:
    return false;
  }
}

void UnwinderClient::finish_first() {
  sample_bytes_ -= sent_.front().sample_bytes;
  sent_.pop_front();
}

bool UnwinderClient::accept_module(const char *bytes, size_t size) {
  ModuleTakenMessage message;
  const Request &told = sent_.front();
  if (!read_value(bytes, size, 0, &message) || size != sizeof(message) || told.kind != Kind::kModule ||
      message.module != told.id)
    return false;
  finish_first();
  return true;
}

// Its files are read once more when names are wanted.
void UnwinderClient::remember_owner(uint64_t path, const ProcessKey &owner) {
  if (!owners_.insert_or_assign(path, owner).second)
    return;
  owned_.push_back(path);
  if (owned_.size() <= kMaxPaths)
    return;
  owners_.erase(owned_.front());
  owned_.pop_front();
}

bool UnwinderClient::accept_path(const char *bytes, size_t size) {
  PathMessage message;
  const Request &request = sent_.front();
  if (!read_value(bytes, size, 0, &message) || request.kind != Kind::kSample || message.ref != request.id ||
      message.count > kMaxPathFrames || size != sizeof(message) + message.count * sizeof(PathFrame) ||
      !is_quality(message.quality) || (message.path == 0) != (message.count == 0))
    return false;
  UnwoundPath path = {message.ref, message.path, message.quality, message.notes & kAllNotes, {}};
  for (uint32_t i = 0; i < message.count; i++) {
    PathFrame frame;
    read_value(bytes, size, sizeof(message) + i * sizeof(frame), &frame);
    if (frame.how < FrameHow::kLeaf || frame.how > FrameHow::kGuess)
      return false;
    if (!holds(request.stack(), frame.return_offset, frame.pc))
      frame.return_offset = -1;
    path.frames.push_back(frame);
  }
  if (message.path)
    remember_owner(message.path, request.owner);
  counters_.unwound++;
  if (message.quality == PathQuality::kUnreadable)
    counters_.unreadable++;
  answers_.unwound.push_back(std::move(path));
  finish_first();
  return true;
}

bool UnwinderClient::accept_needs_maps(const char *bytes, size_t size) {
  NeedsMapsMessage message;
  Request &request = sent_.front();
  if (!read_value(bytes, size, 0, &message) || size != sizeof(message) || request.kind != Kind::kSample ||
      message.ref != request.id || request.final)
    return false;
  auto at = processes_.find(request.owner);
  request.reread = true;
  if (at != processes_.end())
    request.not_before_ns = at->second.read_ns + kRereadFactor * at->second.read_took_ns;
  waiting_.push_back(std::move(request));
  sent_.pop_front();
  return true;
}

bool UnwinderClient::accept_names(const char *bytes, size_t size) {
  NamedPathMessage message;
  if (!read_value(bytes, size, 0, &message) || sent_.front().kind != Kind::kNames ||
      message.path != sent_.front().id || message.count > kMaxNamedFrames || !is_quality(message.quality))
    return false;
  if (!assembly_)
    assembly_ = NamedPath{message.path, message.quality, message.notes & kAllNotes, {}};
  size_t at = sizeof(message);
  for (uint32_t i = 0; i < message.count; i++) {
    NamedFrame frame;
    if (!read_value(bytes, size, at, &frame) || assembly_->frames.size() >= kMaxNamedFrames ||
        frame.function_bytes > kMaxFunctionName || frame.module_bytes > kMaxFileName ||
        frame.file_bytes > kMaxFileName || frame.build_id_bytes > kMaxBuildIdBytes ||
        frame.how < FrameHow::kLeaf || frame.how > FrameHow::kInlined)
      return false;
    at += sizeof(frame);
    size_t texts =
        size_t{frame.function_bytes} + frame.module_bytes + frame.file_bytes + frame.build_id_bytes;
    if (size - at < texts)
      return false;
    auto text = [&](size_t length) { return std::string(bytes + std::exchange(at, at + length), length); };
    NamedPathFrame named;
    named.function = text(frame.function_bytes);
    named.module = text(frame.module_bytes);
    named.file = text(frame.file_bytes);
    named.build_id = hex(bytes + at, frame.build_id_bytes);
    at += frame.build_id_bytes;
    named.offset = frame.offset;
    named.line = frame.line;
    named.how = frame.how;
    assembly_->frames.push_back(std::move(named));
  }
  if (at != size || (!message.last && message.count == 0))
    return false;
  if (!message.last)
    return true;
  answers_.named.push_back(std::move(*assembly_));
  assembly_.reset();
  finish_first();
  return true;
}

bool UnwinderClient::accept_debug_file(const char *bytes, size_t size) {
  DebugFileReadMessage message;
  const std::string &build_id = sent_.front().build_id;
  if (!read_value(bytes, size, 0, &message) || size != sizeof(message) ||
      sent_.front().kind != Kind::kDebugFile)
    return false;
  answers_.debug_files.push_back({hex(build_id.data(), build_id.size()), message.is_right == 1});
  finish_first();
  return true;
}

} // namespace socktrace
