#include "server.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../clock.h"
#include "elf_module.h"
#include "names.h"
#include "passing.h"
#include "process.h"
#include "protocol.h"
#include "unwind.h"

namespace socktrace::unwinder {

namespace {

struct Packet {
  std::vector<char> bytes;
  int descriptor = -1;

  // -1: it came without an envelope.
  int take_content() {
    int envelope = std::exchange(descriptor, -1);
    return envelope < 0 ? -1 : open_envelope(envelope);
  }
};

// A perf map may be written later (jcmd), and again: as often it is worth a look.
constexpr uint64_t kPerfMapAge = 5'000'000'000;

class Server {
public:
  // Until the tracer has gone (0), or has said what it never says (1).
  int run();

private:
  bool receive(Packet *packet, bool *ended);
  bool handle(Packet &packet);
  bool take_module(Packet &packet);
  bool take_process(Packet &packet);
  bool take_mappings(const Packet &packet);
  bool take_forget(const Packet &packet);
  bool take_sample(const Packet &packet);
  bool take_names(const Packet &packet);
  bool take_debug_file(Packet &packet);
  bool send(const void *bytes, size_t size);
  bool send_path(uint64_t ref, const Unwound &unwound, uint64_t path);

  std::map<uint32_t, std::shared_ptr<ElfModule>> modules_;
  std::map<std::string, std::shared_ptr<ElfModule>> debug_files_; // by build-id
  std::map<uint32_t, std::unique_ptr<Process>> processes_;
  Paths paths_;
};

template<typename T>
bool read_message(const Packet &packet, T *message) {
  if (packet.bytes.size() < sizeof(T))
    return false;
  memcpy(message, packet.bytes.data(), sizeof(T));
  return true;
}

bool Server::receive(Packet *packet, bool *ended) {
  packet->bytes.resize(kMaxMessageBytes);
  packet->descriptor = -1;
  int descriptors[kMaxPassed];
  size_t passed;
  ssize_t got =
      receive_packet(kUnwinderSocket, packet->bytes.data(), packet->bytes.size(), descriptors, &passed, 0);
  *ended = got == 0;
  if (passed > 0)
    packet->descriptor = descriptors[0];
  if (got <= 0 || passed > 1)
    return false;
  packet->bytes.resize(static_cast<size_t>(got));
  return true;
}

bool Server::send(const void *bytes, size_t size) {
  ssize_t sent;
  do {
    sent = sendto(kUnwinderSocket, bytes, size, MSG_NOSIGNAL, nullptr, 0);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(size);
}

bool Server::take_module(Packet &packet) {
  ModuleMessage message;
  if (!read_message(packet, &message) || packet.bytes.size() != sizeof(message) + message.name_bytes ||
      message.name_bytes > kMaxModuleName || modules_.size() >= kMaxModules)
    return false;
  std::string name(packet.bytes.data() + sizeof(message), message.name_bytes);
  std::shared_ptr<ElfModule> module =
      ElfModule::open(packet.take_content(), std::move(name), message.here != 0);
  auto debug_file = debug_files_.find(module->build_id());
  if (debug_file != debug_files_.end())
    module->use_debug_file(debug_file->second);
  modules_[message.module] = std::move(module);
  ModuleTakenMessage taken = {{MessageType::kModuleTaken, sizeof(taken)}, message.module, 0};
  return send(&taken, sizeof(taken));
}

bool Server::take_process(Packet &packet) {
  ProcessMessage message;
  if (!read_message(packet, &message) || packet.bytes.size() != sizeof(message))
    return false;
  if (processes_.count(message.process) == 0 && processes_.size() >= kMaxProcesses)
    return false;
  processes_[message.process] =
      std::make_unique<Process>(message.flags, message.notes, packet.take_content(), now_ns());
  return true;
}

bool Server::take_mappings(const Packet &packet) {
  MappingsMessage message;
  if (!read_message(packet, &message) || message.count > kMappingsAMessage ||
      packet.bytes.size() != sizeof(message) + message.count * sizeof(Mapping))
    return false;
  auto at = processes_.find(message.process);
  if (at == processes_.end())
    return false;
  for (uint32_t i = 0; i < message.count; i++) {
    Mapping mapping;
    memcpy(&mapping, packet.bytes.data() + sizeof(message) + i * sizeof(mapping), sizeof(mapping));
    auto module = modules_.find(mapping.module);
    if (!at->second->add({mapping.start, mapping.end, mapping.file_offset,
                          module == modules_.end() ? nullptr : module->second, mapping.anonymous != 0}))
      return false;
  }
  if (message.last)
    at->second->finish();
  return true;
}

bool Server::take_forget(const Packet &packet) {
  ForgetMessage message;
  if (!read_message(packet, &message) || packet.bytes.size() != sizeof(message))
    return false;
  processes_.erase(message.process);
  return true;
}

bool Server::send_path(uint64_t ref, const Unwound &unwound, uint64_t path) {
  PathMessage message = {};
  uint32_t count = static_cast<uint32_t>(unwound.frames.size());
  size_t size = sizeof(message) + count * sizeof(PathFrame);
  message.header = {MessageType::kPath, static_cast<uint32_t>(size)};
  message.ref = ref;
  message.path = path;
  message.quality = unwound.quality;
  message.notes = unwound.notes;
  message.count = count;
  std::vector<char> bytes(size);
  memcpy(bytes.data(), &message, sizeof(message));
  for (uint32_t i = 0; i < count; i++) {
    const UnwoundFrame &frame = unwound.frames[i];
    PathFrame sent = {frame.pc, frame.return_offset, frame.how, frame.flags, {}};
    memcpy(bytes.data() + sizeof(message) + i * sizeof(sent), &sent, sizeof(sent));
  }
  return send(bytes.data(), size);
}

bool Server::take_sample(const Packet &packet) {
  SampleMessage message;
  stack_sample head;
  if (packet.bytes.size() < sizeof(message) + sizeof(head) || !read_message(packet, &message))
    return false;
  // Copied: the records want their alignment.
  size_t size = packet.bytes.size() - sizeof(message);
  std::vector<uint64_t> aligned((size + 7) / 8);
  memcpy(aligned.data(), packet.bytes.data() + sizeof(message), size);
  const auto *sample = reinterpret_cast<const stack_sample *>(aligned.data());
  if (sample->chunks > STACK_CHUNKS_DEEP ||
      size != sizeof(*sample) + size_t{sample->chunks} * STACK_CHUNK_BYTES)
    return false;
  auto at = processes_.find(message.process);
  if (at == processes_.end() || !at->second->complete())
    return send_path(sample->ref, {{}, PathQuality::kUnreadable, kNoteExited, false, false}, 0);
  at->second->perf_map().expect_news();
  Unwound unwound = unwind(sample, *at->second);
  bool is_old = unwound.met_unnamed && now_ns() - at->second->told_ns() > kPerfMapAge;
  if ((unwound.met_unmapped || is_old) && !message.final) {
    NeedsMapsMessage wanted = {{MessageType::kNeedsMaps, sizeof(wanted)}, sample->ref};
    return send(&wanted, sizeof(wanted));
  }
  uint64_t path = unwound.frames.empty() ? 0 : path_fingerprint(unwound.frames);
  if (path)
    paths_.add(path, unwound);
  return send_path(sample->ref, unwound, path);
}

class NamesWriter {
public:
  explicit NamesWriter(NamedPathMessage head) : head_(head) {
    clear();
  }
  bool fits(const NamedFrame &frame) const {
    return bytes_.size() + sizeof(frame) + frame.function_bytes + frame.module_bytes + frame.file_bytes +
               frame.build_id_bytes <=
           kMaxMessageBytes;
  }
  void add(const NamedFrame &frame, std::initializer_list<std::string_view> texts) {
    append(&frame, sizeof(frame));
    for (std::string_view text : texts)
      append(text.data(), text.size());
    head_.count++;
  }
  const std::vector<char> &finish(bool last) {
    head_.last = last;
    head_.header = {MessageType::kNamedPath, static_cast<uint32_t>(bytes_.size())};
    memcpy(bytes_.data(), &head_, sizeof(head_));
    return bytes_;
  }
  void clear() {
    head_.count = 0;
    bytes_.assign(sizeof(head_), 0);
  }

private:
  void append(const void *from, size_t size) {
    const auto *start = static_cast<const char *>(from);
    bytes_.insert(bytes_.end(), start, start + size);
  }
  NamedPathMessage head_;
  std::vector<char> bytes_;
};

bool Server::take_names(const Packet &packet) {
  NamesMessage message;
  if (!read_message(packet, &message) || packet.bytes.size() != sizeof(message))
    return false;
  NamedPathMessage head = {};
  head.path = message.path;
  const StoredPath *path = paths_.find(message.path);
  head.quality = path ? path->quality : PathQuality::kUnreadable;
  head.notes = path ? path->notes : kNoteForgotten;
  NamesWriter writer(head);
  for (const Name &name : path ? paths_.names_of(*path) : std::vector<Name>()) {
    std::string module = name.module ? bounded(name.module->name(), kMaxFileName) : std::string();
    std::string_view build_id = name.module ? std::string_view(name.module->build_id()) : std::string_view();
    NamedFrame frame = {};
    frame.offset = name.offset;
    frame.line = name.line;
    frame.how = name.how;
    frame.build_id_bytes = static_cast<uint8_t>(build_id.size());
    frame.function_bytes = static_cast<uint16_t>(name.function.size());
    frame.module_bytes = static_cast<uint16_t>(module.size());
    frame.file_bytes = static_cast<uint16_t>(name.file.size());
    if (!writer.fits(frame)) {
      const std::vector<char> &bytes = writer.finish(false);
      if (!send(bytes.data(), bytes.size()))
        return false;
      writer.clear();
    }
    writer.add(frame, {name.function, module, name.file, build_id});
  }
  const std::vector<char> &bytes = writer.finish(true);
  return send(bytes.data(), bytes.size());
}

bool Server::take_debug_file(Packet &packet) {
  DebugFileMessage message;
  if (!read_message(packet, &message) || message.build_id_bytes == 0 ||
      message.build_id_bytes > kMaxBuildIdBytes ||
      packet.bytes.size() != sizeof(message) + message.build_id_bytes || packet.descriptor < 0 ||
      debug_files_.size() >= kMaxDebugFiles)
    return false;
  std::string build_id(packet.bytes.data() + sizeof(message), message.build_id_bytes);
  std::shared_ptr<ElfModule> file =
      ElfModule::open(std::exchange(packet.descriptor, -1), "debug file", false);
  // Whoever gave it may be wrong, or lie: lines of another build would be believed.
  Dwarf_Addr bias;
  bool is_right = file->is_elf() && file->build_id() == build_id &&
                  dwfl_module_getdwarf(file->dwfl_module(), &bias) != nullptr;
  if (is_right) {
    debug_files_[build_id] = file;
    for (auto &[id, module] : modules_) {
      if (module->build_id() != build_id)
        continue;
      module->use_debug_file(file);
      paths_.renew(module.get());
    }
  }
  DebugFileReadMessage answer = {{MessageType::kDebugFileRead, sizeof(answer)}, is_right, 0};
  return send(&answer, sizeof(answer));
}

bool Server::handle(Packet &packet) {
  MessageHeader header;
  if (!read_message(packet, &header) || header.bytes != packet.bytes.size())
    return false;
  switch (header.type) {
  case MessageType::kModule:
    return take_module(packet);
  case MessageType::kProcess:
    return take_process(packet);
  case MessageType::kMappings:
    return take_mappings(packet);
  case MessageType::kForget:
    return take_forget(packet);
  case MessageType::kSample:
    return take_sample(packet);
  case MessageType::kNames:
    return take_names(packet);
  case MessageType::kDebugFile:
    return take_debug_file(packet);
  default:
    return false;
  }
}

int Server::run() {
  ReadyMessage ready = {{MessageType::kReady, sizeof(ready)}, kProtocolVersion, 0};
  if (!send(&ready, sizeof(ready)))
    return 1;
  for (Packet packet;;) {
    bool ended;
    if (!receive(&packet, &ended))
      return ended ? 0 : 1;
    bool understood = handle(packet);
    if (packet.descriptor >= 0)
      close(packet.descriptor);
    if (!understood)
      return 1;
  }
}

} // namespace

int serve() {
  return Server().run();
}

} // namespace socktrace::unwinder
