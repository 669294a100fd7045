// A service that leaks TCP sockets for real, in one chosen way: what `socktrace demo KIND` shows.
//
// It lives in a network namespace of its own, so that no port of the host is ever touched, and it is bounded: by
// --max sockets, by --lifetime seconds. It plays both ends of its connections in one process without threads, and
// closes everything that is not the leak: what a tracer reports is the kind asked for and nothing else.
//
// The functions are called as those of a real service would be, and each leaking path is of its own: the call paths
// in the report are worth reading. They are kept out of line for the same reason.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OUT_OF_LINE __attribute__((noinline, noclone))

enum {
  REFUSING_PORT = 9, // nothing listens in this namespace but what we start
  SPARE_DESCRIPTORS = 64,
  SMALL_RANGE_PORTS = 10,
  SMALL_RANGE_LOW = 50000,
  INCIDENT_PORTS = 120,
};

struct service {
  int listener;
  struct sockaddr_in backend; // where it listens
  long sockets;               // leaked; for `healthy`, connections served
  long ports;                 // held by leaked sockets
  long failures;              // system calls that returned an error
};

struct kind {
  const char *name;
  const char *description;
  void (*prepare)(struct service *service); // or NULL
  void (*turn)(struct service *service);    // leaks one socket
};

static volatile sig_atomic_t stop_asked, start_asked;

static void on_stop(int signal_number) {
  (void)signal_number;
  stop_asked = 1;
}

static void on_start(int signal_number) {
  (void)signal_number;
  start_asked = 1;
}

static void fail(const char *what) {
  fprintf(stderr, "leaky-service: %s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// ------------------------------------------------------------------------------------------- the namespace it lives in

static void enter_own_namespace(void) {
  if (unshare(CLONE_NEWNET) != 0)
    fail("cannot make a network namespace (needs root)");
  struct ifreq request = {.ifr_name = "lo"};
  int control = socket(AF_INET, SOCK_DGRAM, 0);
  if (control < 0 || ioctl(control, SIOCGIFFLAGS, &request) != 0)
    fail("lo");
  request.ifr_flags |= IFF_UP;
  if (ioctl(control, SIOCSIFFLAGS, &request) != 0)
    fail("bringing lo up");
  close(control);
}

// Only ever after enter_own_namespace: the file shows the namespace of whoever writes it.
static void narrow_port_range(int low, int count) {
  int fd = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY);
  if (fd < 0 || dprintf(fd, "%d %d\n", low, low + count - 1) < 0)
    fail("ip_local_port_range");
  close(fd);
}

static int listen_on_loopback(void) {
  struct sockaddr_in address = loopback(0);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0)
    fail("listen");
  return fd;
}

static void start_backend(struct service *service) {
  socklen_t length = sizeof service->backend;
  service->listener = listen_on_loopback();
  if (getsockname(service->listener, (struct sockaddr *)&service->backend, &length) != 0)
    fail("getsockname");
}

// ------------------------------------------------------------------------------------------------- the ways of leaking

// unused: opens a connection for its pool at every turn, "to be connected when needed", and forgets it.
OUT_OF_LINE static int open_backend_connection(struct service *service) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0)
    service->failures++;
  return fd;
}

OUT_OF_LINE static void refresh_pool(struct service *service) {
  if (open_backend_connection(service) >= 0)
    service->sockets++;
}

// bound-inactive, bind-failed, incident: reserves a port for a transfer that never begins.
OUT_OF_LINE static int reserve_data_port(struct service *service) {
  struct sockaddr_in address = loopback(0);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) {
    service->failures++;
    return -1;
  }
  // On failure the socket should be closed here: this is how the incident came by its 29,000 sockets without a port.
  if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0)
    service->ports++;
  else
    service->failures++;
  return fd;
}

OUT_OF_LINE static void schedule_transfer(struct service *service) {
  if (reserve_data_port(service) >= 0)
    service->sockets++;
}

OUT_OF_LINE static void open_report_session(struct service *service) {
  if (reserve_data_port(service) >= 0)
    service->sockets++;
}

// Fills the range with listeners, which are in use, so that only the sockets that fail to bind are waste.
static void occupy_all_ports(struct service *service) {
  (void)service;
  narrow_port_range(SMALL_RANGE_LOW, SMALL_RANGE_PORTS);
  for (int port = 0; port < SMALL_RANGE_PORTS; port++)
    listen_on_loopback();
}

static void use_incident_range(struct service *service) {
  (void)service;
  narrow_port_range(SMALL_RANGE_LOW, INCIDENT_PORTS);
}

// connect-failed: a collector that is down; the error path returns without closing.
OUT_OF_LINE static int dial_collector(struct service *service) {
  struct sockaddr_in collector = loopback(REFUSING_PORT);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) {
    service->failures++;
    return -1;
  }
  if (connect(fd, (struct sockaddr *)&collector, sizeof collector) != 0)
    service->failures++;
  return fd;
}

OUT_OF_LINE static void report_metrics(struct service *service) {
  if (dial_collector(service) >= 0)
    service->sockets++;
}

