// Drops all capabilities while threads that start another each, and end, come and go; says how often a thread was missed:
//
//     privileges-race TIMES
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "privileges.h"

namespace {

constexpr int kChains = 2;
constexpr useconds_t kLife = 30;
constexpr int kLooks = 20;
constexpr int kMissed = 1, kBroken = 2;

void start_next();

void *link(void *) {
  usleep(kLife);
  start_next();
  return nullptr;
}

void start_next() {
  pthread_attr_t attributes;
  pthread_t thread;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  // Many at a time: what is left of the ones before may want a moment.
  while (pthread_create(&thread, &attributes, link, nullptr))
    usleep(100);
  pthread_attr_destroy(&attributes);
}

bool has_capabilities(const char *thread) {
  char path[300], line[256];
  snprintf(path, sizeof(path), "/proc/self/task/%s/status", thread);
  FILE *status = fopen(path, "re");
  bool has = false;
  while (status && fgets(line, sizeof(line), status))
    has |= !strncmp(line, "CapPrm:", 7) && strtoull(line + 7, nullptr, 16) != 0;
  if (status)
    fclose(status);
  return has;
}

bool some_have_capabilities() {
  DIR *threads = opendir("/proc/self/task");
  bool have = !threads;
  while (dirent *entry = threads ? readdir(threads) : nullptr)
    have |= entry->d_name[0] != '.' && has_capabilities(entry->d_name);
  if (threads)
    closedir(threads);
  return have;
}

int try_once() {
  for (int i = 0; i < kChains; i++)
    start_next();
  if (socktrace::keep_capabilities({}))
    return kBroken;
  // A chain that goes on has one in each look.
  for (int i = 0; i < kLooks; i++)
    if (some_have_capabilities())
      return kMissed;
  return 0;
}

} // namespace

int main(int count, char **arguments) {
  int times = count == 2 ? atoi(arguments[1]) : 0, done = 0, missed = 0;
  for (int i = 0; i < times; i++) {
    pid_t child = fork();
    if (child == 0)
      _exit(try_once());
    int status = 0;
    waitpid(child, &status, 0);
    done += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    missed += WIFEXITED(status) && WEXITSTATUS(status) == kMissed;
  }
  printf("%d done, %d missed\n", done, missed);
}
