// Becomes the command of `socktrace run`, once it is told to on descriptor 3: by then its process is traced. Says there
// why it could not; a descriptor that closes without a word is a command that runs.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

namespace {

constexpr int kDoor = 3;

// As env(1) and timeout(1) have it.
constexpr int kOwnFailure = 125;
constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;

bool wait_for_the_word() {
  char word;
  ssize_t got;
  do {
    got = read(kDoor, &word, sizeof(word));
  } while (got < 0 && errno == EINTR);
  return got == sizeof(word); // else the tracer has ended
}

} // namespace

int main(int argc, char **argv) {
  if (argc < 2 || fcntl(kDoor, F_SETFD, FD_CLOEXEC) != 0 || !wait_for_the_word())
    return kOwnFailure;
  execvp(argv[1], argv + 1);
  unsigned char error = static_cast<unsigned char>(errno);
  if (write(kDoor, &error, sizeof(error)) != sizeof(error))
    return kOwnFailure;
  return error == ENOENT ? kNotFound : kNotExecutable;
}