OUT_OF_LINE static int dial_backend(struct service *service) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) {
    service->failures++;
    return -1;
  }
  if (connect(fd, (struct sockaddr *)&service->backend, sizeof service->backend) == 0)
    return fd;
  service->failures++;
  close(fd);
  return -1;
}

// The backend's side of a connection: takes it, and lets it go politely (FIN) or not (RST).
OUT_OF_LINE static void backend_drops_connection(struct service *service, bool reset) {
  int fd = accept(service->listener, NULL, NULL);
  if (fd < 0) {
    service->failures++;
    return;
  }
  struct linger linger = {.l_onoff = reset, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(fd);
}

// disconnected: the pool never notices that the backend has reset the connection.
OUT_OF_LINE static void fill_pool_slot(struct service *service) {
  if (dial_backend(service) < 0)
    return;
  backend_drops_connection(service, true);
  service->sockets++; // its ephemeral port went back with the reset
}

// close-wait: the backend has said goodbye, nobody reads the end of file.
OUT_OF_LINE static void fetch_from_upstream(struct service *service) {
  if (dial_backend(service) < 0)
    return;
  backend_drops_connection(service, false);
  service->sockets++;
  service->ports++;
}

// healthy: a request and its answer, everything closed.
OUT_OF_LINE static void handle_request(struct service *service) {
  char bytes[16] = "request";
  int client = dial_backend(service);
  if (client < 0)
    return;
  int served = accept(service->listener, NULL, NULL);
  if (served < 0) {
    service->failures++;
    close(client);
    return;
  }
  bool exchanged = send(client, bytes, 7, MSG_NOSIGNAL) == 7 && recv(served, bytes, sizeof bytes, 0) == 7 &&
                   send(served, bytes, 7, MSG_NOSIGNAL) == 7 && recv(client, bytes, sizeof bytes, 0) == 7;
  if (!exchanged)
    service->failures++;
  close(served);
  close(client);
  service->sockets++;
}

static const struct kind kinds[] = {
    {"unused", "sockets that are opened and never bound, connected or listening", NULL, refresh_pool},
    {"bound-inactive", "sockets that each hold a port and neither connect nor listen", NULL,
     schedule_transfer},
    {"bind-failed", "no port is left (a range of 10): bind fails with EADDRINUSE, the socket stays open",
     occupy_all_ports, schedule_transfer},
    {"connect-failed", "the connection is refused, the socket stays open", NULL, report_metrics},
    {"disconnected", "the peer resets the connection, the socket stays open", start_backend, fill_pool_slot},
    {"close-wait", "the peer closes the connection, the socket stays open", start_backend,
     fetch_from_upstream},
    {"incident",
     "the mixture of the incident: the first 120 sockets hold a port each, the others fail to bind",
     use_incident_range, open_report_session},
    {"healthy", "connects, accepts, exchanges, closes: no leak", start_backend, handle_request},
};
enum {
  KIND_COUNT = sizeof kinds / sizeof *kinds
};

// ----------------------------------------------------------------------------------------------------------- the loop

struct options {
  const struct kind *kind;
  long rate, max, lifetime;
  bool start_paused, until_eof, exit_at_max;
};

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_sums(const char *word, const struct options *options, const struct service *service) {
  printf("%s kind=%s sockets=%ld ports=%ld failures=%ld\n", word, options->kind->name, service->sockets,
         service->ports, service->failures);
  fflush(stdout);
}

// Sleeps until `until`, a signal or a byte on stdin, if that is still of interest.
static void wait_for_work(double until, const struct options *options, bool *watch_stdin,
                          const sigset_t *signals) {
  double left = until - now_s();
  if (left < 0)
    left = 0;
  struct timespec time = {.tv_sec = (time_t)left, .tv_nsec = (long)((left - (double)(time_t)left) * 1e9)};
  struct pollfd input = {.fd = *watch_stdin ? STDIN_FILENO : -1, .events = POLLIN};
  // The signals come in only here, so none is lost between the tests of the flags and the sleep.
  if (ppoll(&input, 1, &time, signals) <= 0)
    return;
  char bytes[256];
  ssize_t length = read(STDIN_FILENO, bytes, sizeof bytes);
  if (length > 0) {
    if (memchr(bytes, '\n', (size_t)length) != NULL)
      start_asked = 1;
  } else {
    *watch_stdin = false;
    if (options->until_eof)
      stop_asked = 1;
  }
}

OUT_OF_LINE static void serve(struct service *service, const struct options *options,
                              const sigset_t *signals) {
  bool watch_stdin = options->start_paused || options->until_eof;
  bool holding = false;
  double end = now_s() + (double)options->lifetime;
  while (options->start_paused && !start_asked && !stop_asked && now_s() < end)
    wait_for_work(end, options, &watch_stdin, signals);
  if (!options->until_eof)
    watch_stdin = false;

  double start = now_s();
  for (long turns = 0; !stop_asked && now_s() < end;) {
    double next = start + (double)turns / (double)options->rate;
    if (turns == options->max) {
      if (options->exit_at_max)
        return;
      if (!holding)
        print_sums("holding", options, service);
      holding = true;
      next = end;
    }
    // Also when there is no time to sleep: this is where signals come in.
    wait_for_work(next < end ? next : end, options, &watch_stdin, signals);
    if (holding || stop_asked || now_s() < next)
      continue;
    options->kind->turn(service);
    turns++;
  }
}

static void usage(FILE *to) {
  fputs("usage: leaky-service KIND [--rate PER_SECOND=20] [--max N=1000] [--lifetime SECONDS=300]\n"
        "                          [--start-paused] [--until-eof] [--exit-at-max]\n"
        "       leaky-service --list\n"
        "Leaks TCP sockets of one kind in a network namespace of its own, until SIGTERM or SIGINT.\n"
        "  --max N          stop leaking after N sockets and hold them (with --exit-at-max: exit)\n"
        "  --start-paused   leak nothing before SIGUSR2 or a newline on stdin\n"
        "  --until-eof      exit when stdin ends\n",
        to);
}

static void list_kinds(void) {
  for (int index = 0; index < KIND_COUNT; index++)
    printf("%-15s %s\n", kinds[index].name, kinds[index].description);
}

static void misuse(const char *message, const char *word) {
  fprintf(stderr, "leaky-service: %s%s\n", message, word);
  usage(stderr);
  exit(2);
}

static long positive(const char *option, const char *value, long most) {
  char *end;
  long number = value == NULL ? 0 : strtol(value, &end, 10);
  if (number < 1 || number > most || *end != '\0') {
    fprintf(stderr, "leaky-service: %s takes a number from 1 to %ld\n", option, most);
    exit(2);
  }
  return number;
}

static struct options parse_options(char **argv) {
  struct options options = {.rate = 20, .max = 1000, .lifetime = 300};
  for (argv++; *argv != NULL; argv++) {
    const char *word = *argv;
    if (strcmp(word, "--list") == 0) {
      list_kinds();
      exit(0);
    } else if (strcmp(word, "--help") == 0) {
      usage(stdout);
      exit(0);
    } else if (strcmp(word, "--start-paused") == 0) {
      options.start_paused = true;
    } else if (strcmp(word, "--until-eof") == 0) {
      options.until_eof = true;
    } else if (strcmp(word, "--exit-at-max") == 0) {
      options.exit_at_max = true;
    } else if (strcmp(word, "--rate") == 0) {
      options.rate = positive(word, argv[1], 100000), argv++;
    } else if (strcmp(word, "--max") == 0) {
      options.max = positive(word, argv[1], 1000000), argv++;
    } else if (strcmp(word, "--lifetime") == 0) {
      options.lifetime = positive(word, argv[1], 86400), argv++;
    } else if (word[0] == '-') {
      misuse("no option ", word);
    } else if (options.kind != NULL) {
      misuse("one kind at a time: ", word);
    } else {
      for (int index = 0; index < KIND_COUNT; index++)
        if (strcmp(kinds[index].name, word) == 0)
          options.kind = &kinds[index];
      if (options.kind == NULL)
        misuse("no kind ", word);
    }
  }
  if (options.kind == NULL)
    misuse("which kind?", "");
  return options;
}

static void allow_descriptors(const struct options *options) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
    fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  if (strcmp(options->kind->name, "healthy") == 0 ||
      (rlim_t)options->max + SPARE_DESCRIPTORS <= limit.rlim_max)
    return;
  fprintf(stderr, "leaky-service: --max %ld: this process may have %lu open files (ulimit -Hn)\n",
          options->max, (unsigned long)limit.rlim_max);
  exit(2);
}

