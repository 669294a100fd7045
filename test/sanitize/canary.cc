// A leak on purpose, in the addon of the sanitized build: a report of leaks without it says that nothing was looked for.
#include <stdlib.h>

namespace {

constexpr size_t kBytes = 4242;

void *volatile lost;

__attribute__((constructor, noinline)) void leaked_on_purpose() {
  lost = malloc(kBytes);
  lost = nullptr;
}

} // namespace
