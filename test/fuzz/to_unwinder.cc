// What a tracer says to the unwinder: messages, each behind a byte of flags and its length (16 bits).
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "protocol.h"
#include "server.h"
#include "targets.h"

namespace socktrace::fuzz {

namespace {

enum Flag : uint8_t {
  kRightLength = 1,    // the header says how long the message is, whatever it said
  kWithDescriptor = 2, // of an ELF file: the kernel's own
};

size_t vdso_bytes(const char *start) {
  Elf64_Ehdr header;
  memcpy(&header, start, sizeof(header));
  return header.e_shoff + size_t{header.e_shnum} * header.e_shentsize;
}

Descriptor an_elf_file() {
  const auto *start = reinterpret_cast<const char *>(getauxval(AT_SYSINFO_EHDR));
  return start ? file_of(start, vdso_bytes(start)) : file_of("", 0);
}

void say(int socket, std::vector<uint8_t> bytes, uint8_t flags) {
  if ((flags & kRightLength) && bytes.size() >= sizeof(MessageHeader)) {
    auto length = static_cast<uint32_t>(bytes.size());
    memcpy(bytes.data() + offsetof(MessageHeader, bytes), &length, sizeof(length));
  }
  iovec piece = {bytes.data(), bytes.size()};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  union {
    cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {};
  Descriptor file;
  if (flags & kWithDescriptor) {
    file = an_elf_file();
    int descriptor = file.get();
    message.msg_control = &control;
    message.msg_controllen = sizeof(control);
    cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(part), &descriptor, sizeof(int));
  }
  sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

} // namespace

void to_unwinder(const uint8_t *bytes, size_t size) {
  int pair[2];
  // Full is an error here: nobody would read.
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
    abort();
  Descriptor tracer(pair[0]), made(pair[1]);
  for (size_t at = 0; at + 3 <= size;) {
    uint8_t flags = bytes[at];
    auto length = number_at<uint16_t>(bytes, size, at + 1);
    const uint8_t *start = bytes + at + 3, *end = bytes + std::min<size_t>(size, at + 3 + length);
    // An empty packet would read as the tracer's end.
    if (start < end)
      say(tracer.get(), {start, end}, flags);
    at += 3 + size_t{length};
  }
  shutdown(tracer.get(), SHUT_WR);
  int kept = fcntl(kUnwinderSocket, F_DUPFD_CLOEXEC, kUnwinderSocket + 1);
  if (dup2(made.get(), kUnwinderSocket) < 0)
    abort();
  unwinder::serve();
  if (made.get() == kUnwinderSocket)
    made.release();
  close(kUnwinderSocket);
  if (kept >= 0 && dup2(kept, kUnwinderSocket) >= 0)
    close(kept);
}

} // namespace socktrace::fuzz
