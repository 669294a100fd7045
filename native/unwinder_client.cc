#include "unwinder_client.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace socktrace {

namespace {

constexpr size_t kMaxRequests = 256;
constexpr size_t kMaxSampleMemory = 2 << 20;
constexpr size_t kEnoughOutgoing = 128 << 10;
constexpr uint64_t kSecond = 1'000'000'000;
// A crash loop must cost little: this many starts in such a time.
constexpr size_t kMaxLaunches = 20;
constexpr uint64_t kLaunchPeriod = 10 * kSecond;
constexpr int kReapTries = 1000;
constexpr useconds_t kReapPause = 1000;
constexpr uint32_t kMaxDeaths = 2;     // of one process's samples: then it is left alone
constexpr uint64_t kRereadFactor = 20; // of a process's time at most a twentieth goes into reading its maps

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * kSecond + static_cast<uint64_t>(time.tv_nsec);
}

template<typename T>
void append(std::vector<char> *bytes, const T &value) {
  auto *start = reinterpret_cast<const char *>(&value);
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

class SpawnSettings {
public:
  SpawnSettings() {
    ok_ = posix_spawn_file_actions_init(&actions_) == 0 && posix_spawnattr_init(&attributes_) == 0;
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnSettings(const SpawnSettings &) = delete;
  SpawnSettings &operator=(const SpawnSettings &) = delete;

  // With this socket, no other descriptor, no environment, and signals as they are by default.
  int spawn(pid_t *pid, const std::string &executable, int socket) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    if (!ok_ || posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0) ||
        posix_spawn_file_actions_addopen(&actions_, 1, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_addopen(&actions_, 2, "/dev/null", O_WRONLY, 0) ||
        posix_spawn_file_actions_adddup2(&actions_, socket, kUnwinderSocket) ||
        posix_spawnattr_setsigdefault(&attributes_, &all) ||
        posix_spawnattr_setsigmask(&attributes_, &none) ||
        posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
      return ENOMEM;
    char *arguments[] = {const_cast<char *>("socktrace-unwinder"), nullptr};
    char *environment[] = {nullptr};
    return posix_spawn(pid, executable.c_str(), &actions_, &attributes_, arguments, environment);
  }

private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
  bool ok_;
};

} // namespace

Result<std::unique_ptr<UnwinderClient>> UnwinderClient::start(const UnwinderOptions &options) {
  std::unique_ptr<UnwinderClient> client(new UnwinderClient(options));
  if (Status failed = client->launch())
    return *failed;
  return client;
}

UnwinderClient::~UnwinderClient() {
  stop();
  // It has been killed; to wait for it without an end would hand it the tracer.
  for (int tries = 0; tries < kReapTries && !reap(); tries++)
    usleep(kReapPause);
}

bool UnwinderClient::reap() {
  auto is_gone = [](pid_t pid) {
    pid_t ended = waitpid(pid, nullptr, WNOHANG);
    return ended == pid || (ended < 0 && errno == ECHILD);
  };
  dying_.erase(std::remove_if(dying_.begin(), dying_.end(), is_gone), dying_.end());
  return dying_.empty();
}

Status UnwinderClient::launch() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
    return Failure{"make a socket for the unwinder", errno, ""};
  Descriptor own(pair[0]), other(pair[1]);
  // dup2 onto itself would leave close-on-exec set.
  if (other.get() == kUnwinderSocket)
    other = Descriptor(fcntl(other.get(), F_DUPFD_CLOEXEC, kUnwinderSocket + 1));
  SpawnSettings settings;
  pid_t pid;
  if (int error = settings.spawn(&pid, options_.executable, other.get()))
    return Failure{"start " + options_.executable, error, ""};
  launches_.push_back(now_ns());
  if (launches_.size() > kMaxLaunches)
    launches_.pop_front();
  pid_ = pid;
  socket_ = std::move(own);
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
  assembly_.reset();
  for (auto &[key, process] : processes_)
    process.id = 0;
  // They are told again, before those that were still waiting.
  while (!sent_.empty()) {
    waiting_.push_front(std::move(sent_.back()));
    sent_.pop_back();
  }
}

// What it was working on killed it, or was answered with a lie: that one is not tried again.
void UnwinderClient::died() {
  counters_.deaths++;
  if (!sent_.empty()) {
    Request culprit = std::move(sent_.front());
    sent_.pop_front();
    if (culprit.is_sample()) {
      auto at = processes_.find(process_of(*culprit.stack()));
      if (at != processes_.end())
        at->second.deaths++;
    }
    sample_bytes_ -= culprit.sample_bytes;
    answer_unreadable(culprit, kNoteUnwinderDied);
  }
  stop();
}

