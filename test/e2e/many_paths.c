// Opens sockets through as many call paths as it is told: the bits of a number say by which of two functions each step goes
// down. Every 1,000th stays open.
// Then, told to, binds some more.

#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEEN __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))
#define STEPS 17
#define BOUND 10

static volatile int opened;

static void step(unsigned way, int left);

SEEN static void zero(unsigned way, int left) {
  step(way >> 1, left);
  opened += 0;
}

SEEN static void one(unsigned way, int left) {
  step(way >> 1, left);
  opened += 0;
}

SEEN static void step(unsigned way, int left) {
  if (left > 0) {
    (way & 1 ? one : zero)(way, left - 1);
  } else {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
      abort();
    if (++opened % 1000 != 0)
      close(fd);
  }
  opened += 0;
}

static void bind_one(void) {
  struct sockaddr_in any = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0)
    abort();
}

int main(int count, char **arguments) {
  unsigned paths = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 10) : 0;
  char line[16];
  printf("ready pid=%d\n", getpid());
  fflush(stdout);
  if (!fgets(line, sizeof(line), stdin))
    return 0;
  for (unsigned way = 0; way < paths; way++)
    step(way, STEPS);
  puts("opened");
  fflush(stdout);
  if (fgets(line, sizeof(line), stdin))
    for (int i = 0; i < BOUND; i++)
      bind_one();
  while (fgets(line, sizeof(line), stdin)) {
  }
  return 0;
}
