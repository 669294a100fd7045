// Gives a target each of these files, once: `fuzz-replay TARGET FILES...`. Without libFuzzer, so that every build can.
#include <stdio.h>

#include <string>
#include <vector>

#include "targets.h"

namespace {

bool read_file(const char *path, std::vector<uint8_t> *bytes) {
  FILE *file = fopen(path, "rb");
  if (!file)
    return false;
  uint8_t buffer[4096];
  while (size_t got = fread(buffer, 1, sizeof(buffer), file))
    bytes->insert(bytes->end(), buffer, buffer + got);
  bool whole = feof(file) != 0;
  fclose(file);
  return whole;
}

} // namespace

int main(int count, char **arguments) {
  socktrace::fuzz::Target target = count > 2 ? socktrace::fuzz::target_of(arguments[1]) : nullptr;
  if (!target) {
    fprintf(stderr, "usage: fuzz-replay TARGET FILES...\n");
    return 2;
  }
  for (int i = 2; i < count; i++) {
    std::vector<uint8_t> bytes;
    if (!read_file(arguments[i], &bytes)) {
      fprintf(stderr, "fuzz-replay: cannot read %s\n", arguments[i]);
      return 2;
    }
    // The last line tells which one it was.
    printf("%s\n", arguments[i]);
    fflush(stdout);
    target(bytes.data(), bytes.size());
  }
  return 0;
}
