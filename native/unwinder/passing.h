// Descriptors that go from one process to another along with a packet.
#pragma once

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace socktrace {

constexpr size_t kMaxPassed = 32; // with one packet

union PassingSpace {
  cmsghdr header;
  char space[CMSG_SPACE(kMaxPassed * sizeof(int))];
};

inline ssize_t send_packet(int socket, const void *bytes, size_t size, const int *descriptors, size_t count,
                           int flags) {
  PassingSpace control = {};
  iovec piece = {const_cast<void *>(bytes), size};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(part), descriptors, count * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

// `descriptors` has room for kMaxPassed; all that came are the caller's, also when the packet was too long (-1, EMSGSIZE).
inline ssize_t receive_packet(int socket, void *bytes, size_t size, int *descriptors, size_t *count,
                              int flags) {
  PassingSpace control;
  iovec piece = {bytes, size};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  *count = 0;
  if (got < 0)
    return got;
  cmsghdr *part = CMSG_FIRSTHDR(&message);
  if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
    *count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(descriptors, CMSG_DATA(part), *count * sizeof(int));
  }
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
    errno = EMSGSIZE;
    return -1;
  }
  return got;
}

// A socket that has the descriptor as its only packet. Whoever hands it on never holds the file itself: to close a file
// asks its file system, too, which might not answer. -1: it could not be made. The descriptor stays the caller's.
inline int make_envelope(int descriptor) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
    return -1;
  char letter = 0;
  bool sent = send_packet(pair[0], &letter, sizeof(letter), &descriptor, 1, MSG_DONTWAIT) == sizeof(letter);
  close(pair[0]);
  if (sent)
    return pair[1];
  close(pair[1]);
  return -1;
}

// What it holds, -1 when it holds nothing. The envelope is closed.
inline int open_envelope(int envelope) {
  char letter;
  int descriptors[kMaxPassed];
  size_t count = 0;
  (void)receive_packet(envelope, &letter, sizeof(letter), descriptors, &count, MSG_DONTWAIT);
  close(envelope);
  while (count > 1)
    close(descriptors[--count]);
  return count == 1 ? descriptors[0] : -1;
}

} // namespace socktrace
