// What an unwinder that was taken over says to the tracer: messages, each behind its length (16 bits). The client's state
// is set up directly: it would start a process for each input.
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
#include "unwinder_client.h"
#undef private

#include "targets.h"

namespace socktrace::fuzz {

namespace {

constexpr uint64_t kPath = 0x1111;
constexpr uint64_t kNever = 1'000'000'000'000'000;

// A process that it has told its unwinder about already.
void introduce(UnwinderClient *client) {
  UnwinderClient::Known &process = client->processes_[{7, 0, 0}];
  process.id = 1;
  process.read_ns = 1;
  process.read_took_ns = kNever; // it is not read again
}

// Asks in this order: three samples, two names, a debug file.
void ask(UnwinderClient *client) {
  std::vector<uint64_t> words((sizeof(stack_sample) + STACK_CHUNK_BYTES) / 8, kPath);
  auto *sample = reinterpret_cast<stack_sample *>(words.data());
  memset(sample, 0, sizeof(*sample));
  sample->tgid = 7;
  sample->chunks = 1;
  for (sample->ref = 1; sample->ref <= 3; sample->ref++)
    client->submit(sample, words.size() * 8);
  client->want_names(kPath);
  client->want_names(kPath);
  client->offer_debug_file("build", file_of("", 0));
}

} // namespace

void to_client(const uint8_t *bytes, size_t size) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
    abort();
  Descriptor unwinder(pair[1]);
  UnwinderClient client({}, HelperProgram("", Descriptor()), HelperProgram("", Descriptor()));
  client.socket_ = Descriptor(pair[0]);
  client.pid_ = 0; // nobody: it kills none
  client.ready_ = true;
  introduce(&client);
  ask(&client);
  size_t pending = client.pending(), answered = 0;
  for (size_t at = 0; at + 2 <= size;) {
    size_t length = number_at<uint16_t>(bytes, size, at), left = std::min(length, size - at - 2);
    send(unwinder.get(), bytes + at + 2, left, MSG_DONTWAIT | MSG_NOSIGNAL);
    at += 2 + length;
    UnwinderAnswers answers = client.poll();
    answered += answers.unwound.size() + answers.named.size() + answers.debug_files.size();
    for (const NamedPath &path : answers.named)
      if (path.frames.size() > kMaxNamedFrames)
        abort();
  }
  // One answer to each question at most, however much is said.
  if (answered > pending)
    abort();
}

} // namespace socktrace::fuzz
