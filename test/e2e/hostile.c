// Leaks sockets through code whose names its maker chose: hostile.test.ts puts them in the place of SYMBOL, LONG_SYMBOL and
// SOURCE in the compiled file. Its first argument is the name that it gives itself, and its code in its perf map.

#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEEN __attribute__((noinline, noclone, optimize("no-optimize-sibling-calls")))

typedef void (*Call)(void);
// What the perf map names: push rbp; mov rbp, rsp; call rdi; pop rbp; ret
static const unsigned char generated[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
static volatile int leaked;

#line 1 SOURCE
SEEN void SYMBOL(void) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
    abort();
  leaked++;
}

SEEN void LONG_SYMBOL(void) {
  SYMBOL();
  leaked--;
}

int main(int count, char **arguments) {
  char path[64], line[16];
  void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (count < 2 || code == MAP_FAILED)
    return 1;
  memcpy(code, generated, sizeof(generated));
  snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
  FILE *map = fopen(path, "w");
  if (!map)
    return 1;
  fprintf(map, "%lx 1000 %s\n", (unsigned long)code, arguments[1]);
  fclose(map);
  prctl(PR_SET_NAME, arguments[1]);
  printf("ready pid=%d\n", getpid());
  fflush(stdout);
  if (!fgets(line, sizeof(line), stdin))
    return 0;
  for (int i = 0; i < 12; i++)
    ((void (*)(Call))code)(LONG_SYMBOL);
  puts("leaks");
  fflush(stdout);
  while (fgets(line, sizeof(line), stdin)) {
  }
  unlink(path);
  return 0;
}
