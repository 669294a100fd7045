// Opens, binds, connects and accepts through known chains of functions, as its standard input asks: the ground truth of
// the tests of call paths. Each line is a command and a number; each is answered by "ok" once it is done.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Out of line, and no call may become a jump: each function is to be seen in the stack.
#define SEEN __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))

static struct sockaddr_in any_port(void) {
  struct sockaddr_in address = {.sin_family = AF_INET};

  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static int held[1 << 16];
static int held_count;

static void hold(int fd) {
  if (fd < 0 || held_count == sizeof(held) / sizeof(held[0]))
    abort();
  held[held_count++] = fd;
}

SEEN int shared_open(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);

  hold(fd);
  return fd;
}

SEEN int shared_middle(void) {
  int fd = shared_open();

  return fd + (held_count < 0);
}

SEEN int shared_outer(void) {
  int fd = shared_middle();

  return fd + (held_count < 0);
}

SEEN int first_way(void) {
  return shared_outer() + (held_count < 0);
}

SEEN int second_way(void) {
  return shared_outer() + (held_count < 0);
}

SEEN void bind_it(int fd, int port) {
  struct sockaddr_in address = any_port();

  address.sin_port = htons(port);
  (void)bind(fd, (struct sockaddr *)&address, sizeof(address));
}

SEEN void open_and_bind(void) {
  bind_it(shared_open(), 0);
}

// The port of somebody who listens: refused.
SEEN void open_and_fail_to_bind(int port) {
  bind_it(shared_open(), port);
}

// Nobody listens at port 1.
SEEN void open_and_fail_to_connect(void) {
  struct sockaddr_in address = any_port();

  address.sin_port = htons(1);
  (void)connect(shared_open(), (struct sockaddr *)&address, sizeof(address));
}

SEEN void open_and_fail_later(void) {
  struct sockaddr_in address = any_port();
  int fd = shared_open();

  address.sin_port = htons(1);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  (void)connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static int listener = -1, listener_port;

SEEN void start_listening(void) {
  struct sockaddr_in address = any_port();
  socklen_t length = sizeof(address);

  listener = socket(AF_INET, SOCK_STREAM, 0);
  bind_it(listener, 0);
  if (listen(listener, 1024) || getsockname(listener, (struct sockaddr *)&address, &length))
    abort();
  listener_port = ntohs(address.sin_port);
}

SEEN void accept_one(void) {
  hold(accept(listener, NULL, NULL));
}

// The client closes at once: what was accepted is left in CLOSE_WAIT.
SEEN void leave_in_close_wait(void) {
  struct sockaddr_in address = any_port();
  int client = socket(AF_INET, SOCK_STREAM, 0);

  address.sin_port = htons(listener_port);
  if (connect(client, (struct sockaddr *)&address, sizeof(address)))
    abort();
  accept_one();
  close(client);
}

SEEN void use_and_close(void) {
  struct sockaddr_in address = any_port();
  int client = socket(AF_INET, SOCK_STREAM, 0);

  address.sin_port = htons(listener_port);
  if (connect(client, (struct sockaddr *)&address, sizeof(address)))
    abort();
  close(accept(listener, NULL, NULL));
  close(client);
}

SEEN void open_and_close(void) {
  close(shared_open());
  held_count--;
}

// 20 KB of stack of which most is never touched, which the copy must get over.
SEEN void open_far_down(void) {
  volatile char *room = __builtin_alloca(20 << 10);

  room[0] = 1;
  shared_open();
  room[(20 << 10) - 1] = 1;
}

SEEN void go_down(int depth) {
  if (depth > 0)
    go_down(depth - 1);
  else
    shared_open();
  held_count += depth < 0;
}

static int asked_of_thread;

static void *thread_main(void *unused) {
  for (int i = 0; i < asked_of_thread; i++)
    first_way();
  return unused;
}

static void in_a_thread(int count) {
  pthread_t thread;

  asked_of_thread = count;
  if (pthread_create(&thread, NULL, thread_main, NULL) || pthread_join(thread, NULL))
    abort();
}

// Opens and is gone: nobody can look its code up any more.
SEEN void child_opens_and_exits(int count) {
  pid_t child = fork();

  if (child == 0) {
    for (int i = 0; i < count; i++)
      second_way();
    _exit(0);
  }
  if (child < 0 || waitpid(child, NULL, 0) != child)
    abort();
}

static int to_child = -1, from_child = -1;

// A child that lives on, and opens as many as it is told.
SEEN void child_serves(int orders, int answers) {
  int count;

  while (read(orders, &count, sizeof(count)) == sizeof(count)) {
    for (int i = 0; i < count; i++)
      second_way();
    if (write(answers, &count, sizeof(count)) != sizeof(count))
      break;
  }
  _exit(0);
}

SEEN void fork_child(void) {
  int orders[2], answers[2];

  if (pipe2(orders, O_CLOEXEC) || pipe2(answers, O_CLOEXEC))
    abort();
  switch (fork()) {
  case -1:
    abort();
  case 0:
    close(orders[1]);
    child_serves(orders[0], answers[1]);
  }
  to_child = orders[1];
  from_child = answers[0];
}

static void tell_child(int count) {
  if (write(to_child, &count, sizeof(count)) != sizeof(count) ||
      read(from_child, &count, sizeof(count)) != sizeof(count))
    abort();
}

SEEN void open_for_plugin(int number) {
  (void)number;
  shared_open();
}

// Opens through a library beside this program, which takes the place of the one before, byte for byte.
static void through_plugin(const char *name, int count) {
  static const char *loaded;
  static void *plugin;
  static void (*enter)(void (*)(int));
  char path[PATH_MAX];
  ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 32);

  if (!loaded || strcmp(loaded, name) != 0) {
    void *place = enter;

    if (length < 0 || (plugin && dlclose(plugin)))
      abort();
    path[length] = 0;
    strcpy(strrchr(path, '/') + 1, name);
    plugin = dlopen(path, RTLD_NOW);
    enter = plugin ? (void (*)(void (*)(int)))dlsym(plugin, "plugin_enter") : NULL;
    if (!enter || (place && place != enter)) {
      fprintf(stderr, "code-paths: %s: not loaded, or not at the former place\n", path);
      abort();
    }
    loaded = name;
  }
  for (int i = 0; i < count; i++)
    enter(open_for_plugin);
}

