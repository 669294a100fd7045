// The unwinder and its client under test, without BPF: stops a traced program at a system call, copies what the BPF programs
// would copy, and prints what comes back, one JSON object a line.
//
//   unwinder-probe [options] PROGRAM ARGUMENTS...
//     -u FILE      the unwinder
//     -R FILE      the code reader
//     -s CALLS     system calls to stop at, comma-separated names: socket,bind,connect,accept (socket)
//     -n NUMBER    the stop to look at (1); 0: every one
//     -c CHUNKS    of the stack to copy (33)
//     -r MASK      of chunks to leave out
//     -x           let the program end before its sample is offered
//     -k           kill the unwinder after the sample was offered, and offer it again when it has been answered
//     -f           offer its sample when the process has ended, and name its parent, which has not
//     -e           offer its sample when the process has called exec
//     -m MS        how long the client believes in what is mapped
//     -t MS        the client's patience
//     -b TEXT      a command for /bin/sh at the stop, PID in $1: what other unwinders say
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "unwinder_client.h"

namespace {

using namespace socktrace;

struct Options {
  std::string unwinder, shell;
  std::set<long> calls;
  int number = 1;
  uint32_t chunks = STACK_CHUNKS_DEEP;
  uint64_t unread = 0;
  bool after_end = false, with_parent = false, kill_unwinder = false, after_exec = false;
  UnwinderOptions client;
  std::vector<char *> program;
};

[[noreturn]] void fail(const char *what) {
  fprintf(stderr, "unwinder-probe: %s: %s\n", what, strerror(errno));
  exit(1);
}

std::string json(const std::string &text) {
  std::string quoted = "\"";
  for (unsigned char byte : text) {
    char escaped[8];
    if (byte == '"' || byte == '\\' || byte < 32 || byte > 126) {
      snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
      quoted += escaped;
    } else {
      quoted += static_cast<char>(byte);
    }
  }
  return quoted + "\"";
}

const char *text_of(PathQuality quality) {
  static const char *const kNames[] = {"", "complete", "truncated", "unreliable", "unreadable"};
  return kNames[static_cast<int>(quality)];
}

const char *text_of(FrameHow how) {
  static const char *const kNames[] = {"", "leaf", "cfi", "frame-pointer", "guess", "inlined"};
  return kNames[static_cast<int>(how)];
}

void print_notes(uint32_t notes) {
  printf("\"notes\":[");
  const char *comma = "";
  for (uint32_t bit = 1; bit <= kNoteLast; bit <<= 1)
    if (notes & bit) {
      printf("%s%s", comma, json(path_note_text(static_cast<PathNote>(bit))).c_str());
      comma = ",";
    }
  printf("]");
}

void print(const UnwoundPath &path) {
  printf("{\"type\":\"unwound\",\"ref\":%lu,\"path\":\"%016lx\",\"quality\":\"%s\",", path.ref, path.path_id,
         text_of(path.quality));
  print_notes(path.notes);
  printf(",\"frames\":[");
  for (const PathFrame &frame : path.frames)
    printf("%s{\"pc\":\"%lx\",\"how\":\"%s\",\"flags\":%u,\"returnOffset\":%ld}",
           &frame == path.frames.data() ? "" : ",", frame.pc, text_of(frame.how), frame.flags,
           frame.return_offset);
  printf("]}\n");
}

void print(const NamedPath &path) {
  printf("{\"type\":\"named\",\"path\":\"%016lx\",\"quality\":\"%s\",", path.path_id, text_of(path.quality));
  print_notes(path.notes);
  printf(",\"frames\":[");
  for (const NamedPathFrame &frame : path.frames)
    printf("%s{\"function\":%s,\"module\":%s,\"buildId\":\"%s\",\"offset\":\"%lx\",\"file\":%s,\"line\":%u,"
           "\"how\":\"%s\"}",
           &frame == path.frames.data() ? "" : ",", json(frame.function).c_str(), json(frame.module).c_str(),
           frame.build_id.c_str(), frame.offset, json(frame.file).c_str(), frame.line, text_of(frame.how));
  printf("]}\n");
}

// Field 22 of /proc/PID/stat: in ticks of 10 ms.
uint64_t start_ns_of(pid_t pid) {
  char path[64], text[1024] = "";
  snprintf(path, sizeof(path), "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  size_t got = file ? fread(text, 1, sizeof(text) - 1, file) : 0;
  if (file)
    fclose(file);
  text[got] = 0;
  char *at = strrchr(text, ')');
  for (int field = 2; at && field < 22; field++)
    at = strchr(at + 1, ' ');
  if (!at)
    fail("read the start time");
  return strtoull(at + 1, nullptr, 10) * 10'000'000;
}

// A number of /proc/PID/status.
pid_t status_of(pid_t tid, const char *format) {
  char path[64], line[256];
  snprintf(path, sizeof(path), "/proc/%d/status", tid);
  FILE *file = fopen(path, "r");
  pid_t number = 0;
  while (file && fgets(line, sizeof(line), file))
    sscanf(line, format, &number);
  if (file)
    fclose(file);
  return number;
}

using Execs = std::map<uint32_t, uint32_t>; // by process

ProcessKey key_of(pid_t pid, Execs &execs) {
  return {static_cast<uint32_t>(pid), execs[static_cast<uint32_t>(pid)], start_ns_of(pid)};
}

std::vector<char> capture(pid_t tid, const Options &options, uint64_t ref, Execs &execs) {
  user_regs_struct regs;
  if (ptrace(PTRACE_GETREGS, tid, nullptr, &regs))
    fail("read registers");
  std::vector<char> bytes(sizeof(stack_sample) + size_t{STACK_CHUNKS_DEEP} * STACK_CHUNK_BYTES);
  auto *sample = reinterpret_cast<stack_sample *>(bytes.data());
  sample->ref = ref;
  sample->tgid = static_cast<uint32_t>(status_of(tid, "Tgid: %d"));
  sample->tid = static_cast<uint32_t>(tid);
  sample->start_ns = start_ns_of(static_cast<pid_t>(sample->tgid));
  sample->execs = execs[sample->tgid];
  sample->code = {sample->start_ns, sample->tgid, sample->execs};
  sample->operation = PATH_OPEN;
  unsigned long long in_order[] = {regs.rax, regs.rdx, regs.rcx, regs.rbx, regs.rsi, regs.rdi,
                                   regs.rbp, regs.rsp, regs.r8,  regs.r9,  regs.r10, regs.r11,
                                   regs.r12, regs.r13, regs.r14, regs.r15, regs.rip};
  std::copy(std::begin(in_order), std::end(in_order), sample->registers);
  sample->stack_start = regs.rsp & ~uint64_t{STACK_CHUNK_BYTES - 1};
  sample->chunks = options.chunks;
  sample->unread = options.unread;
  for (size_t i = 0; i < sample->chunks; i++) {
    char *into = bytes.data() + sizeof(*sample) + i * STACK_CHUNK_BYTES;
    iovec local = {into, STACK_CHUNK_BYTES};
    iovec remote = {reinterpret_cast<void *>(sample->stack_start + i * STACK_CHUNK_BYTES), STACK_CHUNK_BYTES};
    if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != STACK_CHUNK_BYTES)
      sample->unread |= uint64_t{1} << i;
  }
  bytes.resize(sizeof(*sample) + size_t{sample->chunks} * STACK_CHUNK_BYTES);
  return bytes;
}

UnwinderAnswers wait_for_answers(UnwinderClient &client, size_t left) {
  UnwinderAnswers all;
  for (;;) {
    UnwinderAnswers some = client.poll();
    for (UnwoundPath &path : some.unwound)
      all.unwound.push_back(std::move(path));
    for (NamedPath &path : some.named)
      all.named.push_back(std::move(path));
    for (const ProcessKey &process : some.changed)
      printf("{\"type\":\"changed\",\"pid\":%u}\n", process.tgid);
    if (client.pending() <= left)
      return all;
    usleep(200);
  }
}

void offer(UnwinderClient &client, const std::vector<char> &bytes, const ProcessKey *parent = nullptr) {
  while (!client.submit(reinterpret_cast<const stack_sample *>(bytes.data()), bytes.size(), parent))
    wait_for_answers(client, SIZE_MAX);
}

void show(UnwinderClient &client) {
  UnwinderAnswers answers = wait_for_answers(client, 0);
  for (const UnwoundPath &path : answers.unwound) {
    print(path);
    if (path.path_id)
      while (!client.want_names(path.path_id))
        wait_for_answers(client, SIZE_MAX);
  }
  for (const NamedPath &path : wait_for_answers(client, 0).named)
    print(path);
  fflush(stdout);
}

void run_shell(const std::string &command, pid_t tid) {
  std::string all = "set -- " + std::to_string(tid) + "; " + command;
  FILE *output = popen(all.c_str(), "r");
  std::string text;
  char buffer[4096];
  while (size_t got = output ? fread(buffer, 1, sizeof(buffer), output) : 0)
    text.append(buffer, got);
  if (output)
    pclose(output);
  printf("{\"type\":\"shell\",\"output\":%s}\n", json(text).c_str());
  fflush(stdout);
}

class Probe {
public:
  explicit Probe(Options options) : options_(std::move(options)) {}
  void run();

private:
  void launch();
  bool handle(pid_t tid, int status); // false: this was all
  void look(pid_t tid);

