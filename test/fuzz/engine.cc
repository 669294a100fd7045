// libFuzzer's two entries. Which target: $SOCKTRACE_FUZZ_TARGET, for its arguments are libFuzzer's own.
#include <stdio.h>
#include <stdlib.h>

#include "targets.h"

namespace {

socktrace::fuzz::Target chosen;

} // namespace

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
  const char *name = getenv("SOCKTRACE_FUZZ_TARGET");
  chosen = socktrace::fuzz::target_of(name ? name : "");
  if (!chosen) {
    fprintf(stderr, "fuzz: no such target: %s\n", name ? name : "(none)");
    exit(2);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  chosen(bytes, size);
  return 0;
}
