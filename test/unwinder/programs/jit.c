// Calls through code that it makes at run time, with a perf map of the kind that it is told; or
// has many mappings, or many files.
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];

static void open_socket(void) {
  close(socket(AF_INET, SOCK_STREAM, 0));
}

static void write_map(const char *format, void *code) {
  FILE *file = fopen(path, "w");
  fprintf(file, format, (unsigned long)code);
  fclose(file);
}

static void make_map(const char *kind, void *code) {
  char other[96];
  snprintf(other, sizeof(other), "%s.other", path);
  if (strcmp(kind, "good") == 0)
    write_map("%lx 1000 generated\n", code);
  else if (strcmp(kind, "torn") == 0)
    write_map("%lx 1000 generated\n7f00", code);
  else if (strcmp(kind, "again") == 0)
    write_map("%1$lx 1000 former\n%1$lx 10 generated\n", code);
  else if (strcmp(kind, "garbage") == 0)
    write_map("zz 10 a\n%lx\n\n%1$lx ffffffffffffffff huge\n%1$lx 0 none\n\x01\xff binary\n", code);
  else if (strcmp(kind, "fifo") == 0)
    mkfifo(path, 0600);
  else if (strcmp(kind, "directory") == 0)
    mkdir(path, 0700);
  else if (strcmp(kind, "sparse") == 0) {
    write_map("%lx 1000 generated\n", code);
    if (truncate(path, 10L << 30))
      perror(path);
  } else if (strcmp(kind, "foreign") == 0) {
    write_map("%lx 1000 generated\n", code);
    if (chown(path, 1234, 1234))
      perror(path);
  } else if (strcmp(kind, "symlink") == 0) {
    FILE *file = fopen(other, "w");
    fprintf(file, "%lx 1000 generated\n", (unsigned long)code);
    fclose(file);
    if (symlink(other, path))
      perror(path);
  } else if (strcmp(kind, "hardlink") == 0) {
    write_map("%lx 1000 generated\n", code);
    if (link(path, other))
      perror(path);
  }
}

// Every second page, so that they are not merged.
static void map_many(int count) {
  for (int i = 0; i < count; i++)
    if (mmap(NULL, 4096, i % 2 ? PROT_READ | PROT_EXEC : PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
        MAP_FAILED) {
      perror("mmap");
      exit(1);
    }
}

// Files of their own, which hold nothing.
static void map_files(int count) {
  for (int i = 0; i < count; i++) {
    int file = memfd_create("file", MFD_CLOEXEC);
    if (ftruncate(file, 4096) || mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0) == MAP_FAILED) {
      perror("mmap");
      exit(1);
    }
    close(file);
  }
}

int main(int count, char **arguments) {
  // push rbp; mov rbp, rsp; call rdi; pop rbp; ret
  static const unsigned char kCode[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
  const char *kind = count > 1 ? arguments[1] : "good";
  snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
  if (strcmp(kind, "mappings") == 0) {
    map_many(2 * atoi(arguments[2]));
    open_socket();
    return 0;
  }
  if (strcmp(kind, "files") == 0) {
    map_files(atoi(arguments[2]));
    open_socket();
    return 0;
  }
  void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(code, kCode, sizeof(kCode));
  make_map(kind, code);
  ((void (*)(void (*)(void)))code)(open_socket);
  if (strcmp(kind, "good") == 0) {
    // The same memory has another function then, and then another file says so.
    FILE *file = fopen(path, "a");
    fprintf(file, "%lx 1000 second\n", (unsigned long)code);
    fclose(file);
    ((void (*)(void (*)(void)))code)(open_socket);
    write_map("1 1 a line before that makes it the longer one, so that it has not shrunk\n%lx 1000 third\n",
              code);
    ((void (*)(void (*)(void)))code)(open_socket);
  }
  return 0;
}
