// The tracer's side of the unwinder: starts it, tells it about processes, offers stack samples, takes what it answers. The
// unwinder reads hostile files: it may die, hang or lie. Each of these costs names, never the tracer.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "callpath_records.h"
#include "code_reader.h"
#include "descriptor.h"
#include "helper_process.h"
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
  // Whose code is not the code any more that earlier answers were about: something was unmapped, or replaced. Named as
  // samples name it (stack_sample::code).
  std::vector<ProcessKey> changed;
};

struct UnwinderOptions {
  std::string executable, code_reader;
  uint64_t patience_ns = 20'000'000'000;     // one answer takes no longer, or the unwinder hangs
  uint64_t read_patience_ns = 2'000'000'000; // nor does it take longer to read what one process has mapped
  uint64_t fresh_ns = 1'000'000'000;         // what is mapped is believed that long
  // How often the process has called exec by now; nothing where nobody counts it.
  std::function<std::optional<uint32_t>(uint32_t tgid, uint64_t start_ns)> live_execs = nullptr;
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
  // Never blocks. Starts the unwinder again where it died; while that is impossible, all answers are unreadable.
  UnwinderAnswers poll();
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
  enum class Kind {
    kSample,
    kNames,
    kDebugFile,
    kModule, // a file that it is told of
  };
  struct Request {
    Kind kind;
    uint64_t id;      // the sample's ref, the path, or the module
    ProcessKey owner; // who is to blame, should the unwinder die of it
    bool has_parent;
    bool asked, asked_parent; // what is mapped has been asked for since it waits
    bool reread;              // the maps are to be read again first
    bool final;               // they have been
    uint64_t not_before_ns;
    ProcessKey parent;
    std::vector<uint64_t> sample; // aligned
    size_t sample_bytes;
    std::string build_id; // of the debug file
    Descriptor debug_file, copy;

    const stack_sample *stack() const {
      return reinterpret_cast<const stack_sample *>(sample.data());
    }
  };
  struct Known {
    uint32_t id = 0;       // 0: this unwinder has not been told of it
    uint64_t reading = 0;  // the question to the reader that is not answered; 0: none
    uint32_t refusal = 0;  // why it could not be read when it was last tried: PathNote
    bool borrowed = false; // the id is its parent's
    uint32_t deaths = 0;   // of unwinders, of what it gave them to read
    uint32_t gaps = 0;     // answers in a row that left out a file
    uint64_t read_ns = 0, read_took_ns = 0;
    ProcessKey code{}; // as its samples name it
    uint64_t fingerprint = 0;
    std::vector<uint64_t> backed; // CodeMaps::backed
  };
  enum class Standing {
    kWaits,
    kReady,
    kLost,
  };
  struct Outgoing {
    std::vector<char> bytes;
    Descriptor descriptor;
  };

  UnwinderClient(UnwinderOptions options, HelperProgram unwinder, HelperProgram reader)
      : options_(std::move(options)), program_(std::move(unwinder)),
        reader_(std::move(reader), options_.read_patience_ns) {}
  Status launch();
  Status await_ready();
  bool may_launch() const;
  void launch_failed();
  bool is_out_of_reach() const;
  bool is_worn() const;
  void stop();
  void died();
  void advance();
  void send_request(Request &request);
  void expect(Request request);
  Standing standing_of(Request &request, uint32_t *note);
  void ask(const ProcessKey &key, Known &process);
  void take_code();
  bool is_old(const Known &process) const;
  void look_again();
  void compare(const ProcessKey &key, const CodeMaps &maps, Known &process);
  bool introduce(const ProcessKey &key, Known &process, CodeMaps &maps);
  bool is_wanted(const ProcessKey &key) const;
  uint32_t module_of(const ProcessKey &key, CodeFile &file);
  void queue(std::vector<char> bytes, Descriptor descriptor = Descriptor());
  void flush();
  bool accept(const char *bytes, size_t size);
  bool accept_module(const char *bytes, size_t size);
  void remember_owner(uint64_t path, const ProcessKey &owner);
  bool accept_path(const char *bytes, size_t size);
  bool accept_needs_maps(const char *bytes, size_t size);
  bool accept_names(const char *bytes, size_t size);
  bool accept_debug_file(const char *bytes, size_t size);
  void finish_first();
  void answer_unreadable(const Request &request, uint32_t notes);

  UnwinderOptions options_;
  UnwinderCounters counters_;
  HelperProgram program_;
  pid_t pid_ = -1;
  std::vector<pid_t> dying_; // killed, not ended yet
  Descriptor socket_;
  bool ready_ = false;
  uint64_t progress_ns_ = 0; // when it last answered, or began to have something to do
  std::deque<uint64_t> launches_;
  size_t failed_launches_ = 0; // in a row: it could not be started, or ended of itself
  uint64_t next_launch_ns_ = 0;
  std::deque<Request> waiting_, sent_; // sent ones are answered in their order
  size_t sample_bytes_ = 0;
  std::deque<Outgoing> outgoing_;
  size_t outgoing_bytes_ = 0;
  CodeReader reader_;
  std::map<uint64_t, ProcessKey> questions_; // to the reader
  std::map<ProcessKey, Known> processes_;
  ProcessKey looked_at_{}; // unasked, the last
  uint64_t next_look_ns_ = 0;
  std::unordered_map<uint64_t, ProcessKey> owners_; // of paths: the last process that came that way
  std::deque<uint64_t> owned_;                      // the oldest first
  std::vector<ProcessKey> leaving_;                 // forgotten once no sample of them waits
  std::map<FileName, uint32_t> modules_;
  uint32_t next_process_ = 1;
  std::optional<NamedPath> assembly_; // comes in several messages
  UnwinderAnswers answers_;           // until the next poll
};

} // namespace socktrace
