#include "code_reader.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "clock.h"
#include "code_reader/protocol.h"
#include "unwinder/passing.h"

namespace socktrace {

namespace {

// Those that were given up and still hang count, too.
constexpr size_t kMaxReaders = 4;
constexpr size_t kMaxAsked = 64; // of one reader
// Then it may wait for somebody, and others are not to wait with it.
constexpr uint64_t kSlow = 100'000'000;
// A crash loop must cost little: this many starts in such a time.
constexpr size_t kMaxLaunches = 20;
constexpr uint64_t kLaunchPeriod = 10'000'000'000;
constexpr int kReapTries = 1000;
constexpr useconds_t kReapPause = 1000;
constexpr size_t kMaxBacked = 4096;
// One answer fills its packets, as far as its parts fit; whoever sends more goes on for ever.
constexpr size_t kMaxAnswerPackets = 256;

template<typename T>
bool read_value(const char *bytes, size_t size, T *value) {
  if (size < sizeof(T))
    return false;
  memcpy(value, bytes, sizeof(T));
  return true;
}

// The numbers that follow a part's header.
template<typename T>
bool read_list(const char *bytes, size_t size, size_t most, std::vector<T> *list) {
  size_t count = (size - sizeof(PartHeader)) / sizeof(T);
  if (count == 0 || size != sizeof(PartHeader) + count * sizeof(T) ||
      count > most - std::min(most, list->size()))
    return false;
  size_t before = list->size();
  list->resize(before + count);
  memcpy(static_cast<void *>(list->data() + before), bytes + sizeof(PartHeader), count * sizeof(T));
  return true;
}

Descriptor next_of(std::vector<Descriptor> &envelopes, bool wanted, bool *missing) {
  *missing |= wanted && envelopes.empty();
  if (!wanted || envelopes.empty())
    return Descriptor();
  Descriptor first = std::move(envelopes.front());
  envelopes.erase(envelopes.begin());
  return first;
}

bool accept_file(const char *bytes, size_t size, std::vector<Descriptor> &envelopes, CodeMaps *maps) {
  FilePart part;
  if (!read_value(bytes, size, &part) || part.path_bytes > kMaxModuleName ||
      size != sizeof(part) + part.path_bytes || maps->files.size() >= kMaxCodeFiles)
    return false;
  bool missing = false;
  CodeFile file = {{part.identity, std::string(bytes + sizeof(part), part.path_bytes)},
                   part.here != 0,
                   part.refused != 0,
                   next_of(envelopes, part.passed != 0, &missing)};
  maps->files.push_back(std::move(file));
  return !missing;
}

bool accept_mappings(const char *bytes, size_t size, CodeMaps *maps) {
  std::vector<ReadMapping> read;
  if (!read_list(bytes, size, kMaxMappings - maps->mappings.size(), &read))
    return false;
  for (const ReadMapping &mapping : read) {
    uint64_t from = maps->mappings.empty() ? 0 : maps->mappings.back().end;
    if (mapping.start < from || mapping.start >= mapping.end || mapping.file > maps->files.size())
      return false;
    maps->mappings.push_back(
        {mapping.start, mapping.end, mapping.file_offset, mapping.file, mapping.anonymous != 0});
  }
  return true;
}

} // namespace

CodeReader::CodeReader(HelperProgram program, uint64_t patience_ns)
    : program_(std::move(program)), patience_ns_(patience_ns) {
  // A process may be gone soon after its first event.
  launch();
}

CodeReader::~CodeReader() {
  for (Reader &reader : readers_) {
    kill(reader.process.pid, SIGKILL);
    ended_.push_back(reader.process.pid);
  }
  for (int tries = 0; tries < kReapTries && !reap(&ended_); tries++)
    usleep(kReapPause);
  give_up(&stuck_);
  give_up(&ended_);
}

bool CodeReader::may_launch() const {
  return readers_.size() + stuck_.size() < kMaxReaders &&
         (launches_.size() < kMaxLaunches || now_ns() - launches_.front() >= kLaunchPeriod);
}

bool CodeReader::launch() {
  launches_.push_back(now_ns());
  if (launches_.size() > kMaxLaunches)
    launches_.pop_front();
  Result<HelperProcess> started = program_.start(
      "socktrace-reader", {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN});
  if (!started.ok())
    return false;
  Reader reader;
  reader.process = std::move(started.value());
  readers_.push_back(std::move(reader));
  return true;
}

bool CodeReader::send(Reader &reader, const Question &question) {
  size_t told = reader.generation == generation_ ? reader.told : 0;
  size_t news =
      std::min(known_.size() - told, (kMaxReaderPacket - sizeof(QuestionMessage)) / sizeof(uint64_t));
  QuestionMessage message = {};
  message.number = question.number;
  message.start_ns = question.key.start_ns;
  message.tgid = question.key.tgid;
  message.execs = question.key.execs;
  message.generation = generation_;
  message.known = static_cast<uint32_t>(news);
  std::vector<char> bytes(sizeof(message) + news * sizeof(uint64_t));
  memcpy(bytes.data(), &message, sizeof(message));
  std::copy_n(reinterpret_cast<const char *>(known_.data() + told), news * sizeof(uint64_t),
              bytes.data() + sizeof(message));
  // One that has died is told by reading.
  if (send_packet(reader.process.socket.get(), bytes.data(), bytes.size(), nullptr, 0, MSG_DONTWAIT) < 0)
    return false;
  if (reader.is_free())
    reader.progress_ns = now_ns();
  reader.generation = generation_;
  reader.told = told + news;
  reader.asked.push_back({question, false});
  return true;
}

// One reader is enough until it waits for somebody; what it was asked besides is asked elsewhere then.
void CodeReader::distribute() {
  uint64_t now = now_ns();
  Reader *best = nullptr;
  for (Reader &reader : readers_)
    if ((reader.is_free() || now - reader.progress_ns < kSlow) &&
        (!best || reader.asked.size() < best->asked.size()))
      best = &reader;
  bool may_ask = best || may_launch();
  for (Reader &reader : readers_) {
    if (!may_ask || reader.is_free() || now - reader.progress_ns < kSlow)
      continue;
    for (size_t i = reader.asked.size() - 1; i > 0; i--) {
      Asked &later = reader.asked[i];
      if (!later.elsewhere)
        waiting_.push_front(later.question);
      later.elsewhere = true;
    }
  }
  if (waiting_.empty())
    return;
  if (!best && may_launch() && launch())
    best = &readers_.back();
  while (best && !waiting_.empty() && best->asked.size() < kMaxAsked && send(*best, waiting_.front()))
    waiting_.pop_front();
}

uint64_t CodeReader::ask(const ProcessKey &key) {
  waiting_.push_back({next_number_++, key});
  distribute();
  return next_number_ - 1;
}

// The parts that came are no whole; what it had not begun is asked elsewhere.
void CodeReader::lose(Reader &reader, int error, std::vector<pid_t> *ending, std::vector<ReadCode> *taken) {
  kill(reader.process.pid, SIGKILL);
  ending->push_back(reader.process.pid);
  for (size_t i = reader.asked.size(); i-- > 1;)
    if (!reader.asked[i].elsewhere)
      waiting_.push_front(reader.asked[i].question);
  if (!reader.is_free() && !reader.asked.front().elsewhere)
    taken->push_back({reader.asked.front().question.number, now_ns() - reader.progress_ns,
                      Failure{"read the code", error, ""}});
}

std::vector<ReadCode> CodeReader::take() {
  reap(&stuck_);
  reap(&ended_);
  std::vector<ReadCode> taken;
  size_t mappings = 0;
  for (size_t i = 0; i < readers_.size();) {
    Reader &reader = readers_[i];
    Drained drained = drain(reader, &taken, &mappings);
    bool is_late =
        drained == Drained::kEmpty && !reader.is_free() && now_ns() - reader.progress_ns > patience_ns_;
    if (is_late)
      lose(reader, ETIMEDOUT, &stuck_, &taken);
    else if (drained == Drained::kLied)
      lose(reader, EIO, &ended_, &taken);
    if (is_late || drained == Drained::kLied)
      readers_.erase(readers_.begin() + static_cast<ptrdiff_t>(i));
    else
      i++;
  }
  distribute();
  // There is nobody left to read them.
  if (readers_.empty()) {
    for (const Question &question : waiting_)
      taken.push_back({question.number, 0, Failure{"read the code", ETIMEDOUT, ""}});
    waiting_.clear();
  }
  return taken;
}

CodeReader::Drained CodeReader::drain(Reader &reader, std::vector<ReadCode> *taken, size_t *mappings) {
  std::vector<char> packet(kMaxReaderPacket);
  while (*mappings < kMaxMappings) {
    int descriptors[kMaxPassed];
    size_t passed;
    ssize_t got = receive_packet(reader.process.socket.get(), packet.data(), packet.size(), descriptors,
                                 &passed, MSG_DONTWAIT);
    int error = errno;
    std::vector<Descriptor> envelopes;
    for (size_t i = 0; i < passed; i++)
      envelopes.emplace_back(descriptors[i]);
    if (got < 0 && (error == EAGAIN || error == EWOULDBLOCK))
      return Drained::kEmpty;
    if (got <= 0 || ++reader.packets > kMaxAnswerPackets ||
        !accept(reader, packet.data(), static_cast<size_t>(got), envelopes, taken, mappings))
      return Drained::kLied;
    reader.progress_ns = now_ns();
  }
  return Drained::kFull;
}

bool CodeReader::accept(Reader &reader, const char *bytes, size_t size, std::vector<Descriptor> &envelopes,
                        std::vector<ReadCode> *taken, size_t *mappings) {
  for (PartHeader header; size > 0; bytes += header.bytes, size -= header.bytes) {
    if (reader.is_free() || !read_value(bytes, size, &header) || header.bytes < sizeof(header) ||
        header.bytes > size)
      return false;
    bool understood = false, missing = false;
    EndPart end;
    switch (header.kind) {
    case PartKind::kFile:
      understood = accept_file(bytes, header.bytes, envelopes, &reader.maps);
      break;
    case PartKind::kMappings:
      understood = accept_mappings(bytes, header.bytes, &reader.maps);
      break;
    case PartKind::kBacked:
      understood = read_list(bytes, header.bytes, kMaxBacked, &reader.maps.backed);
      break;
    case PartKind::kEnd:
      understood = read_value(bytes, header.bytes, &end) &&
                   finish(reader, bytes, header.bytes, next_of(envelopes, end.perf_map != 0, &missing), taken,
                          mappings);
      break;
    }
    if (!understood || missing)
      return false;
  }
  return true;
}

bool CodeReader::finish(Reader &reader, const char *bytes, size_t size, Descriptor perf_map,
                        std::vector<ReadCode> *taken, size_t *mappings) {
  EndPart end;
  const Asked asked = reader.asked.front();
  if (!read_value(bytes, size, &end) || size != sizeof(end) || end.number != asked.question.number ||
      (end.error == 0 && reader.maps.mappings.empty()))
    return false;
  CodeMaps maps = std::move(reader.maps);
  reader.maps = {};
  reader.packets = 0;
  reader.asked.pop_front();
  if (asked.elsewhere)
    return true;
  // Whoever waits in proportion to it does not wait for ever.
  uint64_t took_ns = std::min(end.took_ns, patience_ns_);
  if (end.error) {
    taken->push_back({end.number, took_ns, Failure{"read the code", end.error, ""}});
    return true;
  }
  maps.perf_map = std::move(perf_map);
  maps.fingerprint = end.fingerprint;
  maps.flags = end.flags;
  maps.notes = end.notes;
  *mappings += maps.mappings.size();
  taken->push_back({end.number, took_ns, std::move(maps)});
  return true;
}

void CodeReader::knows(const FileName &file) {
  known_.push_back(hash_of(file));
}

void CodeReader::knows_nothing() {
  known_.clear();
  generation_++;
}

} // namespace socktrace