bool UnwinderClient::may_launch() const {
  return launches_.size() < kMaxLaunches || now_ns() - launches_.front() >= kLaunchPeriod;
}

void UnwinderClient::answer_unreadable(const Request &request, uint32_t notes) {
  counters_.unreadable++;
  if (!request.build_id.empty())
    answers_.debug_files.push_back({hex(request.build_id.data(), request.build_id.size()), false});
  else if (request.names)
    answers_.named.push_back({request.id, PathQuality::kUnreadable, notes, {}});
  else
    answers_.unwound.push_back({request.id, 0, PathQuality::kUnreadable, notes, {}});
}

bool UnwinderClient::submit(const stack_sample *sample, size_t bytes, const ProcessKey *parent) {
  if (pending() >= kMaxRequests || sample_bytes_ + bytes > kMaxSampleMemory || pid_ < 0 || is_worn())
    return false;
  Request request = {};
  request.id = bytes >= sizeof(*sample) ? sample->ref : 0;
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
  request.has_parent = parent != nullptr;
  if (parent)
    request.parent = *parent;
  sample_bytes_ += used;
  // Now, and not when its turn comes: the process may be gone by then.
  known(process_of(*sample), parent);
  waiting_.push_back(std::move(request));
  advance();
  return true;
}

bool UnwinderClient::want_names(uint64_t path_id) {
  if (pending() >= kMaxRequests)
    return false;
  Request request = {};
  request.id = path_id;
  request.names = true;
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
  request.build_id = build_id;
  request.debug_file = std::move(copy);
  waiting_.push_back(std::move(request));
  advance();
  return true;
}

