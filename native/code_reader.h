// Reads what processes have mapped, in processes of its own: a file system that the traced side answers for may keep whoever
// asks it waiting without an end, beyond any signal. The event loop asks, and takes what is there.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "helper_process.h"
#include "process_maps.h"
#include "result.h"

namespace socktrace {

struct ReadCode {
  uint64_t number; // of the question
  uint64_t took_ns;
  Result<CodeMaps> maps; // ETIMEDOUT: it was given up
};

class CodeReader {
public:
  // One process may take as long; its reader is killed then, and ends when the kernel lets it.
  CodeReader(HelperProgram program, uint64_t patience_ns);
  // Kills the readers, and waits a moment for those that were not given up.
  ~CodeReader();
  CodeReader(const CodeReader &) = delete;
  CodeReader &operator=(const CodeReader &) = delete;

  // Never blocks, as all that follow. The number is not 0.
  uint64_t ask(const ProcessKey &key);
  // What has been read since; the rest stays for a later call once it is more than a fair amount.
  std::vector<ReadCode> take();
  // The files that need not be opened again.
  void knows(const FileName &file);
  void knows_nothing();

private:
  struct Question {
    uint64_t number;
    ProcessKey key;
  };
  struct Asked {
    Question question;
    bool elsewhere; // another reader was asked since
  };
  struct Reader {
    HelperProcess process;
    std::deque<Asked> asked; // answered in their order
    uint64_t progress_ns = 0;
    uint32_t generation = 0; // of what it was told to be known
    size_t told = 0;
    CodeMaps maps;      // as far as they have come
    size_t packets = 0; // of this answer

    bool is_free() const {
      return asked.empty();
    }
  };
  enum class Drained {
    kEmpty,
    kFull, // the fair amount is reached
    kLied, // or has ended
  };

  bool launch();
  bool may_launch() const;
  void distribute();
  bool send(Reader &reader, const Question &question);
  Drained drain(Reader &reader, std::vector<ReadCode> *taken, size_t *mappings);
  bool accept(Reader &reader, const char *bytes, size_t size, std::vector<Descriptor> &envelopes,
              std::vector<ReadCode> *taken, size_t *mappings);
  bool finish(Reader &reader, const char *bytes, size_t size, Descriptor perf_map,
              std::vector<ReadCode> *taken, size_t *mappings);
  void lose(Reader &reader, int error, std::vector<pid_t> *ending, std::vector<ReadCode> *taken);

  HelperProgram program_;
  const uint64_t patience_ns_;
  std::deque<Question> waiting_;
  std::vector<Reader> readers_;
  std::vector<pid_t> stuck_, ended_; // killed, not gone yet
  std::deque<uint64_t> launches_;
  std::vector<uint64_t> known_; // hash_of() of files
  uint32_t generation_ = 1;
  uint64_t next_number_ = 1;
};

} // namespace socktrace
