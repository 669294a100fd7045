// bench-cycles: tight loops of socket system calls, timed from the inside.
//
//     bench-cycles [--cpu N]
//
// One command a line on stdin, one line of JSON a command on stdout:
//     run openclose|bind|connect MS [CYCLES_PER_SECOND]
//                                     {"ns": of one cycle in undisturbed batches, "quiet": their share, or 0 when they were
//                                     too few and ns is of all, "medianNs": of all batches, "cyclesPerSecond", "cycles"};
//                                     paced, in small batches: the time between them does not count
//     links                           how many BPF links the host has: a tracer that is not ours disturbs
//
// It lives in a network namespace of its own, has no threads, and ends at the end of stdin.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
  BACKLOG = 16,
  MAX_BATCHES = 16384,
  ENOUGH_BATCHES = 8,
  PACED_BATCH = 25,
  SPINS = 20000,
};

static const double UNDISTURBED = 1.04, PREEMPTED = 1.5;

static int listener = -1;
static struct sockaddr_in listener_address;

static void die(const char *what) {
  fprintf(stderr, "bench-cycles: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int checked(int result, const char *what) {
  if (result < 0)
    die(what);
  return result;
}

static int open_socket(void) {
  return checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

// ------------------------------------------------------------------------------------------------------ the cycles

static void cycle_openclose(void) {
  close(open_socket());
}

static void cycle_bind(void) {
  static const struct sockaddr_in any_port = {.sin_family = AF_INET, .sin_addr = {0x0100007f}};
  int fd = open_socket();
  checked(bind(fd, (const struct sockaddr *)&any_port, sizeof(any_port)), "bind");
  close(fd);
}

static void cycle_connect(void) {
  int client = open_socket();
  checked(connect(client, (const struct sockaddr *)&listener_address, sizeof(listener_address)), "connect");
  int server = checked(accept4(listener, NULL, NULL, SOCK_CLOEXEC), "accept4");
  close(client);
  close(server);
}

static const struct workload {
  const char *name;
  void (*cycle)(void);
  int batch; // cycles of about a millisecond
} workloads[] = {
    {"openclose", cycle_openclose, 200}, {"bind", cycle_bind, 150}, {"connect", cycle_connect, 30}};

// ---------------------------------------------------------------------------------------------------------- timing

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// Arithmetic alone. When the other half of the core, or another guest of the machine, takes its share of the core's
// units, this slows down as the cycles do: it tells which batches were undisturbed, without looking at their times.
static uint64_t spin(void) {
  uint64_t begun = now_ns(), a = begun, b = begun + 1, c = begun + 2, d = begun + 3;
  for (int i = 0; i < SPINS; i++) {
    a = a * 5 + 1;
    b = b * 7 + 3;
    c = c * 9 + 5;
    d = d * 11 + 7;
  }
  __asm__ volatile("" : : "r"(a ^ b ^ c ^ d));
  return now_ns() - begun;
}

struct batch {
  double ns;     // of one cycle
  uint64_t spin; // the slower one of before and after
};

static int by_ns(const void *a, const void *b) {
  double left = ((const struct batch *)a)->ns, right = ((const struct batch *)b)->ns;
  return (left > right) - (left < right);
}

// The mean of sorted batches without those in which something else ran for long.
static double steady_mean(const struct batch *batches, size_t count) {
  double limit = batches[count / 2].ns * PREEMPTED, sum = 0;
  size_t used = 0;
  for (; used < count && batches[used].ns <= limit; used++)
    sum += batches[used].ns;
  return sum / (double)used;
}

static void run(const struct workload *workload, long ms, long cycles_per_second) {
  static struct batch batches[MAX_BATCHES], quiet[MAX_BATCHES];
  static uint64_t best_spin = UINT64_MAX; // since the start: a whole run may be disturbed
  size_t count = 0, quiet_count = 0;
  int batch = cycles_per_second ? PACED_BATCH : workload->batch;
  uint64_t pause = cycles_per_second ? (uint64_t)batch * 1000000000u / (uint64_t)cycles_per_second : 0;
  uint64_t begun = now_ns(), end = begun + (uint64_t)ms * 1000000u, spin_before = spin();
  while (count < MAX_BATCHES && (count == 0 || now_ns() < end)) {
    uint64_t batch_begun = now_ns();
    for (int i = 0; i < batch; i++)
      workload->cycle();
    double elapsed = (double)(now_ns() - batch_begun);
    uint64_t spin_after = spin(), slower = spin_after > spin_before ? spin_after : spin_before;
    batches[count++] = (struct batch){elapsed / batch, slower};
    best_spin = spin_after < best_spin ? spin_after : best_spin;
    spin_before = spin_after;
    // Not asleep: the CPU is to be as awake for the next batch as at full speed.
    while (now_ns() - batch_begun < pause)
      spin_before = spin();
  }
  double wall = (double)(now_ns() - begun);
  qsort(batches, count, sizeof(batches[0]), by_ns);
  for (size_t i = 0; i < count; i++)
    if ((double)batches[i].spin <= (double)best_spin * UNDISTURBED)
      quiet[quiet_count++] = batches[i];
  bool enough = quiet_count >= ENOUGH_BATCHES;
  printf("{\"ns\":%.1f,\"quiet\":%.3f,\"medianNs\":%.1f,\"cyclesPerSecond\":%.0f,\"cycles\":%zu}\n",
         enough ? steady_mean(quiet, quiet_count) : steady_mean(batches, count),
         enough ? (double)quiet_count / (double)count : 0, batches[count / 2].ns,
         (double)count * batch * 1e9 / wall, count * (size_t)batch);
}

// -1 when the kernel does not let us count.
static int count_links(void) {
  union bpf_attr request;
  memset(&request, 0, sizeof(request));
  for (int count = 0;; count++) {
    if (syscall(SYS_bpf, BPF_LINK_GET_NEXT_ID, &request, sizeof(request)) < 0)
      return errno == ENOENT ? count : -1;
    request.start_id = request.next_id;
  }
}

// ---------------------------------------------------------------------------------------------------------- set-up

// A connection's first closer would keep its port for a minute in TIME_WAIT, and a run needs millions of ports.
static void forbid_time_wait(void) {
  FILE *file = fopen("/proc/sys/net/ipv4/tcp_max_tw_buckets", "w");
  if (!file || fputs("0", file) < 0 || fclose(file) != 0)
    die("set tcp_max_tw_buckets of the namespace");
}

static void enter_namespace(void) {
  struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
  checked(unshare(CLONE_NEWNET), "unshare the network namespace");
  int fd = open_socket();
  checked(ioctl(fd, SIOCSIFFLAGS, &loopback), "set lo up");
  close(fd);
  forbid_time_wait();
}

static void listen_on_loopback(void) {
  socklen_t size = sizeof(listener_address);
  listener_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  listener = open_socket();
  checked(bind(listener, (struct sockaddr *)&listener_address, size), "bind the listener");
  checked(getsockname(listener, (struct sockaddr *)&listener_address, &size), "getsockname");
  checked(listen(listener, BACKLOG), "listen");
}

static void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  checked(sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static void obey(const char *line) {
  char name[16];
  long ms, pace = 0;
  if (strcmp(line, "links\n") == 0) {
    printf("{\"links\":%d}\n", count_links());
    return;
  }
  if (sscanf(line, "run %15s %ld %ld", name, &ms, &pace) >= 2 && ms > 0 && pace >= 0) {
    for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
      if (strcmp(workloads[i].name, name) == 0) {
        run(&workloads[i], ms, pace);
        return;
      }
    }
  }
  fprintf(stderr, "bench-cycles: not understood: %s", line);
  exit(2);
}

int main(int argc, char **argv) {
  char line[64];
  if (argc == 3 && strcmp(argv[1], "--cpu") == 0)
    pin(atoi(argv[2]));
  enter_namespace();
  listen_on_loopback();
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("{\"pid\":%d}\n", getpid());
  while (fgets(line, sizeof(line), stdin))
    obey(line);
  return 0;
}
