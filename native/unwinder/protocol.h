// What the tracer and the unwinder say to each other: one message a packet of a SOCK_SEQPACKET pair, native layout, since
// both are built together and live on one machine. Neither side trusts the other: the unwinder may have been taken
// over by a hostile ELF file, and what the tracer hands on was written by the traced side. Each message begins with
// MessageHeader and is exactly as long as its type and counts say.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "callpath_records.h"

namespace socktrace {

constexpr uint32_t kProtocolVersion = 2;
constexpr int kUnwinderSocket = 3; // the unwinder's only descriptor besides 0 to 2

constexpr size_t kMaxMessageBytes = 64 << 10;
constexpr size_t kMaxPathFrames = 128;
constexpr size_t kMaxNamedFrames = 512; // inlined functions are frames of their own
constexpr size_t kMaxModules = 2048;    // of one life of the unwinder: then it is replaced by a fresh one
constexpr size_t kMaxProcesses = 4096;
constexpr size_t kMaxPaths = 1 << 16;
constexpr size_t kMaxMappings = 1 << 16; // of one process; executable ones
constexpr size_t kMappingsAMessage = 1024;
constexpr size_t kMaxModuleName = 4096;
constexpr size_t kMaxFunctionName = 512;
constexpr size_t kMaxFileName = 512;
constexpr size_t kMaxBuildIdBytes = 32;
constexpr size_t kMaxDebugFiles = 256; // of one life of the unwinder
constexpr size_t kMaxSampleBytes = sizeof(stack_sample) + size_t{STACK_CHUNKS_DEEP} * STACK_CHUNK_BYTES;

enum class MessageType : uint32_t {
  // tracer -> unwinder
  kModule = 1, // an ELF file, with its envelope (passing.h); answered by kModuleTaken
  kProcess,    // begins (or replaces) a process; may bring the envelope of a perf map
  kMappings,   // more of its mappings, in rising order; the last one has kLastMappings
  kForget,     // this process has gone
  kSample,     // answered by kPath or kNeedsMaps
  kNames,      // answered by kNamedPath
  kDebugFile,  // debugging information from elsewhere, with its descriptor; answered by kDebugFileRead
  // unwinder -> tracer
  kReady = 64, // it has given up its privileges
  kPath,
  kNeedsMaps, // code was met that no mapping covers: read them again, then offer the sample again
  kNamedPath,
  kDebugFileRead,
  kRefused,     // it may not give up its privileges, and ends
  kModuleTaken, // it has read the file, as far as it reads it at once
};

enum class PathQuality : uint32_t {
  kComplete = 1, // down to the thread's first frame
  kTruncated,    // the copied bytes or the permitted number of frames ended before
  kUnreliable,   // a step went through code that is not known to keep frame pointers
  kUnreadable,   // no frame but the leaf, or not even that
};

enum class FrameHow : uint8_t {
  kLeaf = 1, // the registers themselves
  kCfi,
  kFramePointer,
  kGuess,
  kInlined, // in named paths only: the function it was inlined into is the next frame
};

enum FrameFlag : uint8_t {
  kFrameJit = 1,         // code that no file backs
  kFrameInterpreter = 2, // different functions of the program share this frame's address
};

// Why a path is less than it could be, and what would help. path_note_text() has the words.
enum PathNote : uint32_t {
  kNoteExited = 1 << 0,
  kNoteCompat = 1 << 1,
  kNoteUnwinderDied = 1 << 2,
  kNoteFileRefused = 1 << 3,
  kNotePerfMapRefused = 1 << 4,
  kNotePython = 1 << 5,
  kNoteNode = 1 << 6,
  kNoteJavaNames = 1 << 7,
  kNoteJavaFramePointers = 1 << 8,
  kNoteUnnamedJit = 1 << 9,
  kNoteUnreadStack = 1 << 10,
  kNoteForgotten = 1 << 11,
  kNoteTooManyMappings = 1 << 12,
  kNoteOtherStack = 1 << 13,
  kNoteRefused = 1 << 14,
  kNoteLate = 1 << 15,
  kNoteExeced = 1 << 16,
  kNoteNoUnwinder = 1 << 17,
  kNoteLast = kNoteNoUnwinder,
};

struct MessageHeader {
  MessageType type;
  uint32_t bytes; // all of the message
};

struct ModuleMessage {
  MessageHeader header;
  uint32_t module;
  uint32_t name_bytes;
  uint32_t here; // the name leads to the file in the unwinder's view, too
  uint32_t reserved;
  // the name follows: the path in the process's own view
};

struct ModuleTakenMessage {
  MessageHeader header;
  uint32_t module;
  uint32_t reserved;
};

enum ProcessFlag : uint32_t {
  kKeepsFramePointers = 1, // the JVM was told -XX:+PreserveFramePointer
  kHasPerfMap = 2,         // its envelope comes along
};

struct ProcessMessage {
  MessageHeader header;
  uint32_t process;
  uint32_t flags;
  uint32_t notes; // what could not be read of it
  uint32_t reserved;
};

constexpr uint32_t kNoModule = 0; // anonymous memory, or a file that could not be opened

struct Mapping {
  uint64_t start, end;
  uint64_t file_offset;
  uint32_t module;
  uint32_t anonymous;
};

struct MappingsMessage {
  MessageHeader header;
  uint32_t process;
  uint32_t count;
  uint32_t last;
  uint32_t reserved;
  // count times Mapping follows
};

struct ForgetMessage {
  MessageHeader header;
  uint32_t process;
  uint32_t reserved;
};

struct SampleMessage {
  MessageHeader header;
  uint32_t process;
  uint32_t final; // the maps are as fresh as they get: answer with what there is
  // stack_sample follows
};

struct NamesMessage {
  MessageHeader header;
  uint64_t path;
};

struct DebugFileMessage {
  MessageHeader header;
  uint32_t build_id_bytes;
  uint32_t reserved;
  // the build-id follows
};

enum class ConfinementStep : uint32_t {
  kLimits = 1,
  kUser,
  kCapabilities,
  kNoNewPrivileges,
  kFilter,
};

struct RefusedMessage {
  MessageHeader header;
  ConfinementStep step;
  int32_t error;
};

struct ReadyMessage {
  MessageHeader header;
  uint32_t version;
  uint32_t reserved;
};

struct PathFrame {
  uint64_t pc;
  // From the sample's stack pointer to the copied word that holds this very pc; -1: no such word.
  int64_t return_offset;
  FrameHow how;
  uint8_t flags;
  uint8_t reserved[6];
};

struct PathMessage {
  MessageHeader header;
  uint64_t ref;
  uint64_t path;
  PathQuality quality;
  uint32_t notes;
  uint32_t count;
  uint32_t reserved;
  // count times PathFrame follows
};

struct NeedsMapsMessage {
  MessageHeader header;
  uint64_t ref;
};

struct NamedFrame {
  uint64_t offset; // the module's own address, as nm and addr2line know it
  uint32_t line;   // 0: not known
  FrameHow how;
  uint8_t build_id_bytes;
  uint16_t function_bytes;
  uint16_t module_bytes;
  uint16_t file_bytes;
  uint32_t reserved;
  // function, module, file, build-id follow, without terminators
};

struct NamedPathMessage {
  MessageHeader header;
  uint64_t path;
  PathQuality quality;
  uint32_t notes;
  uint32_t count; // of this message
  uint32_t last;  // no more messages of this path
  // count times NamedFrame, each with its strings, follows
};

struct DebugFileReadMessage {
  MessageHeader header;
  uint32_t is_right; // an ELF file of that very build-id, with DWARF
  uint32_t reserved;
};

} // namespace socktrace
