// Becomes the command of `socktrace run`, once it is told to on the descriptor of its first argument: by then its process
// is traced. Says there why it could not; a descriptor that closes without a word is a command that runs.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

namespace {

// As env(1) and timeout(1) have it.
constexpr int kOwnFailure = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

bool wait_for_the_word(int door) {
  char word;
  ssize_t got;
  do {
    got = read(door, &word, sizeof(word));
  } while (got < 0 && errno == EINTR);
  return got == sizeof(word); // else the tracer has ended
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 3)
    return kOwnFailure;
  int door = atoi(argv[1]);
  if (fcntl(door, F_SETFD, FD_CLOEXEC) != 0 || !wait_for_the_word(door))
    return kOwnFailure;
  execvp(argv[2], argv + 2);
  unsigned char error = static_cast<unsigned char>(errno);
  if (write(door, &error, sizeof(error)) != sizeof(error))
    return kOwnFailure;
  return error == ENOENT ? kNotFound : kNotExecutable;
}
