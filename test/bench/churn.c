// bench-churn: sockets at a chosen rate, or a chosen number of them held.
//
//     bench-churn
//
// One command a line on stdin, one line of JSON a command on stdout:
//     hold COUNT                     opens sockets and keeps them           {"held": in all}
//     pace RATE MS healthy|leaking   opens RATE sockets a second for MS ms and closes each at once, or keeps it
//                                    {"opened": by this command, "ms": how long it took, "lateMs": behind at the end}
//
// A healthy one is bound before it is closed, as a client's that chooses its address. More than one process may hold is
// handed to children. It lives in a network namespace of its own, has no threads, and ends at the end of stdin.

#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
  TICK_NS = 1000000
};

static int held[1 << 20];
static size_t held_count, handed_over, most_held;
static int lifeline[2]; // children read it, and end when this process has ended

static void die(const char *what) {
  fprintf(stderr, "bench-churn: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int checked(int result, const char *what) {
  if (result < 0)
    die(what);
  return result;
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns) {
  struct timespec until = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
    ;
}

static int open_socket(void) {
  return checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

// A child keeps all that is open; here there is room again.
static void hand_over(void) {
  char nothing;
  if (checked(fork(), "fork") == 0) {
    close(lifeline[1]);
    _exit(read(lifeline[0], &nothing, 1) != 0);
  }
  handed_over += held_count;
  while (held_count > 0)
    close(held[--held_count]);
}

static void keep(int fd) {
  held[held_count++] = fd;
  if (held_count == most_held)
    hand_over();
}

static void healthy(void) {
  static const struct sockaddr_in any_port = {.sin_family = AF_INET, .sin_addr = {0x0100007f}};
  int fd = open_socket();
  checked(bind(fd, (const struct sockaddr *)&any_port, sizeof(any_port)), "bind");
  close(fd);
}

static void pace(double rate, double ms, bool leaking) {
  uint64_t begun = now_ns(), due = (uint64_t)(rate * ms / 1000), opened = 0;
  for (uint64_t tick = begun; opened < due; tick += TICK_NS) {
    sleep_until(tick);
    uint64_t target = (uint64_t)((double)(tick + TICK_NS - begun) * rate / 1e9);
    for (target = target < due ? target : due; opened < target; opened++) {
      if (leaking)
        keep(open_socket());
      else
        healthy();
    }
  }
  double took = (double)(now_ns() - begun) / 1e6;
  printf("{\"opened\":%llu,\"ms\":%.0f,\"lateMs\":%.0f}\n", (unsigned long long)opened, took,
         took > ms ? took - ms : 0);
}

static void obey(const char *line) {
  unsigned long count;
  double rate, ms;
  char kind[8];
  if (sscanf(line, "hold %lu", &count) == 1) {
    for (; count > 0; count--)
      keep(open_socket());
  } else if (sscanf(line, "pace %lf %lf %7s", &rate, &ms, kind) == 3 && rate > 0 && ms > 0) {
    pace(rate, ms, strcmp(kind, "leaking") == 0);
    return;
  } else {
    fprintf(stderr, "bench-churn: not understood: %s", line);
    exit(2);
  }
  printf("{\"held\":%zu}\n", handed_over + held_count);
}

static void set_limits(void) {
  struct rlimit limit;
  checked(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  checked(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
  most_held = limit.rlim_max - 16; // the standard streams and the lifeline
  if (most_held > sizeof(held) / sizeof(held[0]))
    most_held = sizeof(held) / sizeof(held[0]);
}

int main(void) {
  char line[64];
  set_limits();
  checked(pipe(lifeline), "pipe");
  checked(unshare(CLONE_NEWNET), "unshare the network namespace");
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("{\"pid\":%d}\n", getpid());
  while (fgets(line, sizeof(line), stdin))
    obey(line);
  return 0;
}
