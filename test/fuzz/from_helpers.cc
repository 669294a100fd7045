// What a code reader and an unwinder that were taken over say to the tracer between them: packets, each behind a byte of
// flags and its length (16 bits). However they lie, each sample is answered once, and none waits for ever.
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#define private public
#include "code_reader.h"
#include "unwinder_client.h"
#undef private

#include "clock.h"
#include "targets.h"
#include "unwinder/passing.h"

namespace socktrace::fuzz {

namespace {

enum Flag : uint8_t {
  kByUnwinder = 1 << 7, // else by the reader
  kEnvelopes = 1 << 6,  // what comes along is what it should be; else a file
  kPassed = (1 << 6) - 1,
};

constexpr uint64_t kPath = 0x1111;
constexpr uint64_t kPatience = 1'000'000'000;
constexpr pid_t kNobody = INT32_MAX; // beyond every pid: it is killed
constexpr size_t kSamples = 6;
// Of one sample: of its process and of the parent, again when code is missing, and when a file was left out.
constexpr uint64_t kQuestionsASample = 8;
constexpr size_t kPacketsAnAnswer = 256;
constexpr int kPollsToEnd = 16;

struct Pair {
  Descriptor tracer, helper;

  Pair() {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
      abort();
    tracer = Descriptor(pair[0]);
    helper = Descriptor(pair[1]);
  }
};

void check(bool holds) {
  if (!holds)
    abort();
}

// Takes what the tracer has said: nobody answers it but the input.
void hear(const Descriptor &helper) {
  static char packet[kMaxMessageBytes];
  int descriptors[kMaxPassed];
  size_t passed;
  while (receive_packet(helper.get(), packet, sizeof(packet), descriptors, &passed, MSG_DONTWAIT) > 0)
    while (passed > 0)
      close(descriptors[--passed]);
}

void say(const Descriptor &helper, uint8_t flags, const uint8_t *bytes, size_t size) {
  std::vector<int> passed(std::min<size_t>(flags & kPassed, kMaxPassed));
  for (int &descriptor : passed) {
    Descriptor file = file_of("", 0);
    descriptor = flags & kEnvelopes ? make_envelope(file.get()) : file.release();
  }
  send_packet(helper.get(), bytes, size, passed.data(), passed.size(), MSG_DONTWAIT);
  for (int descriptor : passed)
    close(descriptor);
}

// Two processes, one of them the other's child.
void submit_samples(UnwinderClient *client) {
  std::vector<uint64_t> words((sizeof(stack_sample) + STACK_CHUNK_BYTES) / 8, kPath);
  auto *sample = reinterpret_cast<stack_sample *>(words.data());
  memset(sample, 0, sizeof(*sample));
  sample->chunks = 1;
  const ProcessKey parent = {7, 0, 0};
  for (sample->ref = 1; sample->ref <= kSamples; sample->ref++) {
    sample->tgid = 7 + sample->ref % 2;
    check(client->submit(sample, words.size() * 8, sample->tgid == 8 ? &parent : nullptr));
  }
}

// What a reading is taken for by those that rely on it, as far as it has come.
void check_reader(const CodeReader &reader) {
  for (const CodeReader::Reader &one : reader.readers_) {
    const CodeMaps &maps = one.maps;
    check(maps.mappings.size() <= kMaxMappings && maps.files.size() <= kMaxCodeFiles);
    check(one.packets <= kPacketsAnAnswer);
    uint64_t last = 0;
    for (const CodeMapping &mapping : maps.mappings) {
      check(mapping.start >= last && mapping.start < mapping.end && mapping.file <= maps.files.size());
      last = mapping.end;
    }
  }
}

class Tracer {
public:
  Tracer() : client_(options(), HelperProgram("", Descriptor()), HelperProgram("", Descriptor())) {
    CodeReader::Reader reader;
    reader.process = {kNobody, std::move(reader_.tracer)};
    client_.reader_.readers_.push_back(std::move(reader));
    client_.socket_ = std::move(unwinder_.tracer);
    client_.pid_ = 0; // nobody: it kills none
    client_.ready_ = true;
    submit_samples(&client_);
  }

  void hear_from_helpers(uint8_t flags, const uint8_t *bytes, size_t size) {
    hear(reader_.helper);
    hear(unwinder_.helper);
    say(flags & kByUnwinder ? unwinder_.helper : reader_.helper, flags, bytes, size);
    poll();
    check_reader(client_.reader_);
    check(client_.reader_.next_number_ <= kSamples * kQuestionsASample);
    uint64_t latest = now_ns() + 20 * kPatience;
    for (const UnwinderClient::Request &request : client_.waiting_)
      check(request.not_before_ns <= latest);
  }

  // Both end, and can not be started again.
  void end() {
    reader_.helper.reset();
    unwinder_.helper.reset();
    client_.failed_launches_ = SIZE_MAX / 2;
    for (int polls = 0; client_.pending() > 0; polls++) {
      check(polls < kPollsToEnd);
      client_.next_launch_ns_ = 0;
      poll();
    }
    check(answered_.size() == kSamples && client_.sample_bytes_ == 0);
  }

private:
  static UnwinderOptions options() {
    UnwinderOptions options;
    options.read_patience_ns = kPatience;
    return options;
  }

  void poll() {
    for (const UnwoundPath &path : client_.poll().unwound)
      check(path.ref >= 1 && path.ref <= kSamples && answered_.insert(path.ref).second);
  }

  Pair reader_, unwinder_;
  UnwinderClient client_;
  std::set<uint64_t> answered_;
};

} // namespace

void from_helpers(const uint8_t *bytes, size_t size) {
  Tracer tracer;
  for (size_t at = 0; at + 3 <= size;) {
    uint8_t flags = bytes[at];
    auto length = number_at<uint16_t>(bytes, size, at + 1);
    size_t left = std::min<size_t>(length, size - at - 3);
    // An empty packet would read as the helper's end.
    if (left > 0)
      tracer.hear_from_helpers(flags, bytes + at + 3, left);
    at += 3 + size_t{length};
  }
  tracer.end();
}

} // namespace socktrace::fuzz
