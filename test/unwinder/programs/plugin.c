// A library that the program loads after it has opened its first socket.
#ifndef INNER
#define INNER plugin_inner
#endif

__attribute__((noinline)) static void INNER(void (*call)(int)) {
  call(7);
  __asm__ volatile("" ::: "memory");
}

void plugin_enter(void (*call)(int)) {
  INNER(call);
  __asm__ volatile("" ::: "memory");
}
