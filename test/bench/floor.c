// bench-floor: attaches every program of floor.bpf.o, says so, and holds them until the end of stdin.
//
//     bench-floor OBJECT [PROGRAM...]     without the programs named: what one of them costs is then the difference

#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void die(const char *what, const char *which) {
  fprintf(stderr, "bench-floor: %s %s: %s\n", what, which, strerror(errno));
  exit(1);
}

// As native/cgroup_root.cc: a cgroup2 root without a visible mount.
static int open_cgroup_root(void) {
  int context = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
  if (context < 0 || syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
    die("open", "cgroup2");
  int mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
  int root = mount < 0 ? -1 : openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0)
    die("mount", "cgroup2");
  return root;
}

static bool is_left_out(const char *program, char **names) {
  for (; *names; names++)
    if (strcmp(*names, program) == 0)
      return true;
  return false;
}

int main(int argc, char **argv) {
  struct bpf_program *program;
  char ignored;
  if (argc < 2) {
    fprintf(stderr, "usage: bench-floor OBJECT [PROGRAM...]\n");
    return 2;
  }
  struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
  if (!object)
    die("open", argv[1]);
  bpf_object__for_each_program(program, object)
      bpf_program__set_autoload(program, !is_left_out(bpf_program__name(program), argv + 2));
  if (bpf_object__load(object))
    die("load", argv[1]);
  int root = open_cgroup_root();
  bpf_object__for_each_program(program, object) {
    if (!bpf_program__autoload(program))
      continue;
    bool is_cgroup = bpf_program__type(program) == BPF_PROG_TYPE_CGROUP_SOCK;
    // Never destroyed: the kernel detaches when the descriptors go with this process.
    if (!(is_cgroup ? bpf_program__attach_cgroup(program, root) : bpf_program__attach(program)))
      die("attach", bpf_program__name(program));
  }
  puts("ready");
  fflush(stdout);
  while (read(STDIN_FILENO, &ignored, 1) > 0) {
  }
  return 0;
}
