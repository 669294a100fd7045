// puppet: a program that does with sockets exactly what its standard input says.
//
// One command a line on stdin, one line of JSON a command on stdout, in order. What it answers is what its own
// system calls returned: the ground truth that a tracer's report is compared with. `help` lists the commands.
//
// A line is words separated by blanks. Sockets live in groups, called by a name; nearly every command acts on all
// sockets of one group and answers
//     {"ok":true,"count":N,"errors":{"EADDRINUSE":3},"ports":[...]}
// count: sockets for which the call succeeded; errors: the others, by errno; ports: local ports (getsockname) of those
// that succeeded. A line that is not understood, or a precondition that fails, is {"ok":false,"error":"..."}.
//
// It ends at the end of stdin, and by SIGALRM after PUPPET_LIFETIME seconds (300) whatever happens.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/inet_diag.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

enum {
  MAX_WORDS = 24,
  MAX_ERRNO = 256,
  WAIT_MS = 5000,           // how long accept, recv, poll-connect and wait-state wait in all
  RIGHTS_PER_MESSAGE = 250, // the kernel's SCM_MAX_FD is 253
  RING_ENTRIES = 8,
  RING_FIXED_FILES = 16384,
};

// ---------------------------------------------------------------------------------------------- text and answers

struct text {
  char *bytes;
  size_t length, capacity;
};

struct answer {
  bool refused; // then `extra` is the reason
  bool relayed; // then `extra` is the whole line, as a child answered it
  long count;
  unsigned errors[MAX_ERRNO];
  struct text ports; // "80,81"
  struct text extra; // further members: ,"name":value
};

static void *checked(void *memory) {
  if (memory == NULL) {
    fputs("puppet: out of memory\n", stderr);
    _exit(70);
  }
  return memory;
}

__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  size_t needed = (size_t)vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (text->length + needed + 1 > text->capacity) {
    text->capacity = 2 * (text->length + needed + 64);
    text->bytes = checked(realloc(text->bytes, text->capacity));
  }
  vsnprintf(text->bytes + text->length, needed + 1, format, again);
  va_end(again);
  text->length += needed;
}

static void append_json_string(struct text *text, const char *value) {
  append(text, "\"");
  for (; *value != '\0'; value++) {
    unsigned char byte = (unsigned char)*value;
    if (byte == '"' || byte == '\\')
      append(text, "\\%c", byte);
    else if (byte < 0x20)
      append(text, "\\u%04x", byte);
    else
      append(text, "%c", byte);
  }
  append(text, "\"");
}

static const char *text_of(const struct text *text) {
  return text->bytes == NULL ? "" : text->bytes;
}

__attribute__((format(printf, 2, 3))) static void refuse(struct answer *answer, const char *format, ...) {
  char reason[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  answer->refused = true;
  answer->extra.length = 0;
  append_json_string(&answer->extra, reason);
}

static void count_error(struct answer *answer, int error) {
  answer->errors[error > 0 && error < MAX_ERRNO ? error : 0]++;
}

// Counts one system call by its result.
static bool tally(struct answer *answer, int result) {
  if (result < 0) {
    count_error(answer, errno);
    return false;
  }
  answer->count++;
  return true;
}

static void append_errors(struct text *text, const unsigned errors[MAX_ERRNO]) {
  const char *separator = "";
  for (int error = 0; error < MAX_ERRNO; error++) {
    if (errors[error] == 0)
      continue;
    const char *name = error == 0 ? "UNKNOWN" : strerrorname_np(error);
    append(text, "%s\"%s\":%u", separator, name == NULL ? "UNKNOWN" : name, errors[error]);
    separator = ",";
  }
}

static void write_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t written = write(fd, bytes, length);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      _exit(0); // nobody reads the answers any more
    bytes += written;
    length -= (size_t)written;
  }
}

static void print_answer(const struct answer *answer) {
  struct text line = {0};
  if (answer->relayed) {
    append(&line, "%s\n", text_of(&answer->extra));
  } else if (answer->refused) {
    append(&line, "{\"ok\":false,\"error\":%s}\n", text_of(&answer->extra));
  } else {
    append(&line, "{\"ok\":true,\"count\":%ld,\"errors\":{", answer->count);
    append_errors(&line, answer->errors);
    append(&line, "},\"ports\":[%s]%s}\n", text_of(&answer->ports), text_of(&answer->extra));
  }
  write_all(STDOUT_FILENO, line.bytes, line.length);
  free(line.bytes);
}

static void release_answer(struct answer *answer) {
  free(answer->ports.bytes);
  free(answer->extra.bytes);
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int left_ms(long deadline) {
  long left = deadline - now_ms();
  return left > 0 ? (int)left : 0;
}

// --------------------------------------------------------------------------------------------- groups and families

struct socket_group {
  char name[32];
  bool direct; // `fds` are then indexes of io_uring fixed files: sockets that no descriptor shows
  int *fds;
  size_t count, capacity;
};

// Pointers, so that a group stays where it is while another is made.
static struct socket_group **groups;
static size_t group_count;

static struct socket_group *find_group(const char *name) {
  for (size_t index = 0; index < group_count; index++)
    if (strcmp(groups[index]->name, name) == 0)
      return groups[index];
  return NULL;
}

static struct socket_group *group_named(struct answer *answer, const char *name) {
  struct socket_group *group = find_group(name);
  if (group == NULL)
    refuse(answer, "no group \"%s\"", name);
  return group;
}

// A group whose sockets have descriptors.
static struct socket_group *open_group(struct answer *answer, const char *name) {
  struct socket_group *group = group_named(answer, name);
  if (group != NULL && group->direct) {
    refuse(answer, "group \"%s\" has no descriptors (io_uring direct): only close and stats act on it", name);
    return NULL;
  }
  return group;
}

static struct socket_group *group_to_fill(struct answer *answer, const char *name, bool direct) {
  struct socket_group *group = find_group(name);
  if (group == NULL) {
    if (strlen(name) >= sizeof group->name ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != strlen(name)) {
      refuse(answer, "a group's name has up to 31 letters, digits, - and _");
      return NULL;
    }
    group = checked(calloc(1, sizeof *group));
    strcpy(group->name, name);
    groups = checked(realloc(groups, (group_count + 1) * sizeof(struct socket_group *)));
    groups[group_count++] = group;
  }
  if (group->count == 0)
    group->direct = direct;
  if (group->direct != direct) {
    refuse(answer, "group \"%s\" cannot mix sockets with and without descriptors", name);
    return NULL;
  }
  return group;
}

static void add_socket(struct socket_group *group, int fd) {
  if (group->count == group->capacity) {
    group->capacity = group->capacity == 0 ? 16 : 2 * group->capacity;
    group->fds = checked(realloc(group->fds, group->capacity * sizeof *group->fds));
  }
  group->fds[group->count++] = fd;
}

struct family {
  const char *name;
  int domain, type, protocol;
};

static const struct family families[] = {
    {"v4", AF_INET, SOCK_STREAM, 0},
    {"v6", AF_INET6, SOCK_STREAM, 0},
    {"mptcp4", AF_INET, SOCK_STREAM, IPPROTO_MPTCP},
    {"mptcp6", AF_INET6, SOCK_STREAM, IPPROTO_MPTCP},
    // What is not TCP and must not be taken for it:
    {"udp4", AF_INET, SOCK_DGRAM, 0},
    {"udp6", AF_INET6, SOCK_DGRAM, 0},
    {"unix", AF_UNIX, SOCK_STREAM, 0},
};

static const struct family *family_named(struct answer *answer, const char *name) {
  for (size_t index = 0; index < sizeof families / sizeof *families; index++)
    if (strcmp(families[index].name, name) == 0)
      return &families[index];
  refuse(answer, "no family \"%s\": v4, v6, mptcp4, mptcp6, udp4, udp6 or unix", name);
  return NULL;
}

static bool number(struct answer *answer, const char *word, long low, long high, long *value) {
  char *end;
  errno = 0;
  *value = strtol(word, &end, 10);
  if (errno == 0 && end != word && *end == '\0' && *value >= low && *value <= high)
    return true;
  refuse(answer, "\"%s\" is not a number from %ld to %ld", word, low, high);
  return false;
}

static bool one_of(struct answer *answer, const char *word, const char *const *choices, int *chosen) {
  for (int index = 0; choices[index] != NULL; index++) {
    if (strcmp(choices[index], word) == 0) {
      *chosen = index;
      return true;
    }
  }
  refuse(answer, "unknown word \"%s\"", word);
  return false;
}

// ------------------------------------------------------------------------------------------------------- addresses

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_storage storage;
};