int main(int argc, char **argv) {
  (void)argc;
  struct options options = parse_options(argv);
  struct service service = {.listener = -1};
  allow_descriptors(&options);

  sigset_t handled, before;
  sigemptyset(&handled);
  sigaddset(&handled, SIGTERM);
  sigaddset(&handled, SIGINT);
  sigaddset(&handled, SIGUSR2);
  sigprocmask(SIG_BLOCK, &handled, &before);
  sigdelset(&before, SIGTERM);
  sigdelset(&before, SIGINT);
  sigdelset(&before, SIGUSR2);
  sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_stop}, NULL);
  sigaction(SIGINT, &(struct sigaction){.sa_handler = on_stop}, NULL);
  sigaction(SIGUSR2, &(struct sigaction){.sa_handler = on_start}, NULL);
  signal(SIGPIPE, SIG_IGN);
  alarm((unsigned)options.lifetime + 10); // should the loop ever hang

  enter_own_namespace();
  if (options.kind->prepare != NULL)
    options.kind->prepare(&service);
  struct stat namespace;
  if (stat("/proc/self/ns/net", &namespace) != 0)
    fail("/proc/self/ns/net");
  printf("ready pid=%d kind=%s netns=%lu\n", (int)getpid(), options.kind->name,
         (unsigned long)namespace.st_ino);
  fflush(stdout);

  serve(&service, &options, &before);
  print_sums("leaked", &options, &service);
  return 0;
}
