// The sanitizers' settings, compiled in: the unwinder is started without an environment, and its standard error is nobody's.
namespace {

constexpr char kOptions[] =
    "log_path=" SOCKTRACE_SANITIZED ":print_stacktrace=1:detect_stack_use_after_return=1";

} // namespace

extern "C" const char *__asan_default_options() {
  return kOptions;
}

extern "C" const char *__ubsan_default_options() {
  return kOptions;
}
