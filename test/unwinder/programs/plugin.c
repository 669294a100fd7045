// A library that the program loads after it has opened its first socket.
__attribute__((noinline)) static void plugin_inner(void (*call)(int)) {
  call(7);
  __asm__ volatile("" ::: "memory");
}

void plugin_enter(void (*call)(int)) {
  plugin_inner(call);
  __asm__ volatile("" ::: "memory");
}
