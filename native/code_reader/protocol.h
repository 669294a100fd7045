// What the tracer asks the code reader, and what it answers: packets of a SOCK_SEQPACKET pair, native layout. A packet to
// the reader is one question; one from it holds parts of the answer to the oldest question that has none, until kEnd.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "process_maps.h"
#include "unwinder/hash.h"

namespace socktrace {

constexpr size_t kMaxReaderPacket = 64 << 10;

struct QuestionMessage {
  uint64_t number;
  uint64_t start_ns;
  uint32_t tgid, execs;
  uint32_t generation; // another one than before: nothing is known any more
  uint32_t known;
  // known times uint64_t follows: hash_of() of files that need not be opened from now on
};

// Whoever makes two names of one hash has one file opened again.
inline uint64_t hash_of(const FileName &file) {
  const FileIdentity &identity = file.identity;
  unwinder::Hash hash;
  for (uint64_t number :
       {identity.device, identity.inode, identity.size, static_cast<uint64_t>(identity.modified_ns),
        static_cast<uint64_t>(identity.changed_ns)})
    hash.add(number);
  hash.add(file.path);
  return hash.value();
}

enum class PartKind : uint32_t {
  kFile = 1,
  kMappings, // in rising order
  kBacked,   // in rising order
  kEnd,
};

struct PartHeader {
  PartKind kind;
  uint32_t bytes; // all of the part
};

struct FilePart {
  PartHeader header;
  FileIdentity identity;
  uint32_t here, refused;
  uint32_t passed; // whether the next descriptor of the packet is its envelope
  uint32_t path_bytes;
  // the path follows
};

struct ReadMapping {
  uint64_t start, end, file_offset;
  uint32_t file, anonymous;
};

struct EndPart {
  PartHeader header;
  uint64_t number; // of the question
  uint64_t fingerprint;
  uint64_t took_ns;
  int32_t error; // 0: what the parts said is all
  uint32_t flags, notes;
  uint32_t perf_map; // whether the next descriptor of the packet is its envelope
};

} // namespace socktrace
