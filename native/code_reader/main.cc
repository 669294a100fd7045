// socktrace-reader: tells the tracer what processes have mapped. A process of its own: a file system that does not
// answer may keep it for ever, beyond any signal, and it must not keep then what the tracer has open (a BPF program is
// attached for as long as somebody holds its descriptor).
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <vector>

#include "../clock.h"
#include "helper_main.h"
#include "protocol.h"
#include "read_maps.h"
#include "unwinder/passing.h"

namespace socktrace {

namespace {

constexpr size_t kNumbersAPart = 1024;

// Packs the parts of an answer. Waits while the tracer has not taken the packets before.
class Answer {
public:
  template<typename Part>
  void add(PartKind kind, Part part, const void *more, size_t more_bytes, int envelope = -1) {
    size_t size = sizeof(part) + more_bytes;
    if (bytes_.size() + size > kMaxReaderPacket || envelopes_.size() == kMaxPassed)
      send();
    part.header = {kind, static_cast<uint32_t>(size)};
    append(&part, sizeof(part));
    append(more, more_bytes);
    if (envelope >= 0)
      envelopes_.emplace_back(envelope);
  }
  bool finish() {
    send();
    return !failed_;
  }

private:
  void append(const void *from, size_t size) {
    const auto *start = static_cast<const char *>(from);
    bytes_.insert(bytes_.end(), start, start + size);
  }
  void send() {
    std::vector<int> descriptors;
    for (const Descriptor &envelope : envelopes_)
      descriptors.push_back(envelope.get());
    auto size = static_cast<ssize_t>(bytes_.size());
    failed_ |= send_packet(kHelperSocket, bytes_.data(), bytes_.size(), descriptors.data(),
                           descriptors.size(), 0) != size;
    bytes_.clear();
    envelopes_.clear();
  }

  std::vector<char> bytes_;
  std::vector<Descriptor> envelopes_;
  bool failed_ = false;
};

struct ListPart {
  PartHeader header;
};

template<typename Number>
void add_list(Answer *answer, PartKind kind, const std::vector<Number> &list) {
  for (size_t at = 0; at < list.size(); at += kNumbersAPart)
    answer->add(kind, ListPart{}, list.data() + at,
                std::min(kNumbersAPart, list.size() - at) * sizeof(Number));
}

int enclose(const Descriptor &file) {
  return file.valid() ? make_envelope(file.get()) : -1;
}

bool tell(uint64_t number, uint64_t took_ns, Result<CodeMaps> read) {
  Answer answer;
  EndPart end = {};
  end.number = number;
  end.took_ns = took_ns;
  if (!read.ok()) {
    end.error = read.failure().error ? read.failure().error : EIO;
    answer.add(PartKind::kEnd, end, nullptr, 0);
    return answer.finish();
  }
  CodeMaps &maps = read.value();
  for (const CodeFile &file : maps.files) {
    int envelope = enclose(file.descriptor);
    bool lost = file.descriptor.valid() && envelope < 0;
    FilePart part = {};
    part.identity = file.name.identity;
    part.here = file.here;
    part.refused = file.refused || lost;
    part.passed = envelope >= 0;
    part.path_bytes = static_cast<uint32_t>(file.name.path.size());
    if (lost)
      maps.notes |= kNoteFileRefused;
    answer.add(PartKind::kFile, part, file.name.path.data(), file.name.path.size(), envelope);
  }
  std::vector<ReadMapping> mappings;
  mappings.reserve(maps.mappings.size());
  for (const CodeMapping &mapping : maps.mappings)
    mappings.push_back({mapping.start, mapping.end, mapping.file_offset, mapping.file, mapping.anonymous});
  add_list(&answer, PartKind::kMappings, mappings);
  add_list(&answer, PartKind::kBacked, maps.backed);
  int perf_map = enclose(maps.perf_map);
  end.fingerprint = maps.fingerprint;
  end.flags = perf_map >= 0 ? maps.flags : maps.flags & ~kHasPerfMap;
  end.notes = maps.notes;
  end.perf_map = perf_map >= 0;
  answer.add(PartKind::kEnd, end, nullptr, 0, perf_map);
  return answer.finish();
}

class Server {
public:
  // Until the tracer has gone, or says what it never says.
  void run() {
    std::vector<char> packet(kMaxReaderPacket);
    for (;;) {
      int descriptors[kMaxPassed];
      size_t passed;
      ssize_t got = receive_packet(kHelperSocket, packet.data(), packet.size(), descriptors, &passed, 0);
      QuestionMessage question;
      if (got < static_cast<ssize_t>(sizeof(question)))
        return;
      memcpy(&question, packet.data(), sizeof(question));
      if (static_cast<size_t>(got) != sizeof(question) + size_t{question.known} * sizeof(uint64_t))
        return;
      learn(question, packet.data() + sizeof(question));
      uint64_t begun = now_ns();
      Result<CodeMaps> read =
          read_code_maps({question.tgid, question.execs, question.start_ns},
                         [this](const FileName &file) { return known_.count(hash_of(file)) != 0; });
      if (!tell(question.number, now_ns() - begun, std::move(read)))
        return;
    }
  }

private:
  void learn(const QuestionMessage &question, const char *hashes) {
    if (question.generation != generation_)
      known_.clear();
    generation_ = question.generation;
    for (uint32_t i = 0; i < question.known; i++) {
      uint64_t hash;
      memcpy(&hash, hashes + i * sizeof(hash), sizeof(hash));
      known_.insert(hash);
    }
  }

  uint32_t generation_ = 0;
  std::set<uint64_t> known_;
};

} // namespace

} // namespace socktrace

int main() {
  using namespace socktrace;
  if (!begin_helper("socktrace-reader"))
    return 1;
  Server().run();
  return 0;
}