static socklen_t address_length(const union address *address) {
  return address->any.sa_family == AF_INET6 ? sizeof address->v6 : sizeof address->v4;
}

static void set_port(union address *address, int port) {
  if (address->any.sa_family == AF_INET6)
    address->v6.sin6_port = htons((uint16_t)port);
  else
    address->v4.sin_port = htons((uint16_t)port);
}

static int port_of(const union address *address) {
  if (address->any.sa_family == AF_INET6)
    return ntohs(address->v6.sin6_port);
  if (address->any.sa_family == AF_INET)
    return ntohs(address->v4.sin_port);
  return 0;
}

// What getsockname says. Mind that it goes on naming a port which the kernel has already released.
static int local_port(int fd) {
  union address address = {0};
  socklen_t length = sizeof address;
  return getsockname(fd, &address.any, &length) == 0 ? port_of(&address) : 0;
}

static void add_port(struct answer *answer, int fd) {
  append(&answer->ports, "%s%d", answer->ports.length == 0 ? "" : ",", local_port(fd));
}

static union address loopback(int domain) {
  union address address = {0};
  address.any.sa_family = (sa_family_t)domain;
  if (domain == AF_INET6)
    address.v6.sin6_addr = in6addr_loopback;
  else
    address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static bool parse_address(struct answer *answer, const char *word, union address *address) {
  *address = (union address){0};
  if (inet_pton(AF_INET, word, &address->v4.sin_addr) == 1) {
    address->any.sa_family = AF_INET;
    return true;
  }
  if (inet_pton(AF_INET6, word, &address->v6.sin6_addr) == 1) {
    address->any.sa_family = AF_INET6;
    return true;
  }
  refuse(answer, "\"%s\" is not an address", word);
  return false;
}

static int domain_of(int fd) {
  int domain = AF_UNSPEC;
  socklen_t length = sizeof domain;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
  return domain;
}

// ADDR is a literal address, or "lo" for the loopback address of the socket's own family.
static union address address_for(int fd, bool own_loopback, const union address *given) {
  return own_loopback ? loopback(domain_of(fd)) : *given;
}

// PORT is a number, or @GROUP for the local port of that group's first socket.
static bool parse_port(struct answer *answer, const char *word, long *port) {
  if (word[0] != '@')
    return number(answer, word, 0, 65535, port);
  struct socket_group *group = open_group(answer, word + 1);
  if (group == NULL)
    return false;
  if (group->count == 0) {
    refuse(answer, "group \"%s\" is empty", word + 1);
    return false;
  }
  *port = local_port(group->fds[0]);
  return true;
}

static const char *const state_names[] = {"NONE",      "ESTABLISHED", "SYN_SENT", "SYN_RECV",   "FIN_WAIT1",
                                          "FIN_WAIT2", "TIME_WAIT",   "CLOSE",    "CLOSE_WAIT", "LAST_ACK",
                                          "LISTEN",    "CLOSING",     NULL};
enum {
  STATE_COUNT = sizeof state_names / sizeof *state_names - 1
};

static int tcp_state(int fd) {
  struct tcp_info info = {0};
  socklen_t length = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || info.tcpi_state >= STATE_COUNT)
    return 0;
  return info.tcpi_state;
}

// ------------------------------------------------------------------------------------------ commands on the sockets

static void do_open(struct answer *answer, int argc, char **argv) {
  (void)argc;
  long count;
  const struct family *family = family_named(answer, argv[2]);
  if (family == NULL || !number(answer, argv[3], 0, 1000000, &count))
    return;
  struct socket_group *group = group_to_fill(answer, argv[1], false);
  if (group == NULL)
    return;
  for (long index = 0; index < count; index++) {
    int fd = socket(family->domain, family->type, family->protocol);
    if (tally(answer, fd))
      add_socket(group, fd);
  }
}

static void do_bind(struct answer *answer, int argc, char **argv) {
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  long port = 0, step = 0;
  char *word = argv[2];
  size_t length = strlen(word);
  if (strcmp(word, "zero") != 0) {
    if (length > 1 && word[length - 1] == '+') {
      word[length - 1] = '\0';
      step = 1;
    }
    if (!parse_port(answer, word, &port))
      return;
  }
  bool own_loopback = argc < 4 || strcmp(argv[3], "lo") == 0;
  union address given = {0};
  if (!own_loopback && !parse_address(answer, argv[3], &given))
    return;
  for (size_t index = 0; index < group->count; index++, port += step) {
    union address address = address_for(group->fds[index], own_loopback, &given);
    set_port(&address, (int)port);
    if (tally(answer, bind(group->fds[index], &address.any, address_length(&address))))
      add_port(answer, group->fds[index]);
  }
}

static void do_connect(struct answer *answer, int argc, char **argv) {
  struct socket_group *group = open_group(answer, argv[1]);
  long port;
  if (group == NULL || !parse_port(answer, argv[3], &port))
    return;
  bool own_loopback = strcmp(argv[2], "lo") == 0;
  union address given = {0};
  if (!own_loopback && !parse_address(answer, argv[2], &given))
    return;
  if (argc > 4 && strcmp(argv[4], "nonblock") != 0) {
    refuse(answer, "unknown word \"%s\"", argv[4]);
    return;
  }
  for (size_t index = 0; index < group->count; index++) {
    int fd = group->fds[index];
    union address address = address_for(fd, own_loopback, &given);
    set_port(&address, (int)port);
    if (argc > 4)
      fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    int result = connect(fd, &address.any, address_length(&address));
    if (tally(answer, result) || errno == EINPROGRESS)
      add_port(answer, fd);
  }
}

static void do_connect_unspec(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
  for (size_t index = 0; index < group->count; index++)
    tally(answer, connect(group->fds[index], &nowhere, sizeof nowhere));
}

// Whether each connect of the group has settled. Reads SO_ERROR, which clears it in the kernel.
static void do_poll_connect(struct answer *answer, int argc, char **argv) {
  struct socket_group *group = open_group(answer, argv[1]);
  long patience = WAIT_MS;
  if (group == NULL || (argc > 2 && !number(answer, argv[2], 0, 60000, &patience)))
    return;
  long deadline = now_ms() + patience;
  for (size_t index = 0; index < group->count; index++) {
    int fd = group->fds[index];
    struct pollfd watched = {.fd = fd, .events = POLLOUT};
    if (poll(&watched, 1, left_ms(deadline)) <= 0) {
      count_error(answer, EINPROGRESS);
      continue;
    }
    int error = 0;
    socklen_t length = sizeof error;
    union address peer;
    socklen_t peer_length = sizeof peer;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0)
      count_error(answer, error);
    else if (tally(answer, getpeername(fd, &peer.any, &peer_length)))
      add_port(answer, fd);
  }
}

