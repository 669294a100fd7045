// Opens a socket at the end of a chain of C++: scopes, overloads, templates, inlining, a lambda.
#include <netinet/in.h>
#include <sys/socket.h>

#include <functional>

namespace shop {

template<typename T>
class Counter {
public:
  __attribute__((noinline)) int open(T value) {
    int opened = ::socket(AF_INET, SOCK_STREAM, 0);
    __asm__ volatile("" ::: "memory");
    return opened + static_cast<int>(value);
  }
};

inline __attribute__((always_inline)) int inlined(Counter<long> &counter) {
  return counter.open(3) + 1;
}

__attribute__((noinline)) int serve(Counter<long> &counter, int extra) {
  int result = inlined(counter);
  __asm__ volatile("" ::: "memory");
  return result + extra;
}

} // namespace shop

int main() {
  shop::Counter<long> counter;
  std::function<int(int)> call = [&](int extra) { return shop::serve(counter, extra) + 1; };
  return call(1) == 0;
}
