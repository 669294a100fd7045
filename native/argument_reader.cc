#include "argument_reader.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "argument_reader/protocol.h"
#include "clock.h"
#include "unwinder/passing.h"

namespace socktrace {

namespace {

constexpr size_t kMostStuck = 4;
// The caller stands still meanwhile. Whoever makes it wait again and again gets a small part of its time.
constexpr uint64_t kLongest = 500'000'000, kShortest = 5'000'000;
constexpr uint64_t kToStart = 100'000'000; // a new helper has to be executed before it answers
constexpr uint64_t kWaitingPart = 20;
constexpr int kReapTries = 1000;
constexpr useconds_t kReapPause = 1000;

Failure failure_of(int error) {
  return Failure{"read the arguments", error, ""};
}

} // namespace

ArgumentReader::~ArgumentReader() {
  helper_.socket.reset();
  std::vector<pid_t> ending;
  if (helper_.pid > 0) {
    kill(helper_.pid, SIGKILL);
    ending.push_back(helper_.pid);
  }
  for (int tries = 0; tries < kReapTries && !reap(&ending); tries++)
    usleep(kReapPause);
  give_up(&stuck_);
  give_up(&ending);
}

Status ArgumentReader::launch() {
  Result<HelperProcess> started =
      program_.start("socktrace-arguments", {CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH});
  if (!started.ok())
    return started.failure();
  helper_ = std::move(started.value());
  return std::nullopt;
}

uint64_t ArgumentReader::patience(uint64_t now) const {
  return late_ns_ ? std::clamp((now - late_ns_) / kWaitingPart, kShortest, kLongest) : kLongest;
}

// It has ended, or is stuck; another one is started for the next process.
Result<std::string> ArgumentReader::lose(int error) {
  kill(helper_.pid, SIGKILL);
  stuck_.push_back(helper_.pid);
  helper_ = {};
  late_ns_ = now_ns();
  return failure_of(error);
}

Result<std::string> ArgumentReader::read(uint32_t pid) {
  reap(&stuck_);
  if (stuck_.size() >= kMostStuck)
    return failure_of(EBUSY);
  const bool is_new = helper_.pid < 0;
  if (is_new)
    if (Status failed = launch())
      return *failed;
  ArgumentsQuestion question = {++number_, pid};
  if (send_packet(helper_.socket.get(), &question, sizeof(question), nullptr, 0, MSG_DONTWAIT) < 0)
    return lose(errno);
  const uint64_t begun = now_ns(), end = begun + std::max(patience(begun), is_new ? kToStart : 0);
  for (uint64_t now = begun;; now = now_ns()) {
    char packet[sizeof(ArgumentsAnswer) + kMostArgumentBytes];
    ssize_t got = recv(helper_.socket.get(), packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
    ArgumentsAnswer answer;
    if (got >= static_cast<ssize_t>(sizeof(answer)) && got <= static_cast<ssize_t>(sizeof(packet))) {
      memcpy(&answer, packet, sizeof(answer));
      if (answer.number != question.number)
        return lose(EPROTO);
      if (answer.error)
        return failure_of(answer.error);
      return std::string(packet + sizeof(answer), static_cast<size_t>(got) - sizeof(answer));
    }
    if (got >= 0 || (errno != EAGAIN && errno != EINTR))
      return lose(got >= 0 ? EPROTO : errno);
    if (now >= end)
      return lose(ETIMEDOUT);
    const uint64_t left = end - now;
    timespec most = {static_cast<time_t>(left / 1'000'000'000), static_cast<long>(left % 1'000'000'000)};
    pollfd waiting = {helper_.socket.get(), POLLIN, 0};
    ppoll(&waiting, 1, &most, nullptr);
  }
}

} // namespace socktrace
