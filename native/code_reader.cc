#include "code_reader.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>

namespace socktrace {

namespace {

constexpr size_t kMaxThreads = 4;
// Then it may wait for somebody, and others are not to wait with it.
constexpr uint64_t kSlow = 100'000'000;
// Read and not taken: no more is read before.
constexpr size_t kMaxReadMappings = 4 * kMaxMappings;
constexpr std::chrono::seconds kEndPatience(1);

uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

} // namespace

// Threads own it too: one that was given up may come back when the reader has gone. The lock is never held in a system
// call that asks a file system.
struct CodeReader::Shared {
  struct Question {
    uint64_t number;
    ProcessKey key;
  };
  struct Running {
    uint64_t begun_ns;
    bool given_up;
  };

  explicit Shared(uint64_t patience) : patience_ns(patience) {}
  bool is_full() const {
    return read_mappings >= kMaxReadMappings;
  }
  size_t given_up() const {
    size_t count = 0;
    for (const auto &[number, one] : running)
      count += one.given_up;
    return count;
  }

  const uint64_t patience_ns;
  std::mutex lock;
  std::condition_variable changed;
  bool closing = false;
  size_t threads = 0;
  std::deque<Question> waiting;
  std::map<uint64_t, Running> running;
  std::deque<ReadCode> read;
  size_t read_mappings = 0;
  std::set<FileName> known;
  uint64_t next_number = 1;
};

CodeReader::CodeReader(uint64_t patience_ns) : shared_(std::make_shared<Shared>(patience_ns)) {}

CodeReader::~CodeReader() {
  std::unique_lock<std::mutex> locked(shared_->lock);
  shared_->closing = true;
  shared_->changed.notify_all();
  shared_->changed.wait_for(locked, kEndPatience, [this] { return shared_->threads <= shared_->given_up(); });
}

void *CodeReader::work(void *pointer) {
  std::unique_ptr<std::shared_ptr<Shared>> own(static_cast<std::shared_ptr<Shared> *>(pointer));
  Shared &shared = **own;
  std::unique_lock<std::mutex> locked(shared.lock);
  for (;;) {
    shared.changed.wait(locked,
                        [&] { return shared.closing || (!shared.waiting.empty() && !shared.is_full()); });
    if (shared.closing)
      break;
    Shared::Question question = shared.waiting.front();
    shared.waiting.pop_front();
    uint64_t begun = now_ns();
    shared.running[question.number] = {begun, false};
    locked.unlock();
    auto is_known = [&shared](const FileName &file) {
      std::lock_guard<std::mutex> guard(shared.lock);
      return shared.known.count(file) != 0;
    };
    ReadCode read = {question.number, 0, read_code_maps(question.key, is_known)};
    read.took_ns = now_ns() - begun;
    locked.lock();
    auto at = shared.running.find(question.number);
    bool is_late = at->second.given_up;
    shared.running.erase(at);
    if (is_late) {
      // Closing files may wait, too.
      locked.unlock();
      read.maps = Failure{"read the code", ETIMEDOUT, ""};
      locked.lock();
      continue;
    }
    shared.read_mappings += read.maps.ok() ? read.maps.value().mappings.size() : 0;
    shared.read.push_back(std::move(read));
  }
  shared.threads--;
  shared.changed.notify_all();
  locked.unlock();
  return nullptr;
}

// One is enough until it waits for somebody.
void CodeReader::start_threads() {
  Shared &shared = *shared_;
  std::unique_lock<std::mutex> locked(shared.lock);
  uint64_t now = now_ns();
  for (const auto &[number, one] : shared.running)
    if (now - one.begun_ns < kSlow)
      return;
  if (shared.waiting.empty() || shared.running.size() < shared.threads || shared.threads >= kMaxThreads)
    return;
  shared.threads++;
  locked.unlock();
  // Signals are for the threads that expect them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  auto *own = new std::shared_ptr<Shared>(shared_);
  bool started = pthread_create(&thread, &detached, work, own) == 0;
  pthread_attr_destroy(&detached);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started)
    return;
  // The next call tries again.
  delete own;
  locked.lock();
  shared.threads--;
}

uint64_t CodeReader::ask(const ProcessKey &key) {
  uint64_t number;
  {
    std::lock_guard<std::mutex> guard(shared_->lock);
    number = shared_->next_number++;
    shared_->waiting.push_back({number, key});
    shared_->changed.notify_one();
  }
  start_threads();
  return number;
}

std::vector<ReadCode> CodeReader::take() {
  Shared &shared = *shared_;
  std::vector<ReadCode> taken;
  auto give_up = [&](uint64_t number) {
    taken.push_back({number, shared.patience_ns, Failure{"read the code", ETIMEDOUT, ""}});
  };
  {
    std::lock_guard<std::mutex> guard(shared.lock);
    for (size_t mappings = 0; !shared.read.empty() && mappings < kMaxMappings;) {
      ReadCode &next = shared.read.front();
      size_t count = next.maps.ok() ? next.maps.value().mappings.size() : 0;
      mappings += count;
      shared.read_mappings -= count;
      taken.push_back(std::move(next));
      shared.read.pop_front();
    }
    uint64_t now = now_ns();
    for (auto &[number, one] : shared.running)
      if (!one.given_up && now - one.begun_ns > shared.patience_ns) {
        one.given_up = true;
        give_up(number);
      }
    // There is nobody left to read them.
    if (shared.given_up() >= kMaxThreads) {
      for (const Shared::Question &question : shared.waiting)
        give_up(question.number);
      shared.waiting.clear();
    }
    shared.changed.notify_all();
  }
  start_threads();
  return taken;
}

void CodeReader::knows(const FileName &file) {
  std::lock_guard<std::mutex> guard(shared_->lock);
  shared_->known.insert(file);
}

void CodeReader::knows_nothing() {
  std::lock_guard<std::mutex> guard(shared_->lock);
  shared_->known.clear();
}

} // namespace socktrace
