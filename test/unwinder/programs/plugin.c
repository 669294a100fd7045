// A library that the program loads after it has opened its first socket.
#ifndef INNER
#define INNER plugin_inner
#endif
// Libraries that differ in names only have one build-id.
#ifndef NUMBER
#define NUMBER 7
#endif

__attribute__((noinline)) static void INNER(void (*call)(int)) {
  call(NUMBER);
  __asm__ volatile("" ::: "memory");
}

void plugin_enter(void (*call)(int)) {
  INNER(call);
  __asm__ volatile("" ::: "memory");
}