void UnwinderClient::forget(const ProcessKey &key) {
  auto at = processes_.find(key);
  if (at == processes_.end())
    return;
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

uint32_t UnwinderClient::module_of(CodeFile &file) {
  auto [at, is_new] = modules_.try_emplace(file.identity, static_cast<uint32_t>(modules_.size() + 1));
  if (!is_new)
    return at->second;
  ModuleMessage message = {};
  message.module = at->second;
  message.name_bytes = static_cast<uint32_t>(file.path.size());
  std::vector<char> bytes = message_of(message, MessageType::kModule, file.path.size());
  bytes.insert(bytes.end(), file.path.begin(), file.path.end());
  queue(std::move(bytes), std::move(file.descriptor));
  return at->second;
}

// Reads what is mapped and tells the unwinder. False: the process has gone.
bool UnwinderClient::introduce(const ProcessKey &key, Known &process) {
  uint64_t begun = now_ns();
  Result<CodeMaps> read = read_code_maps(key);
  process.refused = !read.ok() && read.failure().error != ESRCH;
  if (!read.ok())
    return false;
  CodeMaps &maps = read.value();
  if (process.id == 0 || process.borrowed)
    process.id = next_process_++;
  process.borrowed = false;
  std::vector<uint32_t> modules = {kNoModule};
  for (CodeFile &file : maps.files)
    modules.push_back(module_of(file));
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
  process.read_ns = now_ns();
  process.read_took_ns = process.read_ns - begun;
  return true;
}

// The process, introduced to the unwinder; its id is 0 when it has gone without a trace.
UnwinderClient::Known &UnwinderClient::known(const ProcessKey &key, const ProcessKey *parent) {
  Known &process = processes_[key];
  if (process.id != 0 || process.deaths >= kMaxDeaths || introduce(key, process) || !parent ||
      !(*parent < key || key < *parent))
    return process;
  // A child that has not called exec has its parent's code where the parent has it.
  Known &source = processes_[*parent];
  if (source.id != 0 || introduce(*parent, source)) {
    process.id = source.id;
    process.borrowed = true;
  }
  return process;
}

bool UnwinderClient::send_request(Request &request) {
  if (request.names) {
    NamesMessage message = {};
    message.path = request.id;
    queue(message_of(message, MessageType::kNames));
    return true;
  }
  if (!request.is_sample()) {
    Descriptor copy(fcntl(request.debug_file.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) {
      answer_unreadable(request, 0);
      return false;
    }
    DebugFileMessage message = {};
    message.build_id_bytes = static_cast<uint32_t>(request.build_id.size());
    std::vector<char> bytes = message_of(message, MessageType::kDebugFile, request.build_id.size());
    bytes.insert(bytes.end(), request.build_id.begin(), request.build_id.end());
    queue(std::move(bytes), std::move(copy));
    return true;
  }
  Known &process = known(process_of(*request.stack()), request.has_parent ? &request.parent : nullptr);
  if (process.id == 0) {
    answer_unreadable(request, process.deaths >= kMaxDeaths ? kNoteUnwinderDied
                               : process.refused            ? kNoteRefused
                                                            : kNoteExited);
    return false;
  }
  if (request.reread) {
    request.reread = false;
    request.final = true;
    // One that has gone meanwhile keeps what was read first.
    if (!process.borrowed)
      introduce(process_of(*request.stack()), process);
  }
  SampleMessage message = {};
  message.process = process.id;
  message.final = request.final;
  std::vector<char> bytes = message_of(message, MessageType::kSample, request.sample_bytes);
  auto *start = reinterpret_cast<const char *>(request.sample.data());
  bytes.insert(bytes.end(), start, start + request.sample_bytes);
  queue(std::move(bytes));
  return true;
}

// Its tables are bounded; a fresh one costs less than their upkeep.
bool UnwinderClient::is_worn() const {
  return modules_.size() + 2 * kMaxCodeFiles > kMaxModules || processes_.size() + 2 > kMaxProcesses ||
         next_process_ == UINT32_MAX;
}

// Hands over what can be handed over now.
void UnwinderClient::advance() {
  if (pid_ < 0)
    return;
  // A worn one finishes what it has.
  uint64_t now = now_ns();
  for (auto request = waiting_.begin();
       !is_worn() && request != waiting_.end() && outgoing_bytes_ < kEnoughOutgoing;) {
    if (request->not_before_ns > now) {
      ++request;
      continue;
    }
    Request next = std::move(*request);
    request = waiting_.erase(request);
    if (sent_.empty())
      progress_ns_ = now;
    if (send_request(next))
      sent_.push_back(std::move(next));
    else
      sample_bytes_ -= next.sample_bytes;
  }
  flush();
}

void UnwinderClient::flush() {
  while (!outgoing_.empty()) {
    Outgoing &next = outgoing_.front();
    union {
      cmsghdr header;
      char space[CMSG_SPACE(sizeof(int))];
    } control = {};
    iovec piece = {next.bytes.data(), next.bytes.size()};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    if (next.descriptor.valid()) {
      int descriptor = next.descriptor.get();
      message.msg_control = &control;
      message.msg_controllen = sizeof(control);
      cmsghdr *part = CMSG_FIRSTHDR(&message);
      part->cmsg_level = SOL_SOCKET;
      part->cmsg_type = SCM_RIGHTS;
      part->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(part), &descriptor, sizeof(int));
    }
    ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR)
      continue;
    // Also when it has died: reading tells.
    if (sent < 0)
      return;
    outgoing_bytes_ -= next.bytes.size();
    outgoing_.pop_front();
  }
}

Result<UnwinderAnswers> UnwinderClient::poll() {
  reap();
  advance();
  while (pid_ >= 0) {
    char bytes[kMaxMessageBytes];
    ssize_t got = recv(socket_.get(), bytes, sizeof(bytes), MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!sent_.empty() && now_ns() - progress_ns_ > options_.patience_ns)
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
  if (pid_ < 0 && may_launch())
    if (Status failed = launch())
      return *failed;
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
  switch (header.type) {
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

bool UnwinderClient::accept_path(const char *bytes, size_t size) {
  PathMessage message;
  const Request &request = sent_.front();
  if (!read_value(bytes, size, 0, &message) || !request.is_sample() || message.ref != request.id ||
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
  if (!read_value(bytes, size, 0, &message) || size != sizeof(message) || !request.is_sample() ||
      message.ref != request.id || request.final)
    return false;
  auto at = processes_.find(process_of(*request.stack()));
  request.reread = true;
  if (at != processes_.end())
    request.not_before_ns = at->second.read_ns + kRereadFactor * at->second.read_took_ns;
  waiting_.push_back(std::move(request));
  sent_.pop_front();
  return true;
}

bool UnwinderClient::accept_names(const char *bytes, size_t size) {
  NamedPathMessage message;
  if (!read_value(bytes, size, 0, &message) || !sent_.front().names || message.path != sent_.front().id ||
      message.count > kMaxNamedFrames || !is_quality(message.quality))
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
  if (!read_value(bytes, size, 0, &message) || size != sizeof(message) || build_id.empty())
    return false;
  answers_.debug_files.push_back({hex(build_id.data(), build_id.size()), message.is_right == 1});
  finish_first();
  return true;
}

} // namespace socktrace