static void do_listen(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  long backlog;
  if (group == NULL || !number(answer, argv[2], 0, 65535, &backlog))
    return;
  for (size_t index = 0; index < group->count; index++)
    if (tally(answer, listen(group->fds[index], (int)backlog)))
      add_port(answer, group->fds[index]);
}

// Accepts COUNT connections from whichever listener of the group has one; EAGAIN counts those that did not come.
static void do_accept(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *listeners = open_group(answer, argv[1]);
  long wanted;
  if (listeners == NULL || !number(answer, argv[3], 1, 1000000, &wanted))
    return;
  struct socket_group *into = group_to_fill(answer, argv[2], false);
  if (into == NULL)
    return;
  struct pollfd *watched = checked(calloc(listeners->count + 1, sizeof *watched));
  for (size_t index = 0; index < listeners->count; index++)
    watched[index] = (struct pollfd){.fd = listeners->fds[index], .events = POLLIN};
  long deadline = now_ms() + WAIT_MS;
  size_t listener_count = listeners->count; // `into` may be the same group
  long done = 0;
  while (done < wanted) {
    if (poll(watched, listener_count, left_ms(deadline)) <= 0) {
      answer->errors[EAGAIN] += (unsigned)(wanted - done);
      break;
    }
    for (size_t index = 0; index < listener_count && done < wanted; index++) {
      if (watched[index].revents == 0)
        continue;
      int fd = accept(watched[index].fd, NULL, NULL);
      done++;
      if (!tally(answer, fd))
        continue;
      add_socket(into, fd);
      add_port(answer, fd);
    }
  }
  free(watched);
}

static void do_shutdown(struct answer *answer, int argc, char **argv) {
  (void)argc;
  static const char *const ways[] = {"rd", "wr", "rdwr", NULL}; // SHUT_RD, SHUT_WR, SHUT_RDWR are 0, 1, 2
  struct socket_group *group = open_group(answer, argv[1]);
  int how;
  if (group == NULL || !one_of(answer, argv[2], ways, &how))
    return;
  for (size_t index = 0; index < group->count; index++)
    tally(answer, shutdown(group->fds[index], how));
}