  Options options_;
  Execs execs_;
  std::unique_ptr<UnwinderClient> client_;
  std::map<pid_t, bool> in_call_;
  pid_t child_ = 0;
  int seen_ = 0;
  pid_t sampled_ = 0;
  ProcessKey parent_{};
  std::vector<std::vector<char>> samples_;
};

constexpr long kTraceOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                               PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;

void Probe::launch() {
  child_ = fork();
  if (child_ == 0) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    options_.program.push_back(nullptr);
    execvp(options_.program[0], options_.program.data());
    _exit(127);
  }
  int status;
  if (child_ < 0 || waitpid(child_, &status, 0) != child_ ||
      ptrace(PTRACE_SETOPTIONS, child_, nullptr, kTraceOptions | PTRACE_O_EXITKILL))
    fail("start the program");
}

void Probe::look(pid_t tid) {
  std::vector<char> sample = capture(tid, options_, static_cast<uint64_t>(seen_), execs_);
  samples_.push_back(sample);
  if (options_.after_end || options_.after_exec)
    return;
  if (options_.with_parent) {
    sampled_ = tid;
    parent_ = key_of(status_of(tid, "PPid: %d"), execs_);
    return;
  }
  offer(*client_, sample);
  if (options_.kill_unwinder) {
    kill(client_->pid(), SIGKILL);
    show(*client_);
    offer(*client_, sample);
  }
  show(*client_);
  if (!options_.shell.empty())
    run_shell(options_.shell, tid);
}

