// What reads bytes that somebody hostile wrote, each as a function of such bytes: libFuzzer drives them (engine.cc), and
// every build replays the corpus (replay.cc).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "descriptor.h"

namespace socktrace::fuzz {

using Target = void (*)(const uint8_t *bytes, size_t size);

void elf(const uint8_t *bytes, size_t size);
void lines(const uint8_t *bytes, size_t size);
void go_table(const uint8_t *bytes, size_t size);
void perf_map(const uint8_t *bytes, size_t size);
void maps(const uint8_t *bytes, size_t size);
void to_unwinder(const uint8_t *bytes, size_t size);
void to_client(const uint8_t *bytes, size_t size);
void from_helpers(const uint8_t *bytes, size_t size);

// Null: there is none of that name.
Target target_of(std::string_view name);

// A file of these bytes, in memory. Ends the program when it cannot be had.
Descriptor file_of(const void *bytes, size_t size);

// A number at an offset, 0 beyond the end.
template<typename T>
T number_at(const uint8_t *bytes, size_t size, size_t offset) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T) && offset + i < size; i++)
    value = static_cast<T>(value | static_cast<T>(bytes[offset + i]) << (8 * i));
  return value;
}

} // namespace socktrace::fuzz
