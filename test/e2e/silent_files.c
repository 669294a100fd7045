// Runs a program from a file system that it answers for itself, until it is told to stop answering:
//
//     silent-files FOLDER PROGRAM mounted|detached|overlay|locked
//
// In a mount namespace of its own, FOLDER gets a file system that has PROGRAM as its only file "program"; "overlay" runs
// it from one that is laid over that; "locked" runs none but this one, which opens N sockets for a line "first N", and for
// "lock" has a thread that waits for the file system with the lock of its mappings. The program has this one's standard
// input and output. On SIGUSR1 the server reads requests and answers none, "detached" after it has taken the file system
// out of everybody's sight; it says "silent" then, and stays. A request that has been read and is not answered ends by no
// signal.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
  ROOT = FUSE_ROOT_ID,
  FILE_NODE,
  REQUEST_BYTES = 1 << 17,
  PAGE = 4096
};

static const char kName[] = "program";

static const char *contents;
static size_t contents_bytes;
static volatile sig_atomic_t told;

static void on_signal(int number) {
  told = number;
}

static void check(bool done, const char *what) {
  if (done)
    return;
  fprintf(stderr, "silent-files: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void load(const char *path) {
  struct stat facts;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  check(file >= 0 && fstat(file, &facts) == 0, path);
  contents_bytes = (size_t)facts.st_size;
  contents = mmap(NULL, contents_bytes, PROT_READ, MAP_PRIVATE, file, 0);
  check(contents != MAP_FAILED, path);
  close(file);
}

static struct fuse_attr attributes_of(uint64_t node) {
  struct fuse_attr attributes = {.ino = node, .blksize = 4096};
  attributes.mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0755;
  attributes.nlink = node == ROOT ? 2 : 1;
  attributes.size = node == ROOT ? 0 : contents_bytes;
  return attributes;
}

static void answer(int device, uint64_t unique, int error, const void *body, size_t size) {
  struct fuse_out_header header = {
      .len = (uint32_t)(sizeof(header) + size), .error = error, .unique = unique};
  struct iovec parts[] = {{&header, sizeof(header)}, {(void *)body, size}};
  // The asker may have been interrupted.
  check(writev(device, parts, 2) > 0 || errno == ENOENT, "answer");
}

static void serve(int device, const struct fuse_in_header *in) {
  const void *more = in + 1;
  switch (in->opcode) {
  case FUSE_INIT: {
    const struct fuse_init_in *asked = more;
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION, .minor = 31, .max_readahead = asked->max_readahead};
    out.max_write = 65536;
    out.time_gran = 1;
    answer(device, in->unique, 0, &out, sizeof(out));
    break;
  }
  case FUSE_LOOKUP: {
    struct fuse_entry_out out = {.nodeid = FILE_NODE, .attr = attributes_of(FILE_NODE)};
    bool known = in->nodeid == ROOT && strcmp(more, kName) == 0;
    answer(device, in->unique, known ? 0 : -ENOENT, &out, known ? sizeof(out) : 0);
    break;
  }
  case FUSE_GETATTR: {
    struct fuse_attr_out out = {.attr = attributes_of(in->nodeid)};
    answer(device, in->unique, 0, &out, sizeof(out));
    break;
  }
  case FUSE_OPEN:
  case FUSE_OPENDIR: {
    static int writers;
    const struct fuse_open_in *asked = more;
    bool writes = (asked->flags & O_ACCMODE) == O_RDWR;
    struct fuse_open_out out = {.open_flags = writes && writers++ ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE};
    answer(device, in->unique, 0, &out, sizeof(out));
    break;
  }
  case FUSE_READ: {
    const struct fuse_read_in *asked = more;
    size_t from = asked->offset < contents_bytes ? asked->offset : contents_bytes;
    size_t left = contents_bytes - from;
    answer(device, in->unique, 0, contents + from, asked->size < left ? asked->size : left);
    break;
  }
  case FUSE_STATFS: {
    struct fuse_statfs_out out = {.st = {.bsize = 4096, .namelen = 255, .frsize = 4096}};
    answer(device, in->unique, 0, &out, sizeof(out));
    break;
  }
  case FUSE_FLUSH:
  case FUSE_RELEASE:
  case FUSE_RELEASEDIR:
    answer(device, in->unique, 0, NULL, 0);
    break;
  case FUSE_FORGET:
  case FUSE_BATCH_FORGET:
  case FUSE_INTERRUPT:
    break;
  default:
    answer(device, in->unique, -ENOSYS, NULL, 0);
  }
}