bool Probe::handle(pid_t tid, int status) {
  if (WIFEXITED(status) || WIFSIGNALED(status)) {
    in_call_.erase(tid);
    if (options_.with_parent && tid == sampled_) {
      offer(*client_, samples_.back(), &parent_);
      show(*client_);
    }
    return !in_call_.empty();
  }
  int signal = WSTOPSIG(status);
  if (signal == (SIGTRAP | 0x80)) {
    bool &in_call = in_call_[tid];
    in_call = !in_call;
    user_regs_struct regs;
    if (!in_call && ptrace(PTRACE_GETREGS, tid, nullptr, &regs) == 0 &&
        options_.calls.count(static_cast<long>(regs.orig_rax)) &&
        (++seen_ == options_.number || options_.number == 0)) {
      look(tid);
      if (options_.number != 0 && !options_.after_end && !options_.after_exec && !options_.with_parent)
        return false;
    }
    signal = 0;
  } else if (signal == SIGTRAP && status >> 16) {
    if (status >> 16 == PTRACE_EVENT_EXEC)
      execs_[static_cast<uint32_t>(tid)]++;
    if (status >> 16 == PTRACE_EVENT_EXEC && options_.after_exec && !samples_.empty()) {
      offer(*client_, samples_.back());
      show(*client_);
      return false;
    }
    signal = 0;
  } else if (signal == SIGSTOP && !in_call_.count(tid)) {
    in_call_[tid] = false; // a new thread or process
    signal = 0;
  }
  ptrace(PTRACE_SYSCALL, tid, nullptr, signal);
  return true;
}

