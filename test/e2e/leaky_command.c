// A command that holds sockets as it ends: some that it keeps on purpose, and, without --once, some that it forgot.
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
  SOCKETS = 12
};

__attribute__((noinline)) static int warm_pool(void) {
  int last = -1;
  for (int i = 0; i < SOCKETS; i++)
    last = socket(AF_INET, SOCK_STREAM, 0);
  return last;
}

__attribute__((noinline)) static int forget(void) {
  int last = -1;
  for (int i = 0; i < SOCKETS; i++)
    last = socket(AF_INET, SOCK_STREAM, 0);
  return last;
}

int main(int argc, char **argv) {
  int once = argc > 1 && strcmp(argv[1], "--once") == 0;
  if (warm_pool() < 0 || (!once && forget() < 0))
    return 1;
  // What opened them is read while the process lives.
  usleep(300000);
  return 0;
}