static void repeat(void (*what)(void), int count) {
  for (int i = 0; i < count; i++)
    what();
}

int main(int argument_count, char **arguments) {
  char command[32];
  int count;

  // It has called exec.
  if (argument_count > 1) {
    puts("ok");
    fflush(stdout);
  }
  while (scanf("%31s %d", command, &count) == 2) {
    if (!strcmp(command, "both"))
      for (int i = 0; i < count; i++)
        (void)(first_way() + second_way());
    else if (!strcmp(command, "first"))
      for (int i = 0; i < count; i++)
        first_way();
    else if (!strcmp(command, "bind"))
      repeat(open_and_bind, count);
    else if (!strcmp(command, "bind-taken"))
      for (int i = 0; i < count; i++)
        open_and_fail_to_bind(listener_port);
    else if (!strcmp(command, "connect-refused"))
      repeat(open_and_fail_to_connect, count);
    else if (!strcmp(command, "connect-refused-later"))
      repeat(open_and_fail_later, count);
    else if (!strcmp(command, "listen"))
      start_listening();
    else if (!strcmp(command, "accept"))
      repeat(leave_in_close_wait, count);
    else if (!strcmp(command, "use"))
      repeat(use_and_close, count);
    else if (!strcmp(command, "close"))
      repeat(open_and_close, count);
    else if (!strcmp(command, "far-down"))
      repeat(open_far_down, count);
    else if (!strcmp(command, "deep"))
      go_down(count);
    else if (!strcmp(command, "thread"))
      in_a_thread(count);
    else if (!strcmp(command, "child"))
      child_opens_and_exits(count);
    else if (!strcmp(command, "fork-child"))
      fork_child();
    else if (!strcmp(command, "child-opens"))
      tell_child(count);
    else if (!strcmp(command, "former"))
      through_plugin("former-plugin.so", count);
    else if (!strcmp(command, "latter"))
      through_plugin("latter-plugin.so", count);
    else if (!strcmp(command, "exec"))
      execl("/proc/self/exe", arguments[0], "again", NULL);
    else
      abort();
    puts("ok");
    fflush(stdout);
  }
  return 0;
}
