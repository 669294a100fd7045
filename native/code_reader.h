// Reads what processes have mapped, on threads of its own: a file system that the traced side answers for may keep whoever
// asks it waiting without an end. The event loop asks, and takes what is there.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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
  // One process may take as long; its thread is left to itself then, and ends when the kernel lets it.
  explicit CodeReader(uint64_t patience_ns);
  // Waits a moment for threads that work, not for those that were given up.
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
  struct Shared;
  static void *work(void *pointer);
  void start_threads();

  std::shared_ptr<Shared> shared_;
};

} // namespace socktrace
