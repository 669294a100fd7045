// Fingerprints that are the same in every run: FNV-1a with a final mix.
#pragma once

#include <cstdint>
#include <string_view>

namespace socktrace::unwinder {

class Hash {
public:
  void add(std::string_view bytes) {
    for (char byte : bytes)
      state_ = (state_ ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
    add(bytes.size());
  }
  void add(uint64_t value) {
    for (int i = 0; i < 8; i++)
      state_ = (state_ ^ ((value >> (8 * i)) & 0xff)) * 0x100000001b3;
  }
  uint64_t value() const {
    uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 33)) * 0xff51afd7ed558ccd;
    mixed = (mixed ^ (mixed >> 33)) * 0xc4ceb9fe1a85ec53;
    return mixed ^ (mixed >> 33);
  }

private:
  uint64_t state_ = 0xcbf29ce484222325;
};

} // namespace socktrace::unwinder
