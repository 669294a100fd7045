// The tracer's side of the unwinder: starts it, tells it about processes, offers stack samples, takes what it answers. The
// unwinder reads hostile files: it may die, hang or lie. Each of these costs names, never the tracer.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "callpath_records.h"
#include "descriptor.h"
#include "process_maps.h"
#include "result.h"
#include "unwinder/protocol.h"

namespace socktrace {

struct UnwoundPath {
  uint64_t ref;     // of the sample
  uint64_t path_id; // equal for equal frames, also in other runs; 0: nothing was unwound
  PathQuality quality;
  uint32_t notes; // bits of PathNote
  std::vector<PathFrame> frames;
};

struct NamedPathFrame {
  std::string function; // empty: not known
  std::string module;   // path in the process's view; empty: code without a file
  std::string build_id; // hex
  uint64_t offset;
  std::string file;
  uint32_t line; // 0: not known
  FrameHow how;
};

struct NamedPath {
  uint64_t path_id;
  PathQuality quality;
  uint32_t notes;
  std::vector<NamedPathFrame> frames; // the leaf first
};

struct ReadDebugFile {
  std::string build_id; // hex
  bool is_right;        // false: of another build, no ELF file, without DWARF, or the unwinder died of it
};

struct UnwinderAnswers {
  std::vector<UnwoundPath> unwound;
  std::vector<NamedPath> named;
  std::vector<ReadDebugFile> debug_files;
};

struct UnwinderOptions {
  std::string executable;
  uint64_t patience_ns = 20'000'000'000; // one answer takes no longer, or the unwinder hangs
};

struct UnwinderCounters {
  uint64_t deaths = 0;   // crashed, hung or lied
  uint64_t replaced = 0; // its tables were full
  uint64_t unwound = 0;
  uint64_t unreadable = 0; // of these
};

// What a report says for one bit of the notes.
const char *path_note_text(PathNote note);

class UnwinderClient {
public:
  static Result<std::unique_ptr<UnwinderClient>> start(const UnwinderOptions &options);
  ~UnwinderClient();
  UnwinderClient(const UnwinderClient &) = delete;
  UnwinderClient &operator=(const UnwinderClient &) = delete;

  // Never blocks. False: it can not be taken now, offer it again later. A malformed one is taken and answered as
  // unreadable. `parent`: whose code the process still runs (it has forked and not called exec), should it be gone.
  bool submit(const stack_sample *sample, size_t bytes, const ProcessKey *parent = nullptr);
  // Answered once, in some later poll; unreadable with kNoteForgotten when no sample of this life of the unwinder had it.
  // False: too much is under way, ask again later.
  bool want_names(uint64_t path_id);
  // Debugging information of a build, from elsewhere: used for names from then on, by this life of the unwinder. Answered
  // once, in some later poll. False: too much is under way, ask again later.
  bool offer_debug_file(const std::string &build_id, const Descriptor &file);
  // The process has gone, or has called exec.
  void forget(const ProcessKey &key);
  // Never blocks. Starts the unwinder again where it died; fails only when that is impossible.
  Result<UnwinderAnswers> poll();
  // Samples and names not answered yet.
  size_t pending() const {
    return waiting_.size() + sent_.size();
  }
  const UnwinderCounters &counters() const {
    return counters_;
  }
  // -1: not running now.
  pid_t pid() const {
    return pid_;
  }

private:
  struct Request {
    uint64_t id; // the sample's ref, or the path
    bool names;
    bool has_parent;
    bool reread; // the maps are to be read again first
    bool final;  // they have been
    uint64_t not_before_ns;
    ProcessKey parent;
    std::vector<uint64_t> sample; // aligned
    size_t sample_bytes;
    std::string build_id; // of a debug file, else empty
    Descriptor debug_file;

    bool is_sample() const {
      return !sample.empty();
    }
    const stack_sample *stack() const {
      return reinterpret_cast<const stack_sample *>(sample.data());
    }
  };
  struct Known {
    uint32_t id = 0;       // 0: this unwinder has not been told of it
    bool refused = false;  // it may not be read
    bool borrowed = false; // the id is its parent's
    uint32_t deaths = 0;   // of unwinders, at samples of it
    uint64_t read_ns = 0, read_took_ns = 0;
  };
  struct Outgoing {
    std::vector<char> bytes;
    Descriptor descriptor;
  };

  explicit UnwinderClient(UnwinderOptions options) : options_(std::move(options)) {}
  Status launch();
  bool may_launch() const;
  bool is_worn() const;
  void stop();
  bool reap();
  void died();
  void advance();
  bool send_request(Request &request);
  Known &known(const ProcessKey &key, const ProcessKey *parent);
  bool introduce(const ProcessKey &key, Known &process);
  uint32_t module_of(CodeFile &file);
  void queue(std::vector<char> bytes, Descriptor descriptor = Descriptor());
  void flush();
  bool accept(const char *bytes, size_t size);
  bool accept_path(const char *bytes, size_t size);
  bool accept_needs_maps(const char *bytes, size_t size);
  bool accept_names(const char *bytes, size_t size);
  bool accept_debug_file(const char *bytes, size_t size);
  void finish_first();
  void answer_unreadable(const Request &request, uint32_t notes);

  UnwinderOptions options_;
  UnwinderCounters counters_;
  pid_t pid_ = -1;
  std::vector<pid_t> dying_; // killed, not ended yet
  Descriptor socket_;
  bool ready_ = false;
  uint64_t progress_ns_ = 0; // when it last answered, or began to have something to do
  std::deque<uint64_t> launches_;
  std::deque<Request> waiting_, sent_; // sent ones are answered in their order
  size_t sample_bytes_ = 0;
  std::deque<Outgoing> outgoing_;
  size_t outgoing_bytes_ = 0;
  std::map<ProcessKey, Known> processes_;
  std::map<FileIdentity, uint32_t> modules_;
  uint32_t next_process_ = 1;
  std::optional<NamedPath> assembly_; // comes in several messages
  UnwinderAnswers answers_;           // until the next poll
};

} // namespace socktrace