static void do_send(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  long size, sent = 0;
  if (group == NULL || !number(answer, argv[2], 1, 16 << 20, &size))
    return;
  char *bytes = checked(calloc(1, (size_t)size));
  for (size_t index = 0; index < group->count; index++) {
    ssize_t result = send(group->fds[index], bytes, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (result > 0)
      sent += result;
    if (result >= 0 && result < size)
      errno = EAGAIN, result = -1; // the send buffer took a part
    tally(answer, result < 0 ? -1 : 0);
  }
  free(bytes);
  append(&answer->extra, ",\"bytes\":%ld", sent);
}

// Reads what there is. count: sockets that gave bytes; eof: those whose peer has closed; EAGAIN: nothing came.
static void do_recv(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  static _Thread_local char bytes[65536];
  long deadline = now_ms() + WAIT_MS, received = 0, ends = 0;
  for (size_t index = 0; index < group->count; index++) {
    struct pollfd watched = {.fd = group->fds[index], .events = POLLIN};
    poll(&watched, 1, left_ms(deadline));
    long before = received;
    ssize_t result;
    while ((result = recv(group->fds[index], bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
      received += result;
    if (result == 0)
      ends++;
    else if (errno != EAGAIN || received == before)
      count_error(answer, errno);
    if (received > before)
      answer->count++;
  }
  append(&answer->extra, ",\"bytes\":%ld,\"eof\":%ld", received, ends);
}

// Waits until every socket of the group is in STATE; count: those that are, EAGAIN: those that are not.
static void do_wait_state(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  int state;
  if (group == NULL || !one_of(answer, argv[2], state_names, &state))
    return;
  long deadline = now_ms() + WAIT_MS;
  for (size_t index = 0; index < group->count; index++) {
    while (tcp_state(group->fds[index]) != state && left_ms(deadline) > 0)
      usleep(1000);
    errno = EAGAIN;
    tally(answer, tcp_state(group->fds[index]) == state ? 0 : -1);
  }
}

static int ring_close_direct(int index);

static void close_all(struct answer *answer, struct socket_group *group) {
  for (size_t index = 0; index < group->count; index++)
    tally(answer, group->direct ? ring_close_direct(group->fds[index]) : close(group->fds[index]));
  group->count = 0;
}

static void do_close(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = group_named(answer, argv[1]);
  if (group != NULL)
    close_all(answer, group);
}

static const struct linger reset_on_close = {.l_onoff = 1, .l_linger = 0};

static void do_reset(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  for (size_t index = 0; index < group->count; index++)
    setsockopt(group->fds[index], SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close);
  close_all(answer, group);
}

// As if its host were gone: the peer hears nothing, and what it sends next is answered by a reset.
static void do_vanish(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  for (size_t index = 0; index < group->count; index++) {
    int on = 1;
    setsockopt(group->fds[index], IPPROTO_TCP, TCP_REPAIR, &on, sizeof on);
  }
  close_all(answer, group);
}

static void do_dup(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  struct socket_group *into = group_to_fill(answer, argv[2], false);
  if (into == NULL)
    return;
  for (size_t index = 0, count = group->count; index < count; index++) {
    int fd = dup(group->fds[index]);
    if (tally(answer, fd))
      add_socket(into, fd);
  }
}

// Moves the first COUNT sockets of a group into another: no system call.
static void do_take(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = group_named(answer, argv[1]);
  long count;
  if (group == NULL || !number(answer, argv[2], 0, (long)group->count, &count))
    return;
  struct socket_group *into = group_to_fill(answer, argv[3], group->direct);
  if (into == NULL || into == group)
    return;
  for (long index = 0; index < count; index++)
    add_socket(into, group->fds[index]);
  group->count -= (size_t)count;
  memmove(group->fds, group->fds + count, group->count * sizeof *group->fds);
  answer->count = count;
}

static void do_option(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct socket_group *group = open_group(answer, argv[1]);
  if (group == NULL)
    return;
  int level = SOL_SOCKET, name = SO_REUSEADDR;
  if (strcmp(argv[0], "reuseport") == 0)
    name = SO_REUSEPORT;
  if (strcmp(argv[0], "noport") == 0)
    level = IPPROTO_IP, name = IP_BIND_ADDRESS_NO_PORT; // the one for IPv6 sockets too
  for (size_t index = 0; index < group->count; index++) {
    int on = 1;
    tally(answer, setsockopt(group->fds[index], level, name, &on, sizeof on));
  }
}

// ---------------------------------------------------------------------------------------------------------- io_uring

// One ring for the process, one request at a time, without liburing.
static struct {
  int fd;
  unsigned char *rings;
  size_t rings_size;
  struct io_uring_sqe *requests;
  struct io_uring_params parameters;
} ring = {.fd = -1};

static bool ring_ready(struct answer *answer) {
  if (ring.fd >= 0)
    return true;
  struct io_uring_params *parameters = &ring.parameters;
  *parameters = (struct io_uring_params){0};
  int fd = (int)syscall(__NR_io_uring_setup, RING_ENTRIES, parameters);
  if (fd < 0) {
    refuse(answer, "io_uring_setup: %s", strerrorname_np(errno));
    return false;
  }
  size_t submission = parameters->sq_off.array + parameters->sq_entries * sizeof(unsigned);
  size_t completion = parameters->cq_off.cqes + parameters->cq_entries * sizeof(struct io_uring_cqe);
  ring.rings_size = submission > completion ? submission : completion;
  ring.rings = mmap(NULL, ring.rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
  ring.requests = mmap(NULL, parameters->sq_entries * sizeof *ring.requests, PROT_READ | PROT_WRITE,
                       MAP_SHARED, fd, IORING_OFF_SQES);
  struct io_uring_rsrc_register table = {.nr = RING_FIXED_FILES, .flags = IORING_RSRC_REGISTER_SPARSE};
  if ((parameters->features & IORING_FEAT_SINGLE_MMAP) == 0 || (void *)ring.rings == MAP_FAILED ||
      (void *)ring.requests == MAP_FAILED ||
      syscall(__NR_io_uring_register, fd, IORING_REGISTER_FILES2, &table, sizeof table) < 0) {
    refuse(answer, "io_uring: cannot map the ring or register files: %s", strerrorname_np(errno));
    close(fd);
    return false;
  }
  ring.fd = fd;
  return true;
}

static void ring_forget(void) {
  if (ring.fd < 0)
    return;
  munmap(ring.rings, ring.rings_size);
  munmap(ring.requests, ring.parameters.sq_entries * sizeof *ring.requests);
  close(ring.fd);
  ring.fd = -1;
  for (size_t index = 0; index < group_count; index++)
    if (groups[index]->direct)
      groups[index]->count = 0;
}

// Submits one request and waits for its completion: the result, or -1 and errno.
static int ring_run(const struct io_uring_sqe *request) {
  const struct io_sqring_offsets *submission = &ring.parameters.sq_off;
  const struct io_cqring_offsets *completion = &ring.parameters.cq_off;
  unsigned *tail = (unsigned *)(void *)(ring.rings + submission->tail);
  unsigned *array = (unsigned *)(void *)(ring.rings + submission->array);
  unsigned slot = *tail & (ring.parameters.sq_entries - 1);
  ring.requests[slot] = *request;
  array[slot] = slot;
  __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
  unsigned *head = (unsigned *)(void *)(ring.rings + completion->head);
  unsigned *filled = (unsigned *)(void *)(ring.rings + completion->tail);
  unsigned to_submit = 1;
  while (__atomic_load_n(filled, __ATOMIC_ACQUIRE) == *head) {
    long entered = syscall(__NR_io_uring_enter, ring.fd, to_submit, 1, IORING_ENTER_GETEVENTS, NULL, 0);
    if (entered < 0 && errno != EINTR)
      return -1;
    if (entered > 0)
      to_submit = 0;
  }
  const struct io_uring_cqe *results = (const struct io_uring_cqe *)(void *)(ring.rings + completion->cqes);
  int result = results[*head & (ring.parameters.cq_entries - 1)].res;
  __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
  if (result >= 0)
    return result;
  errno = -result;
  return -1;
}

static int ring_close_direct(int index) {
  struct io_uring_sqe request = {.opcode = IORING_OP_CLOSE, .file_index = (unsigned)index + 1};
  return ring_run(&request);
}

static void do_uring_open(struct answer *answer, int argc, char **argv) {
  const struct family *family = family_named(answer, argv[1]);
  long count;
  if (family == NULL || !number(answer, argv[2], 0, RING_FIXED_FILES, &count))
    return;
  bool direct = false, async = false;
  for (int index = 4; index < argc; index++) {
    if (strcmp(argv[index], "direct") == 0) {
      direct = true;
    } else if (strcmp(argv[index], "async") == 0) {
      async = true;
    } else {
      refuse(answer, "unknown word \"%s\"", argv[index]);
      return;
    }
  }
  struct socket_group *group = group_to_fill(answer, argv[3], direct);
  if (group == NULL || !ring_ready(answer))
    return;
  for (long index = 0; index < count; index++) {
    struct io_uring_sqe request = {
        .opcode = IORING_OP_SOCKET,
        .flags = async ? IOSQE_ASYNC : 0, // forces it onto a kernel worker thread of this process
        .fd = family->domain,
        .off = (uint64_t)family->type,
        .len = (unsigned)family->protocol,
        .file_index = direct ? IORING_FILE_INDEX_ALLOC : 0,
    };
    int result = ring_run(&request);
    if (tally(answer, result))
      add_socket(group, result);
  }
}

// --------------------------------------------------------------------------------------------------------- children

struct child {
  pid_t pid;                     // 0 once it has been waited for
  int commands, answers, rights; // pipe to it, pipe from it, unix socket for descriptors
};

static struct child *children; // the first is number 1
static size_t child_count;
static int parent_rights = -1;
static unsigned long own_netns;       // the namespace that unshare-net made; 0: none
static int self_rights[2] = {-1, -1}; // a descriptor put in here is in flight, held by nobody

static void serve(void);
static void print_ready(void);

static unsigned lifetime_s(void) {
  const char *given = getenv("PUPPET_LIFETIME");
  long seconds = given == NULL ? 300 : strtol(given, NULL, 10);
  return seconds > 0 && seconds <= 86400 ? (unsigned)seconds : 300;
}

static void close_child(struct child *child) {
  close(child->commands);
  close(child->answers);
  close(child->rights);
}

// One line without its newline; false at the end. Byte by byte: nothing may be left in a buffer at fork and exec.
static bool read_line(int fd, struct text *line) {
  line->length = 0;
  append(line, "%s", "");
  for (;;) {
    char byte;
    ssize_t result = read(fd, &byte, 1);
    if (result < 0 && errno == EINTR)
      continue;
    if (result <= 0)
      return false;
    if (byte == '\n')
      return true;
    append(line, "%c", byte);
  }
}

static void forget_child(struct answer *answer, struct child *child) {
  int status = 0;
  waitpid(child->pid, &status, 0);
  if (answer != NULL) {
    if (WIFSIGNALED(status))
      append(&answer->extra, ",\"signal\":%d", WTERMSIG(status));
    else
      append(&answer->extra, ",\"exitCode\":%d", WEXITSTATUS(status));
  }
  close_child(child);
  child->pid = 0;
}

static void do_fork(struct answer *answer, int argc, char **argv) {
  (void)argc, (void)argv;
  int commands[2] = {-1, -1}, answers[2] = {-1, -1}, rights[2] = {-1, -1};
  pid_t pid = -1;
  if (pipe(commands) == 0 && pipe(answers) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, rights) == 0)
    pid = fork();
  if (pid < 0) {
    refuse(answer, "fork: %s", strerrorname_np(errno));
    for (int end = 0; end < 2; end++) {
      if (commands[end] >= 0)
        close(commands[end]);
      if (answers[end] >= 0)
        close(answers[end]);
      if (rights[end] >= 0)
        close(rights[end]);
    }
    return;
  }
  if (pid == 0) {
    alarm(lifetime_s()); // a child does not inherit it
    for (size_t index = 0; index < child_count; index++)
      if (children[index].pid != 0)
        close_child(&children[index]);
    child_count = 0;
    ring_forget();
    dup2(commands[0], STDIN_FILENO);
    dup2(answers[1], STDOUT_FILENO);
    for (int end = 0; end < 2; end++) {
      close(commands[end]);
      close(answers[end]);
      if (self_rights[end] >= 0)
        close(self_rights[end]);
      self_rights[end] = -1;
    }
    close(rights[0]);
    if (parent_rights >= 0)
      close(parent_rights);
    parent_rights = rights[1];
    print_ready();
    serve();
    _exit(0);
  }
  close(commands[0]);
  close(answers[1]);
  close(rights[1]);
  children = checked(realloc(children, (child_count + 1) * sizeof *children));
  children[child_count++] =
      (struct child){.pid = pid, .commands = commands[1], .answers = answers[0], .rights = rights[0]};
  struct text ready = {0};
  bool alive = read_line(answers[0], &ready); // its ready line: it has let go of what is not its own
  free(ready.bytes);
  if (!alive) {
    refuse(answer, "the child ended at once");
    forget_child(NULL, &children[child_count - 1]);
    return;
  }
  answer->count = 1;
  append(&answer->extra, ",\"child\":%zu,\"pid\":%d", child_count, (int)pid);
}

static struct child *child_numbered(struct answer *answer, const char *word) {
  long index;
  if (!number(answer, word, 1, (long)child_count, &index))
    return NULL;
  struct child *child = &children[index - 1];
  if (child->pid != 0)
    return child;
  refuse(answer, "child %ld has ended", index);
  return NULL;
}

// Relays a command. A child that ends instead of answering is waited for, and how it ended is the answer.
static void do_child(struct answer *answer, int argc, char **argv) {
  struct child *child = child_numbered(answer, argv[1]);
  if (child == NULL)
    return;
  struct text line = {0};
  for (int index = 2; index < argc; index++)
    append(&line, "%s%c", argv[index], index + 1 < argc ? ' ' : '\n');
  ssize_t written = write(child->commands, line.bytes, line.length);
  if (written == (ssize_t)line.length && read_line(child->answers, &line)) {
    answer->relayed = true;
    answer->extra = line;
    return;
  }
  free(line.bytes);
  forget_child(answer, child);
}

static void do_exec(struct answer *answer, int argc, char **argv) {
  (void)argc, (void)argv;
  ring_forget(); // a ring does not live through exec, nor do its fixed files
  int state = memfd_create("puppet-state", 0);
  if (state < 0) {
    refuse(answer, "memfd_create: %s", strerrorname_np(errno));
    return;
  }
  struct text text = {0};
  append(&text, "rights %d %d %d\nnetns %lu\n", parent_rights, self_rights[0], self_rights[1], own_netns);
  for (size_t index = 0; index < child_count; index++) {
    const struct child *child = &children[index];
    append(&text, "child %d %d %d %d\n", (int)child->pid, child->commands, child->answers, child->rights);
  }
  for (size_t index = 0; index < group_count; index++) {
    append(&text, "group %s", groups[index]->name);
    for (size_t member = 0; member < groups[index]->count; member++)
      append(&text, " %d", groups[index]->fds[member]);
    append(&text, "\n");
  }
  write_all(state, text.bytes, text.length);
  lseek(state, 0, SEEK_SET);
  free(text.bytes);
  char number_text[16];
  snprintf(number_text, sizeof number_text, "%d", state);
  execl("/proc/self/exe", "puppet", "--resume", number_text, (char *)NULL);
  close(state);
  refuse(answer, "exec: %s", strerrorname_np(errno));
}

// Takes up the groups and children of the program that this one was before its exec.
static void resume(int state) {
  struct text line = {0};
  struct answer ignored = {0};
  while (read_line(state, &line)) {
    char *rest = NULL, *word = strtok_r(line.bytes, " ", &rest);
    if (strcmp(word, "group") == 0) {
      struct socket_group *group = group_to_fill(&ignored, strtok_r(NULL, " ", &rest), false);
      while (group != NULL && (word = strtok_r(NULL, " ", &rest)) != NULL)
        add_socket(group, atoi(word));
      continue;
    }
    if (strcmp(word, "netns") == 0) {
      own_netns = strtoul(strtok_r(NULL, " ", &rest), NULL, 10);
      continue;
    }
    int values[4] = {0};
    for (int index = 0; index < 4 && (word = strtok_r(NULL, " ", &rest)) != NULL; index++)
      values[index] = atoi(word);
    if (strncmp(line.bytes, "child", 5) == 0) {
      children = checked(realloc(children, (child_count + 1) * sizeof *children));
      children[child_count++] = (struct child){values[0], values[1], values[2], values[3]};
    } else {
      parent_rights = values[0], self_rights[0] = values[1], self_rights[1] = values[2];
    }
  }
  free(line.bytes);
  close(state);
}

// PEER is "self" (nobody holds what is under way), "parent" or "child N".
static bool peer_rights(struct answer *answer, int argc, char **argv, bool sending, int *fd, int *words) {
  *words = 1;
  if (strcmp(argv[2], "self") == 0) {
    if (self_rights[0] < 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, self_rights) != 0) {
      refuse(answer, "socketpair: %s", strerrorname_np(errno));
      return false;
    }
    *fd = self_rights[sending ? 0 : 1];
    return true;
  }
  if (strcmp(argv[2], "parent") == 0 && parent_rights >= 0) {
    *fd = parent_rights;
    return true;
  }
  if (strcmp(argv[2], "child") == 0 && argc > 3) {
    struct child *child = child_numbered(answer, argv[3]);
    if (child == NULL)
      return false;
    *fd = child->rights;
    *words = 2;
    return true;
  }
  refuse(answer, "\"%s\" is not a peer: self, parent (in a child) or child N", argv[2]);
  return false;
}

union rights_buffer {
  char bytes[CMSG_SPACE(RIGHTS_PER_MESSAGE * sizeof(int))];
  struct cmsghdr aligned;
};

static void do_send_fd(struct answer *answer, int argc, char **argv) {
  struct socket_group *group = open_group(answer, argv[1]);
  int rights, words;
  if (group == NULL || !peer_rights(answer, argc, argv, true, &rights, &words))
    return;
  bool close_own = false;
  if (argc > 2 + words) {
    if (strcmp(argv[2 + words], "close") != 0) {
      refuse(answer, "unknown word \"%s\"", argv[2 + words]);
      return;
    }
    close_own = true;
  }
  for (size_t start = 0; start < group->count; start += RIGHTS_PER_MESSAGE) {
    size_t batch = group->count - start < RIGHTS_PER_MESSAGE ? group->count - start : RIGHTS_PER_MESSAGE;
    union rights_buffer control;
    memset(&control, 0, sizeof control);
    char payload = 'x';
    struct iovec part = {.iov_base = &payload, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = CMSG_SPACE(batch * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(batch * sizeof(int));
    memcpy(CMSG_DATA(header), group->fds + start, batch * sizeof(int));
    if (sendmsg(rights, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      answer->errors[errno < MAX_ERRNO ? errno : 0] += (unsigned)batch;
      continue;
    }
    answer->count += (long)batch;
  }
  if (!close_own)
    return;
  for (size_t index = 0; index < group->count; index++)
    close(group->fds[index]);
  group->count = 0;
}

static void do_recv_fd(struct answer *answer, int argc, char **argv) {
  struct socket_group *into = group_to_fill(answer, argv[1], false);
  int rights, words;
  if (into == NULL || !peer_rights(answer, argc, argv, false, &rights, &words))
    return;
  for (;;) {
    union rights_buffer control;
    char payload;
    struct iovec part = {.iov_base = &payload, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t result = recvmsg(rights, &message, MSG_DONTWAIT);
    if (result < 0 && errno != EAGAIN)
      count_error(answer, errno);
    if (result <= 0)
      return;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL;
         header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        continue;
      size_t received = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t index = 0; index < received; index++) {
        int fd;
        memcpy(&fd, CMSG_DATA(header) + index * sizeof fd, sizeof fd);
        add_socket(into, fd);
        answer->count++;
      }
    }
  }
}

// ---------------------------------------------------------------------------------------------------- what ss asks

enum {
  BOUND_INACTIVE = 1 << 13, // TCPF_BOUND_INACTIVE, since Linux 6.8; the headers here may be older
  ALL_STATES = 0xfff | BOUND_INACTIVE,
};

struct diag {
  long sockets, bound_inactive;
  bool ports[65536];
};

// False at the end of the dump or at an error, which errno tells.
static bool take_diag(struct diag *diag, char *bytes, ssize_t length) {
  errno = 0;
  for (struct nlmsghdr *header = (struct nlmsghdr *)(void *)bytes; NLMSG_OK(header, length);
       header = NLMSG_NEXT(header, length)) {
    if (header->nlmsg_type == NLMSG_ERROR)
      errno = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
    if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR)
      return false;
    const struct inet_diag_msg *socket = NLMSG_DATA(header);
    diag->sockets++;
    diag->ports[ntohs(socket->id.idiag_sport)] = true;
    if (socket->idiag_state == TCP_CLOSE)
      diag->bound_inactive++;
  }
  return true;
}

static int dump_diag(int netlink, int family, struct diag *diag) {
  struct {
    struct nlmsghdr header;
    struct inet_diag_req_v2 wanted;
  } request = {
      .header = {.nlmsg_len = sizeof request,
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
      .wanted = {.sdiag_family = (uint8_t)family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ALL_STATES},
  };
  if (send(netlink, &request, sizeof request, 0) < 0)
    return -1;
  static _Alignas(struct nlmsghdr) char bytes[64 * 1024];
  for (;;) {
    ssize_t length = recv(netlink, bytes, sizeof bytes, 0);
    if (length < 0)
      return -1;
    if (!take_diag(diag, bytes, length))
      return errno == 0 ? 0 : -1;
  }
}

// The TCP sockets of this network namespace by inet_diag: in all states, TIME_WAIT and bound-inactive too.
static void do_diag(struct answer *answer, int argc, char **argv) {
  (void)argc, (void)argv;
  struct diag *diag = checked(calloc(1, sizeof *diag));
  int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (netlink < 0 || dump_diag(netlink, AF_INET, diag) != 0 || dump_diag(netlink, AF_INET6, diag) != 0)
    refuse(answer, "inet_diag: %s", strerrorname_np(errno));
  if (netlink >= 0)
    close(netlink);
  answer->count = diag->sockets;
  for (int port = 1; port < 65536; port++)
    if (diag->ports[port])
      append(&answer->ports, "%s%d", answer->ports.length == 0 ? "" : ",", port);
  if (!answer->refused)
    append(&answer->extra, ",\"boundInactive\":%ld", diag->bound_inactive);
  free(diag);
}

// ------------------------------------------------------------------------------------------------ the process itself

static unsigned long netns_of(const char *process) {
  char path[64];
  struct stat status;
  snprintf(path, sizeof path, "/proc/%s/ns/net", process);
  return stat(path, &status) == 0 ? (unsigned long)status.st_ino : 0;
}

static void do_unshare_net(struct answer *answer, int argc, char **argv) {
  (void)argc, (void)argv;
  if (unshare(CLONE_NEWNET) != 0) {
    refuse(answer, "unshare: %s", strerrorname_np(errno));
    return;
  }
  struct ifreq request = {.ifr_name = "lo"};
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  bool up = control >= 0 && ioctl(control, SIOCGIFFLAGS, &request) == 0;
  if (up) {
    request.ifr_flags |= IFF_UP;
    up = ioctl(control, SIOCSIFFLAGS, &request) == 0;
  }
  if (!up)
    refuse(answer, "bringing lo up: %s", strerrorname_np(errno));
  if (control >= 0)
    close(control);
  if (!up)
    return;
  own_netns = netns_of("thread-self");
  append(&answer->extra, ",\"netns\":%lu", own_netns);
}

static void do_port_range(struct answer *answer, int argc, char **argv) {
  (void)argc;
  long low, high;
  if (!number(answer, argv[1], 1, 65535, &low) || !number(answer, argv[2], low, 65535, &high))
    return;
  // By what this program did itself, never by comparing with another process: that may not be readable, and then
  // the range of everybody else would be changed.
  if (own_netns == 0 || netns_of("thread-self") != own_netns) {
    refuse(answer, "port-range would change the range of a shared namespace: unshare-net first");
    return;
  }
  char range[32];
  int length = snprintf(range, sizeof range, "%ld %ld\n", low, high);
  int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, range, (size_t)length) != length)
    refuse(answer, "ip_local_port_range: %s", strerrorname_np(errno));
  if (fd >= 0)
    close(fd);
}

static void do_name(struct answer *answer, int argc, char **argv) {
  (void)argc;
  if (prctl(PR_SET_NAME, argv[1]))
    refuse(answer, "prctl: %s", strerrorname_np(errno));
}

static void do_setuid(struct answer *answer, int argc, char **argv) {
  (void)argc;
  long uid;
  if (!number(answer, argv[1], 1, 1 << 30, &uid))
    return;
  if (setgroups(0, NULL) != 0 || setgid((gid_t)uid) != 0 || setuid((uid_t)uid) != 0)
    refuse(answer, "setuid: %s", strerrorname_np(errno));
}

static void do_fd_limit(struct answer *answer, int argc, char **argv) {
  (void)argc;
  long limit;
  struct rlimit limits;
  getrlimit(RLIMIT_NOFILE, &limits);
  if (!number(answer, argv[1], 0, (long)limits.rlim_max, &limit))
    return;
  limits.rlim_cur = (rlim_t)limit;
  if (setrlimit(RLIMIT_NOFILE, &limits) != 0)
    refuse(answer, "setrlimit: %s", strerrorname_np(errno));
}

static void append_members(struct text *text, const struct socket_group *group) {
  unsigned states[STATE_COUNT] = {0};
  struct text inodes = {0}, ports = {0}, fds = {0};
  for (size_t index = 0; index < group->count; index++) {
    int fd = group->fds[index];
    const char *separator = index == 0 ? "" : ",";
    struct stat status = {0};
    fstat(fd, &status);
    append(&fds, "%s%d", separator, fd);
    append(&inodes, "%s%lu", separator, (unsigned long)status.st_ino);
    append(&ports, "%s%d", separator, local_port(fd));
    states[tcp_state(fd)]++;
  }
  append(text, ",\"fds\":[%s],\"inodes\":[%s],\"ports\":[%s],\"states\":{", text_of(&fds), text_of(&inodes),
         text_of(&ports));
  const char *separator = "";
  for (int state = 0; state < STATE_COUNT; state++) {
    if (states[state] == 0)
      continue;
    append(text, "%s\"%s\":%u", separator, state_names[state], states[state]);
    separator = ",";
  }
  append(text, "}");
  free(fds.bytes);
  free(inodes.bytes);
  free(ports.bytes);
}

static void do_stats(struct answer *answer, int argc, char **argv) {
  struct socket_group *only = NULL;
  if (argc > 1 && (only = group_named(answer, argv[1])) == NULL)
    return;
  struct text *text = &answer->extra;
  const char *separator = "";
  append(text, ",\"groups\":{");
  for (size_t index = 0; index < group_count; index++) {
    const struct socket_group *group = groups[index];
    if (only != NULL && only != group)
      continue;
    append(text, "%s\"%s\":{\"count\":%zu,\"direct\":%s", separator, group->name, group->count,
           group->direct ? "true" : "false");
    if (!group->direct)
      append_members(text, group);
    append(text, "}");
    separator = ",";
    answer->count += (long)group->count;
  }
  append(text, "}");
}

static void do_self(struct answer *answer, int argc, char **argv) {
  (void)argc, (void)argv;
  append(&answer->extra, ",\"pid\":%d,\"tid\":%d,\"netns\":%lu,\"uid\":%u", (int)getpid(), (int)gettid(),
         netns_of("thread-self"), geteuid());
}

static void do_abort(struct answer *answer, int argc, char **argv) {
  (void)answer, (void)argc, (void)argv;
  kill(getpid(), SIGKILL);
  for (;;)
    pause();
}

static void do_exit(struct answer *answer, int argc, char **argv) {
  (void)answer, (void)argc, (void)argv;
  _exit(0); // the kernel closes what is open
}

// ------------------------------------------------------------------------------------------------------------- churn

enum churn_mode {
  OPENCLOSE,
  OPENBINDCLOSE,
  HEALTHY,
  RESET_STORM,
  FORKS
};
static const char *const churn_modes[] = {"openclose",   "openbindclose", "healthy",
                                          "reset-storm", "forks",         NULL};

struct churn {
  struct churn *next;
  pthread_t thread;
  const struct family *family;
  enum churn_mode mode;
  long cycles;
  // What was done, by the returns of the system calls:
  long done, opened, bound, connected, accepted;
  unsigned errors[MAX_ERRNO];
};

static struct churn *churns; // in the background
static atomic_bool churn_stopped;

static void count_failure(struct churn *churn) {
  churn->errors[errno < MAX_ERRNO ? errno : 0]++;
}

static bool churn_tally(struct churn *churn, int result, long *counter) {
  if (result < 0) {
    count_failure(churn);
    return false;
  }
  (*counter)++;
  return true;
}

static int churn_socket(struct churn *churn) {
  int fd = socket(churn->family->domain, churn->family->type, churn->family->protocol);
  churn_tally(churn, fd, &churn->opened);
  return fd;
}

static void churn_exchange(int client, int served) {
  char bytes[64] = "ping";
  if (send(client, bytes, 4, MSG_NOSIGNAL) != 4 || recv(served, bytes, sizeof bytes, 0) <= 0)
    return;
  if (send(served, bytes, 4, MSG_NOSIGNAL) == 4)
    (void)!recv(client, bytes, sizeof bytes, 0);
}

static void churn_connection(struct churn *churn, int listener, const union address *address) {
  int client = churn_socket(churn);
  if (client < 0)
    return;
  if (!churn_tally(churn, connect(client, &address->any, address_length(address)), &churn->connected)) {
    close(client);
    return;
  }
  // Two flavours of reset: of a connection that still waits to be accepted, and of one in use.
  bool reset_in_queue = churn->mode == RESET_STORM && churn->done % 2 == 0;
  if (reset_in_queue) {
    setsockopt(client, SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close);
    close(client);
    // Where the thread has changed its CPU, the reset may come before the end of the handshake: there is nothing to accept.
    struct pollfd queue = {.fd = listener, .events = POLLIN};
    if (poll(&queue, 1, WAIT_MS) == 0)
      return;
  }
  int served = accept(listener, NULL, NULL);
  if (churn_tally(churn, served, &churn->accepted)) {
    char byte;
    if (churn->mode == HEALTHY) {
      churn_exchange(client, served);
      // The server closes first: TIME_WAIT is then on its side, and the client's ephemeral port is free at once.
      shutdown(served, SHUT_WR);
      (void)!recv(client, &byte, 1, 0);
    } else if (!reset_in_queue) {
      setsockopt(served, SOL_SOCKET, SO_LINGER, &reset_on_close, sizeof reset_on_close);
    }
    close(served);
  }
  if (!reset_in_queue)
    close(client);
}

// A child that has what this process has, opens some of its own, and is gone.
static void churn_child(struct churn *churn) {
  pid_t pid = fork();
  if (pid == 0) {
    for (int count = 0; count < 8; count++)
      (void)!socket(churn->family->domain, churn->family->type, churn->family->protocol);
    _exit(0);
  }
  if (pid > 0)
    waitpid(pid, NULL, 0);
  else
    count_failure(churn);
}

static void churn_run(struct churn *churn) {
  union address address = loopback(churn->family->domain);
  int listener = -1;
  if (churn->mode == HEALTHY || churn->mode == RESET_STORM) {
    socklen_t length = sizeof address;
    listener = churn_socket(churn);
    if (listener < 0)
      return;
    if (!churn_tally(churn, bind(listener, &address.any, address_length(&address)), &churn->bound) ||
        listen(listener, 64) != 0 || getsockname(listener, &address.any, &length) != 0) {
      close(listener);
      return;
    }
  }
  for (; churn->done < churn->cycles && !atomic_load(&churn_stopped); churn->done++) {
    if (listener >= 0) {
      churn_connection(churn, listener, &address);
      continue;
    }
    if (churn->mode == FORKS) {
      churn_child(churn);
      continue;
    }
    int fd = churn_socket(churn);
    if (fd < 0)
      continue;
    if (churn->mode == OPENBINDCLOSE)
      churn_tally(churn, bind(fd, &address.any, address_length(&address)), &churn->bound);
    close(fd);
  }
  if (listener >= 0)
    close(listener);
}

static struct churn *parse_churn(struct answer *answer, char **argv) {
  long cycles;
  int mode;
  const struct family *family = family_named(answer, argv[2]);
  if (family == NULL || !number(answer, argv[1], 1, 1000000000, &cycles) ||
      !one_of(answer, argv[3], churn_modes, &mode))
    return NULL;
  if (family->domain == AF_UNIX || family->type != SOCK_STREAM) {
    refuse(answer, "churn is for v4, v6, mptcp4 and mptcp6");
    return NULL;
  }
  struct churn *churn = checked(calloc(1, sizeof *churn));
  churn->family = family;
  churn->mode = (enum churn_mode)mode;
  churn->cycles = cycles;
  atomic_store(&churn_stopped, false);
  return churn;
}

static void add_churn(struct churn *sum, const struct churn *churn) {
  sum->done += churn->done;
  sum->opened += churn->opened;
  sum->bound += churn->bound;
  sum->connected += churn->connected;
  sum->accepted += churn->accepted;
  for (int error = 0; error < MAX_ERRNO; error++)
    sum->errors[error] += churn->errors[error];
}

static void report_churn(struct answer *answer, const struct churn *churn) {
  answer->count = churn->done;
  memcpy(answer->errors, churn->errors, sizeof answer->errors);
  append(&answer->extra, ",\"opened\":%ld,\"bound\":%ld,\"connected\":%ld,\"accepted\":%ld", churn->opened,
         churn->bound, churn->connected, churn->accepted);
}

static void do_churn(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct churn *churn = parse_churn(answer, argv);
  if (churn == NULL)
    return;
  churn_run(churn);
  report_churn(answer, churn);
  free(churn);
}

static void *churn_in_background(void *churn) {
  churn_run(churn);
  return NULL;
}

static void do_churn_thread(struct answer *answer, int argc, char **argv) {
  (void)argc;
  struct churn *churn = parse_churn(answer, argv);
  if (churn == NULL)
    return;
  if (pthread_create(&churn->thread, NULL, churn_in_background, churn) != 0) {
    refuse(answer, "pthread_create failed");
    free(churn);
    return;
  }
  churn->next = churns;
  churns = churn;
}

static void do_churn_wait(struct answer *answer, int argc, char **argv) {
  (void)argc;
  if (strcmp(argv[0], "churn-stop") == 0)
    atomic_store(&churn_stopped, true);
  struct churn sum = {0};
  while (churns != NULL) {
    struct churn *churn = churns;
    churns = churn->next;
    pthread_join(churn->thread, NULL);
    add_churn(&sum, churn);
    free(churn);
  }
  report_churn(answer, &sum);
}

// ------------------------------------------------------------------------------------------------------ the language

struct threaded {
  struct answer *answer;
  int argc;
  char **argv;
};

static void run_command(struct answer *answer, int argc, char **argv);

static void *run_in_thread(void *argument) {
  struct threaded *threaded = argument;
  run_command(threaded->answer, threaded->argc, threaded->argv);
  return NULL;
}

static void do_thread(struct answer *answer, int argc, char **argv) {
  struct threaded threaded = {answer, argc - 1, argv + 1};
  pthread_t thread;
  if (pthread_create(&thread, NULL, run_in_thread, &threaded) != 0) {
    refuse(answer, "pthread_create failed");
    return;
  }
  pthread_join(thread, NULL);
}

static void do_help(struct answer *answer, int argc, char **argv);

static const struct command {
  const char *name;
  int least, most; // words, with the name
  void (*run)(struct answer *answer, int argc, char **argv);
  const char *usage;
} commands[] = {
    {"open", 4, 4, do_open, "open GROUP v4|v6|mptcp4|mptcp6|udp4|udp6|unix COUNT"},
    {"uring-open", 4, 6, do_uring_open, "uring-open FAMILY COUNT GROUP [direct] [async]"},
    {"reuseaddr", 2, 2, do_option, "reuseaddr GROUP"},
    {"reuseport", 2, 2, do_option, "reuseport GROUP"},
    {"noport", 2, 2, do_option, "noport GROUP"},
    {"bind", 3, 4, do_bind, "bind GROUP zero|PORT|PORT+ [ADDR|lo]"},
    {"connect", 4, 5, do_connect, "connect GROUP ADDR|lo PORT|@GROUP [nonblock]"},
    {"connect-unspec", 2, 2, do_connect_unspec, "connect-unspec GROUP"},
    {"poll-connect", 2, 3, do_poll_connect, "poll-connect GROUP [MILLISECONDS]"},
    {"listen", 3, 3, do_listen, "listen GROUP BACKLOG"},
    {"accept", 4, 4, do_accept, "accept GROUP INTO COUNT"},
    {"shutdown", 3, 3, do_shutdown, "shutdown GROUP rd|wr|rdwr"},
    {"send", 3, 3, do_send, "send GROUP BYTES"},
    {"recv", 2, 2, do_recv, "recv GROUP"},
    {"wait-state", 3, 3, do_wait_state, "wait-state GROUP STATE"},
    {"reset", 2, 2, do_reset, "reset GROUP"},
    {"vanish", 2, 2, do_vanish, "vanish GROUP"},
    {"close", 2, 2, do_close, "close GROUP"},
    {"dup", 3, 3, do_dup, "dup GROUP INTO"},
    {"take", 4, 4, do_take, "take GROUP COUNT INTO"},
    {"send-fd", 3, 5, do_send_fd, "send-fd GROUP self|parent|child N [close]"},
    {"recv-fd", 3, 4, do_recv_fd, "recv-fd INTO self|parent|child N"},
    {"fork", 1, 1, do_fork, "fork"},
    {"child", 3, MAX_WORDS, do_child, "child N COMMAND..."},
    {"thread", 2, MAX_WORDS, do_thread, "thread COMMAND..."},
    {"exec", 1, 1, do_exec, "exec"},
    {"unshare-net", 1, 1, do_unshare_net, "unshare-net"},
    {"port-range", 3, 3, do_port_range, "port-range LOW HIGH"},
    {"name", 2, 2, do_name, "name NAME"},
    {"setuid", 2, 2, do_setuid, "setuid UID"},
    {"fd-limit", 2, 2, do_fd_limit, "fd-limit COUNT"},
    {"churn", 4, 4, do_churn, "churn CYCLES FAMILY openclose|openbindclose|healthy|reset-storm|forks"},
    {"churn-thread", 4, 4, do_churn_thread, "churn-thread CYCLES FAMILY MODE"},
    {"churn-wait", 1, 1, do_churn_wait, "churn-wait"},
    {"churn-stop", 1, 1, do_churn_wait, "churn-stop"},
    {"diag", 1, 1, do_diag, "diag"},
    {"stats", 1, 2, do_stats, "stats [GROUP]"},
    {"self", 1, 1, do_self, "self"},
    {"abort", 1, 1, do_abort, "abort"},
    {"exit", 1, 1, do_exit, "exit"},
    {"help", 1, 1, do_help, "help"},
};
enum {
  COMMAND_COUNT = sizeof commands / sizeof *commands
};

static void do_help(struct answer *answer, int argc, char **argv) {
  (void)argc, (void)argv;
  append(&answer->extra, ",\"commands\":[");
  for (size_t index = 0; index < COMMAND_COUNT; index++)
    append(&answer->extra, "%s\"%s\"", index == 0 ? "" : ",", commands[index].usage);
  append(&answer->extra, "]");
}

static void run_command(struct answer *answer, int argc, char **argv) {
  for (size_t index = 0; index < COMMAND_COUNT; index++) {
    const struct command *command = &commands[index];
    if (strcmp(command->name, argv[0]) != 0)
      continue;
    if (argc < command->least || argc > command->most)
      refuse(answer, "usage: %s", command->usage);
    else
      command->run(answer, argc, argv);
    return;
  }
  refuse(answer, "no command \"%s\"", argv[0]);
}

static void serve(void) {
  struct text line = {0};
  while (read_line(STDIN_FILENO, &line)) {
    char *words[MAX_WORDS + 1], *rest = NULL;
    int count = 0;
    for (char *word = strtok_r(line.bytes, " \t", &rest); word != NULL && count <= MAX_WORDS;
         word = strtok_r(NULL, " \t", &rest))
      words[count++] = word;
    if (count == 0)
      continue;
    struct answer answer = {0};
    if (count > MAX_WORDS)
      refuse(&answer, "more than %d words", MAX_WORDS);
    else
      run_command(&answer, count, words);
    print_answer(&answer);
    release_answer(&answer);
  }
  free(line.bytes);
  // The children end with their standard input; they must be gone before this process is.
  for (size_t index = 0; index < child_count; index++)
    close(children[index].commands);
  for (size_t index = 0; index < child_count; index++)
    if (children[index].pid != 0)
      waitpid(children[index].pid, NULL, 0);
}

static void print_ready(void) {
  struct text line = {0};
  append(&line, "{\"ready\":true,\"pid\":%d,\"netns\":%lu}\n", (int)getpid(), netns_of("thread-self"));
  write_all(STDOUT_FILENO, line.bytes, line.length);
  free(line.bytes);
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  prctl(PR_SET_NAME, "puppet"); // exec through /proc/self/exe names the process "exe"
  if (argc == 3 && strcmp(argv[1], "--resume") == 0) {
    resume(atoi(argv[2])); // the alarm goes on ticking through exec
    struct answer answer = {.count = 1};
    do_self(&answer, 0, NULL); // the answer to "exec"
    print_answer(&answer);
    release_answer(&answer);
  } else {
    alarm(lifetime_s());
    struct rlimit limits;
    if (getrlimit(RLIMIT_NOFILE, &limits) == 0) {
      limits.rlim_cur = limits.rlim_max;
      setrlimit(RLIMIT_NOFILE, &limits);
    }
    print_ready();
  }
  serve();
  return 0;
}