static void run_server(int device, const char *files, bool detaches) {
  static char request[REQUEST_BYTES];
  for (bool silent = false;;) {
    if (told && !silent) {
      check(!detaches || umount2(files, MNT_DETACH) == 0, "umount2");
      silent = true;
      puts("silent");
      fflush(stdout);
    }
    ssize_t got = read(device, request, sizeof(request));
    if (got < 0 && errno == ENODEV)
      exit(0);
    if (got > 0 && !silent)
      serve(device, (const struct fuse_in_header *)request);
  }
}

static const char *in_folder(const char *folder, const char *name) {
  char *path;
  check(asprintf(&path, "%s/%s", folder, name) > 0, "name a file");
  return path;
}

static const char *make_folder(const char *folder, const char *name) {
  const char *path = in_folder(folder, name);
  check(mkdir(path, 0755) == 0, path);
  return path;
}

static int unanswered;

static void *wait_with_the_lock(void *thread) {
  *(pid_t *)thread = gettid();
  (void)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, unanswered, 0);
  return NULL;
}

/* A mapping of direct I/O has what was written before sent to the file system, and waits with the lock of all mappings. */
static void lock_mappings(void) {
  static char path[64], line[512];
  static volatile pid_t thread;
  pthread_t handle;
  check(pthread_create(&handle, NULL, wait_with_the_lock, (void *)&thread) == 0, "pthread_create");
  while (!thread)
    usleep(1000);
  snprintf(path, sizeof(path), "/proc/self/task/%d/stat", thread);
  for (const char *name = NULL; !name || name[2] != 'D'; usleep(1000)) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    check(file >= 0 && read(file, line, sizeof(line) - 1) > 0, path);
    close(file);
    name = strrchr(line, ')');
  }
}

static void do_what_is_asked(const char *path) {
  static char line[64];
  int first = open(path, O_RDWR | O_CLOEXEC);
  unanswered = open(path, O_RDWR | O_CLOEXEC);
  check(first >= 0 && unanswered >= 0, path);
  char *written = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, first, 0);
  check(written != MAP_FAILED, "mmap");
  written[0] = 1;
  while (fgets(line, sizeof(line), stdin)) {
    int count = 0;
    if (strcmp(line, "lock\n") == 0)
      lock_mappings();
    else
      check(sscanf(line, "first %d", &count) == 1, line);
    for (; count > 0; count--)
      check(socket(AF_INET, SOCK_STREAM, 0) >= 0, "socket");
    puts("ok");
    fflush(stdout);
  }
}

int main(int count, char **arguments) {
  check(count == 4, "usage");
  const char *folder = arguments[1], *mode = arguments[3];
  struct sigaction on_usr1 = {.sa_handler = on_signal};
  sigaction(SIGUSR1, &on_usr1, NULL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  load(arguments[2]);
  int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  check(device >= 0, "/dev/fuse");
  check(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
        "a mount namespace");
  check(mount("tmpfs", folder, "tmpfs", 0, NULL) == 0, "mount tmpfs");
  const char *files = make_folder(folder, "files"), *other = make_folder(folder, "other");
  const char *merged = make_folder(folder, "merged");
  char options[128];
  snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
  check(mount("silent", files, "fuse", MS_NOSUID | MS_NODEV, options) == 0, "mount fuse");
  bool overlaid = strcmp(mode, "overlay") == 0, locks = strcmp(mode, "locked") == 0;
  pid_t program = fork();
  check(program >= 0, "fork");
  if (program == 0) {
    char layers[4096];
    // Or the file system would outlive its server, and who waits for it the machine.
    close(device);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(layers, sizeof(layers), "lowerdir=%s:%s", files, other);
    check(!overlaid || mount("overlay", merged, "overlay", 0, layers) == 0, "mount overlay");
    const char *path = in_folder(overlaid ? merged : files, kName);
    if (locks) {
      do_what_is_asked(path);
      _exit(0);
    }
    execl(path, path, NULL);
    check(false, path);
  }
  run_server(device, files, strcmp(mode, "detached") == 0);
}