void Probe::run() {
  UnwinderOptions wanted = options_.client;
  wanted.executable = options_.unwinder;
  wanted.live_execs = [this](uint32_t tgid, uint64_t) -> std::optional<uint32_t> {
    auto at = execs_.find(tgid);
    return at == execs_.end() ? std::nullopt : std::optional<uint32_t>(at->second);
  };
  Result<std::unique_ptr<UnwinderClient>> client = UnwinderClient::start(wanted);
  if (!client.ok()) {
    const Failure &failure = client.failure();
    fprintf(stderr, "unwinder-probe: %s: %s: %s\n", failure.step.c_str(), strerror(failure.error),
            failure.detail.c_str());
    exit(1);
  }
  client_ = std::move(client.value());
  launch();
  in_call_[child_] = false;
  ptrace(PTRACE_SYSCALL, child_, nullptr, nullptr);
  for (;;) {
    int status;
    pid_t tid = waitpid(-1, &status, __WALL | __WNOTHREAD);
    if ((tid < 0 && errno == EINTR) || tid == client_->pid())
      continue;
    if (tid < 0)
      break;
    if (!handle(tid, status))
      break;
  }
  for (const std::vector<char> &sample : samples_)
    if (options_.after_end)
      offer(*client_, sample);
  if (options_.after_end)
    show(*client_);
  const UnwinderCounters counters = client_->counters();
  client_.reset();
  printf(
      "{\"type\":\"end\",\"deaths\":%lu,\"replaced\":%lu,\"unwound\":%lu,\"unreadable\":%lu,\"stops\":%d}\n",
      counters.deaths, counters.replaced, counters.unwound, counters.unreadable, seen_);
  // Its threads and children, traced too, have to be waited for as well.
  for (const auto &[tid, in_call] : in_call_)
    kill(tid, SIGKILL);
  while (waitpid(-1, nullptr, __WALL) > 0 || errno == EINTR) {
  }
}

const std::map<std::string, long> kCalls = {{"socket", SYS_socket},
                                            {"bind", SYS_bind},
                                            {"connect", SYS_connect},
                                            {"accept", SYS_accept4},
                                            {"exit", SYS_exit_group}};

Options parse(int count, char **arguments) {
  Options options;
  std::string calls = "socket";
  for (int option; (option = getopt(count, arguments, "+u:R:s:n:c:r:b:t:m:xfke")) != -1;) {
    switch (option) {
    case 'u':
      options.unwinder = optarg;
      break;
    case 'R':
      options.client.code_reader = optarg;
      break;
    case 's':
      calls = optarg;
      break;
    case 'n':
      options.number = atoi(optarg);
      break;
    case 'c':
      options.chunks = static_cast<uint32_t>(atoi(optarg));
      break;
    case 'r':
      options.unread = strtoull(optarg, nullptr, 0);
      break;
    case 'b':
      options.shell = optarg;
      break;
    case 'x':
      options.after_end = true;
      break;
    case 'f':
      options.with_parent = true;
      break;
    case 'e':
      options.after_exec = true;
      break;
    case 'm':
      options.client.fresh_ns = strtoull(optarg, nullptr, 10) * 1'000'000;
      break;
    case 't':
      options.client.patience_ns = strtoull(optarg, nullptr, 10) * 1'000'000;
      break;
    case 'k':
      options.kill_unwinder = true;
      break;
    default:
      exit(2);
    }
  }
  for (char *call = strtok(calls.data(), ","); call; call = strtok(nullptr, ",")) {
    auto at = kCalls.find(call);
    if (at == kCalls.end())
      exit(2);
    options.calls.insert(at->second);
  }
  options.program.assign(arguments + optind, arguments + count);
  if (options.unwinder.empty() || options.program.empty() || options.chunks > STACK_CHUNKS_DEEP)
    exit(2);
  return options;
}

} // namespace

int main(int count, char **arguments) {
  Probe(parse(count, arguments)).run();
  return 0;
}
