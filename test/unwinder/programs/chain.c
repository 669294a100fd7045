// Opens a socket at the end of a chain of calls whose names and lines the tests know. The argument chooses the chain.
#define _GNU_SOURCE
#include <alloca.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))
// Keeps a call from being the last thing that a function does, which would make it a jump.
#define AFTERWARDS __asm__ volatile("" ::: "memory")

static int opened = -1;

APART static void open_socket(void) {
  opened = socket(AF_INET, SOCK_STREAM, 0);
  AFTERWARDS;
}

APART static void third(int value) {
  open_socket();
  opened += value;
  AFTERWARDS;
}

APART static void second(int value) {
  third(value * 3);
  AFTERWARDS;
}

APART static void first(int value) {
  second(value + 1);
  AFTERWARDS;
}

static inline __attribute__((always_inline)) void inlined_inner(void) {
  open_socket();
  AFTERWARDS;
}

static inline __attribute__((always_inline)) void inlined_outer(void) {
  inlined_inner();
  AFTERWARDS;
}

APART static void with_inlined(void) {
  inlined_outer();
  AFTERWARDS;
}

APART static int deep(int depth) {
  if (depth == 0)
    open_socket();
  else
    opened += deep(depth - 1);
  AFTERWARDS;
  return opened;
}

static void on_signal(int number) {
  (void)number;
  first(1);
  AFTERWARDS;
}

APART static void interrupted(void) {
  signal(SIGUSR1, on_signal);
  raise(SIGUSR1);
  AFTERWARDS;
}

APART static void on_other_stack(void) {
  stack_t stack = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
  sigaltstack(&stack, NULL);
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  AFTERWARDS;
}

APART static void realigned(int value) {
  _Alignas(128) volatile char space[256];
  memset((char *)space, value, sizeof(space));
  first(space[3]);
  AFTERWARDS;
}

APART static void with_alloca(size_t size) {
  volatile char *space = alloca(size);
  for (size_t i = 0; i < size; i += 512)
    space[i] = 1;
  first(space[size - 1]);
  AFTERWARDS;
}

static void *on_thread(void *argument) {
  first((int)(intptr_t)argument);
  AFTERWARDS;
  return NULL;
}

static void with_thread(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, on_thread, NULL);
  pthread_join(thread, NULL);
}

static int compare(const void *a, const void *b) {
  if (opened < 0)
    first(2);
  AFTERWARDS;
  return *(const int *)a - *(const int *)b;
}

static void with_callback(void) {
  int numbers[] = {3, 1, 2};
  qsort(numbers, 3, sizeof(numbers[0]), compare);
}

// The first socket opens before the library is there, so that its code is new to whoever watches.
static void with_plugin(const char *path) {
  first(1);
  void *plugin = dlopen(path, RTLD_NOW);
  void (*enter)(void (*)(int)) = plugin ? (void (*)(void (*)(int)))dlsym(plugin, "plugin_enter") : NULL;
  if (!enter) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  enter(first);
}

// Libraries that take the place of each other, at the same address when they are alike.
static void with_replaced(const char *former, const char *latter) {
  const char *paths[] = {former, latter};
  for (int i = 0; i < 2; i++) {
    void *plugin = dlopen(paths[i], RTLD_NOW);
    void (*enter)(void (*)(int)) = plugin ? (void (*)(void (*)(int)))dlsym(plugin, "plugin_enter") : NULL;
    if (!enter)
      exit(1);
    for (int times = 0; times < 20; times++) {
      enter(first);
      usleep(5000);
    }
    dlclose(plugin);
  }
}

static void with_child(void) {
  pid_t child = fork();
  if (child == 0) {
    first(1);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

int main(int count, char **arguments) {
  const char *what = count > 1 ? arguments[1] : "chain";
  const char *argument = count > 2 ? arguments[2] : "";
  if (strcmp(what, "chain") == 0)
    first(1);
  else if (strcmp(what, "inlined") == 0)
    with_inlined();
  else if (strcmp(what, "deep") == 0)
    deep(atoi(argument));
  else if (strcmp(what, "signal") == 0)
    interrupted();
  else if (strcmp(what, "altstack") == 0)
    on_other_stack();
  else if (strcmp(what, "realigned") == 0)
    realigned(1);
  else if (strcmp(what, "alloca") == 0)
    with_alloca((size_t)atoi(argument));
  else if (strcmp(what, "thread") == 0)
    with_thread();
  else if (strcmp(what, "callback") == 0)
    with_callback();
  else if (strcmp(what, "plugin") == 0)
    with_plugin(argument);
  else if (strcmp(what, "replaced") == 0)
    with_replaced(argument, arguments[3]);
  else if (strcmp(what, "fork") == 0)
    with_child();
  else if (strcmp(what, "exec") == 0) {
    first(1);
    execl(argument, argument, "nothing", NULL);
  }
  return 0;
}
